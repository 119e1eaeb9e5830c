"""Tool calls as Chat Completions endpoints stream them."""

from typing import Any

import pytest

from dialects.openai_cases import STREAM, WHOLE, asked, calls, chunk, completion, told
from fairlead.dialects.wire import safe_tool_name
from fairlead.types.chat import End, Event, Tool, ToolCallDelta
from fairlead.types.errors import Failure, UpstreamError


def piece(index: int | None, id: str | None = None, name: str | None = None, **more: Any) -> Any:
    function = {"name": name, **more}
    wired = {"index": index, "id": id, "function": function}
    return {key: value for key, value in wired.items() if value is not None}


A = [ToolCallDelta(0, "a", "f", '{"x":1}')]
A_AND_B = [*A, ToolCallDelta(1, "b", "g", "{}")]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param([calls(piece(0, "a", "f", arguments='{"x":1}'))], A, id="all at once"),
        pytest.param(
            [calls(piece(0, "a", "f", arguments='{"x":1}'), piece(1, "b", "g", arguments="{}"))],
            A_AND_B,
            id="two in one chunk",
        ),
        pytest.param([calls(piece(-1, "a", "f", arguments='{"x":1}'))], A, id="index -1"),
        pytest.param([calls(piece(None, "a", "f", arguments='{"x":1}'))], A, id="no index"),
        pytest.param(
            [
                calls(piece(5, "a", "f", arguments='{"x":1}')),
                calls(piece(9, "b", "g", arguments={})),
            ],
            A_AND_B,
            id="numbers with gaps, arguments not as text",
        ),
        pytest.param(
            [
                calls(piece(0, "a", "f", arguments='{"x":1}')),
                calls(piece(0, "b", "g", arguments="{}")),
            ],
            A_AND_B,
            id="all numbered 0",
        ),
        pytest.param(
            [
                calls(
                    piece(None, "a", "f", arguments='{"x":1}'),
                    piece(None, "b", "g", arguments="{}"),
                )
            ],
            A_AND_B,
            id="no numbers",
        ),
        pytest.param(
            [calls(piece(0, "", "")), calls(piece(0, "a", "f", arguments='{"x":1}'))],
            A,
            id="id and name empty at first",
        ),
        pytest.param(
            [calls(piece(0, arguments='{"x"')), calls(piece(0, "a", "f", arguments=":1}"))],
            A,
            id="arguments before the name",
        ),
        pytest.param(
            [
                calls(piece(0, "a", "f", arguments='{"x"')),
                calls(piece(0, "a", "f", arguments=":1}")),
            ],
            [ToolCallDelta(0, "a", "f", '{"x"'), ToolCallDelta(0, arguments=":1}")],
            id="id and name repeated",
        ),
        pytest.param(
            [
                calls(piece(None, "a", "f", arguments='{"x"')),
                calls(piece(None, "a", arguments=":1}")),
            ],
            [ToolCallDelta(0, "a", "f", '{"x"'), ToolCallDelta(0, arguments=":1}")],
            id="found by id alone",
        ),
        pytest.param(
            [calls(piece(None, None, "f", arguments='{"x"')), calls(piece(None, arguments=":1}"))],
            [ToolCallDelta(0, "call_c_0", "f", '{"x"'), ToolCallDelta(0, arguments=":1}")],
            id="no id at all",
        ),
        pytest.param(
            [
                calls(piece(0, "a", "f", arguments='{"x"'), piece(1, "b", "g", arguments="{")),
                calls(piece(0, arguments=":1}"), piece(1, arguments="}")),
            ],
            [
                ToolCallDelta(0, "a", "f", '{"x"'),
                ToolCallDelta(1, "b", "g", "{"),
                ToolCallDelta(0, arguments=":1}"),
                ToolCallDelta(1, arguments="}"),
            ],
            id="in turns",
        ),
        pytest.param(
            [
                calls(piece(0, "b"), piece(1, "a", "f", arguments='{"x":1}')),
                calls(piece(0, None, "g", arguments="{}")),
            ],
            A_AND_B,
            id="numbered in the order in which they are named",
        ),
        pytest.param(
            [calls(piece(0, "a", "f", arguments="{"))],
            [ToolCallDelta(0, "a", "f", "{")],
            id="bug 4: half an object is passed on, never repaired",
        ),
    ],
)
def test_bug_3_calls_are_numbered_densely_and_named_once(
    frames: list[bytes], expected: list[Event]
) -> None:
    assert told(*frames, chunk({}, "tool_calls"), request=STREAM) == [
        *expected,
        End("tool_calls", None),
    ]


def test_whole_calls_need_neither_numbers_nor_ids() -> None:
    message = {
        "tool_calls": [piece(0, name="f", arguments="{}"), piece(0, name="g", arguments="{}")]
    }

    assert told(completion(message), request=WHOLE) == [
        ToolCallDelta(0, "call_c_0", "f", "{}"),
        ToolCallDelta(1, "call_c_1", "g", "{}"),
        End("tool_calls", None),
    ]


@pytest.mark.parametrize("request_", [STREAM, WHOLE], ids=["stream", "whole"])
def test_a_call_without_a_name_is_broken(request_: Any) -> None:
    nameless = [piece(0, "a", arguments="{}")]
    answer = (
        chunk({"tool_calls": nameless}, "tool_calls")
        if request_.stream
        else completion({"tool_calls": nameless})
    )

    with pytest.raises(UpstreamError) as caught:
        told(answer, request=request_)
    assert caught.value.failure is Failure.STREAM_BROKEN


def test_bug_13_stand_ins_lead_back_to_the_callers_names() -> None:
    name = "mcp.server/" + "x" * 64
    request = asked(stream=True, tools=(Tool(name, "", {}),))
    stream = calls(piece(0, "a", safe_tool_name(name), arguments="{}")) + chunk({}, "stop")

    assert told(stream, request=request)[0] == ToolCallDelta(0, "a", name, "{}")
