"""A wrong answer is no result: what is cut short or altered is not taken for the whole one."""

import json

import pytest
from bench.check import whole_completion, whole_stream
from bench.floor import CHUNKS, COMPLETION, TEXT, openai_frames

_, PIECE, LAST = openai_frames()
WHOLE = PIECE * CHUNKS + LAST


def test_the_upstreams_own_answers_are_whole() -> None:
    assert whole_completion(json.dumps(COMPLETION))
    assert whole_stream(WHOLE)


def test_a_completion_with_another_text_is_not() -> None:
    assert not whole_completion(json.dumps(COMPLETION).replace(TEXT, TEXT[:-1]))


@pytest.mark.parametrize(
    "stream",
    [
        PIECE * (CHUNKS - 1) + LAST,
        PIECE * (CHUNKS + 1) + LAST,
        PIECE * CHUNKS + LAST.removesuffix("data: [DONE]\n\n"),
        WHOLE.replace(" token", " taken", 1),
    ],
    ids=["a piece is missing", "a piece too many", "no end", "another word"],
)
def test_a_stream_that_lacks_something_is_not(stream: str) -> None:
    assert not whole_stream(stream)
