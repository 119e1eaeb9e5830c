"""Words and numbers of Chat Completions that differ from ours."""

from typing import Any

import pytest

from dialects.openai_cases import STREAM, USAGE, WHOLE, chunk, completion, told, usage_chunk
from fairlead.dialects.openai_chat_wire import usage_object, usage_of
from fairlead.types.chat import End, Usage

HI, STOP = chunk({"content": "Hi"}), chunk({}, "stop")
SPENT = Usage(input_tokens=9, output_tokens=2)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
        (USAGE, SPENT),
        ({**USAGE, "prompt_tokens_details": None, "completion_tokens_details": None}, SPENT),
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}},
            Usage(9, 2, cached_read_tokens=4, cached_write_tokens=3),
        ),
        ({**USAGE, "prompt_cache_hit_tokens": 4}, Usage(9, 2, cached_read_tokens=4)),
        ({**USAGE, "prompt_tokens_details": {"cached_tokens": 99}}, Usage(9, 2, 9)),
        (
            {**USAGE, "completion_tokens_details": {"reasoning_tokens": 1}},
            Usage(9, 2, reasoning_tokens=1),
        ),
        (
            {**USAGE, "total_tokens": 31, "completion_tokens_details": {"reasoning_tokens": 20}},
            Usage(9, 22, reasoning_tokens=20),
        ),
        ({"prompt_tokens": "9", "completion_tokens": 2}, Usage(0, 2)),
        ({"prompt_tokens": 9, "completion_tokens": -2, "total_tokens": True}, Usage(9, 0)),
        ({"prompt_tokens": -5, "completion_tokens": "many", "total_tokens": 1e300}, None),
        ({"prompt_tokens": 9, "completion_tokens": 10**30}, Usage(9, 0)),
    ],
    ids=str,
)
def test_usage(usage: Any, expected: Usage | None) -> None:
    assert told(HI, STOP, usage_chunk(usage), request=STREAM)[-1] == End("stop", expected)
    assert told(completion({"content": "a"}, usage=usage), request=WHOLE)[-1] == End(
        "stop", expected
    )


@pytest.mark.parametrize("usage", [Usage(), SPENT, Usage(9, 8, 4, 3, reasoning_tokens=5)], ids=str)
def test_usage_survives_the_way_there_and_back(usage: Usage) -> None:
    assert usage_of(usage_object(usage)) == usage
