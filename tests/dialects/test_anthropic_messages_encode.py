"""Answers for an Anthropic caller: events as a stream of blocks, and as one message."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from hypothesis import given
from hypothesis import strategies as st

from dialects.anthropic_cases import GOLDEN, STREAM, WHOLE, decoded, frame, message_of
from dialects.cases import REPLY
from fairlead.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from fairlead.dialects.anthropic_messages_wire import UNSIGNED
from fairlead.dialects.sse import Frames
from fairlead.types.chat import (
    Begin,
    End,
    Event,
    FinishReason,
    Passed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from fairlead.types.errors import Failure, Overloaded, UpstreamError

BEGIN = Begin("chatcmpl-9", "gpt-x", Usage(9))
STOP = End("stop", Usage(9, 5))


def stream_of(*events: Event) -> bytes:
    encoder = ANTHROPIC_MESSAGES.encoder(STREAM, REPLY)
    return b"".join(encoder.encode(event) for event in events)


def whole_of(*events: Event) -> Any:
    """Nothing leaves before the end."""
    encoder = ANTHROPIC_MESSAGES.encoder(WHOLE, REPLY)
    *before, last = [encoder.encode(event) for event in events]
    assert not any(before)
    return msgspec.json.decode(last)


def both(*events: Event) -> Any:
    """The message, which must be the same whether it is streamed or not."""
    message = message_of(stream_of(*events))
    assert message == whole_of(*events)
    return message


def content_of(*events: Event, end: End = STOP) -> Any:
    return both(BEGIN, *events, end)["content"]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def thinking(said: str, signature: str = UNSIGNED) -> dict[str, Any]:
    return {"type": "thinking", "thinking": said, "signature": signature}


def call(id: str, name: str, input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def test_a_text() -> None:
    assert both(BEGIN, TextDelta("A "), TextDelta("fitting. ⚓"), STOP) == {
        "id": "msg_r1",
        "type": "message",
        "role": "assistant",
        "model": "small-model",
        "content": [text("A fitting. ⚓")],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 9,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 5,
        },
    }


def test_the_frames_of_a_stream() -> None:
    usage = {
        "input_tokens": 9,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }
    message: dict[str, Any] = {
        "id": "msg_r1",
        "type": "message",
        "role": "assistant",
        "model": "small-model",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    stop = {"stop_reason": "end_turn", "stop_sequence": None}

    assert stream_of(BEGIN, TextDelta("Hi"), TextDelta("!"), STOP) == b"".join(
        [
            frame("message_start", message=message),
            frame("content_block_start", index=0, content_block=text("")),
            frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"}),
            frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "!"}),
            frame("content_block_stop", index=0),
            frame("message_delta", delta=stop, usage=usage | {"output_tokens": 5}),
            frame("message_stop"),
        ]
    )


@pytest.mark.parametrize("case", GOLDEN.cases("stream"))
def test_golden_streams_come_out_as_they_went_in(case: str) -> None:
    before, after = message_of(GOLDEN.wire(case)), message_of(stream_of(*GOLDEN.events(case)))

    for name in ("content", "stop_reason", "stop_sequence"):
        assert after[name] == before[name]
    for name in after["usage"]:
        assert after["usage"][name] == before["usage"][name]


@pytest.mark.parametrize("case", GOLDEN.cases("answer"))
def test_golden_answers_come_out_as_they_went_in(case: str) -> None:
    before, after = msgspec.json.decode(GOLDEN.wire(case)), both(*GOLDEN.events(case))

    for name in ("content", "stop_reason", "stop_sequence"):
        assert after[name] == before[name]


def test_the_arguments_of_a_call_keep_their_letters() -> None:
    arguments = '{ "a": 2.50,\n "b": "\\u00e9" }'
    encoder = ANTHROPIC_MESSAGES.encoder(WHOLE, REPLY)
    encoder.encode(ToolCallDelta(0, "1", "f", arguments))

    assert f'"input":{arguments}}}'.encode() in encoder.encode(STOP)


# The order of blocks.

HI = TextDelta("Hi")
A, B = ToolCallDelta(0, "a", "f"), ToolCallDelta(1, "b", "g")
A1, A2 = ToolCallDelta(0, arguments='{"x":'), ToolCallDelta(0, arguments="1}")
B1, B2 = ToolCallDelta(1, arguments='{"y":'), ToolCallDelta(1, arguments="2}")
CALL_A, CALL_B = call("a", "f", {"x": 1}), call("b", "g", {"y": 2})


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([], []),
        ([TextDelta("")], []),
        ([HI, TextDelta(""), HI], [text("HiHi")]),
        ([ReasoningDelta()], []),
        ([ReasoningDelta("Hm"), ReasoningDelta("."), HI], [thinking("Hm."), text("Hi")]),
        ([ReasoningDelta("Hm.", "s"), HI], [thinking("Hm.", "s"), text("Hi")]),
        (
            [ReasoningDelta("Hm."), ReasoningDelta(signature="s"), ReasoningDelta("So.")],
            [thinking("Hm.", "s"), thinking("So.")],
        ),
        ([ReasoningDelta(signature="s"), HI], [thinking("", "s"), text("Hi")]),
        (
            [ReasoningDelta(signature="x", redacted=True)] * 2,
            [{"type": "redacted_thinking", "data": "x"}] * 2,
        ),
        ([HI, A, A1, A2, HI, HI], [text("Hi"), CALL_A, text("HiHi")]),
        ([A, A1, A2, B, B1, B2], [CALL_A, CALL_B]),
        ([A, B, A1, B1, A2, B2], [CALL_A, CALL_B]),
        ([A, B, B1, B2, A1, A2], [CALL_A, CALL_B]),
        ([B, A, A1, A2, B1, B2], [CALL_B, CALL_A]),
        ([A, A1, HI, A2, HI], [CALL_A, text("HiHi")]),
        ([A, A1, HI, ReasoningDelta("Hm."), A2], [CALL_A, text("Hi"), thinking("Hm.")]),
        ([A, B, B1, B2], [call("a", "f", {}), CALL_B]),
        ([A, A1, A2, ToolCallDelta(0, arguments="\n"), HI], [CALL_A, text("Hi")]),
        ([A, A1, A2, HI, ToolCallDelta(0, arguments="\n")], [CALL_A, text("Hi")]),
    ],
    ids=[
        "nothing",
        "no text",
        "no text in a text",
        "no thought",
        "thinking and text",
        "signed thinking",
        "a signature closes its block",
        "a signature alone",
        "redacted thinking",
        "text around a call",
        "one call after the other",
        "two calls in turns",
        "the second call first",
        "in the order of their beginnings",
        "a text in a call",
        "more in a call",
        "a call without arguments",
        "a line end in a call",
        "a line end after a call",
    ],
)
def test_blocks_stand_in_the_order_in_which_they_begin(events: list[Event], content: Any) -> None:
    assert content_of(*events) == content


def test_what_belongs_to_the_open_block_leaves_at_once() -> None:
    encoder = ANTHROPIC_MESSAGES.encoder(STREAM, REPLY)
    said = [encoder.encode(event) for event in (BEGIN, HI, A, A1, B, B1, A2, B2)]

    assert [data.count(b"content_block_") // 2 for data in said] == [0, 2, 2, 1, 0, 0, 4, 1]
    assert said[0] == b"", "an attempt that begins may still fail"


texts = st.text(min_size=1, max_size=6)
objects = st.dictionaries(texts, st.integers() | texts, max_size=2)


@st.composite
def interleaved(draw: st.DrawFn) -> tuple[list[Event], list[Any]]:
    """Calls cut anywhere, their pieces in turns, other content between them. Returns the events
    and the calls' arguments."""
    arguments = draw(st.lists(objects, min_size=1, max_size=4))
    waiting: list[list[Event]] = []
    for index, value in enumerate(arguments):
        written = msgspec.json.encode(value).decode()
        cuts = sorted(draw(st.lists(st.integers(0, len(written)), max_size=4)))
        edges = zip([0, *cuts], [*cuts, len(written)], strict=True)
        pieces = [ToolCallDelta(index, arguments=written[a:b]) for a, b in edges]
        waiting.append([ToolCallDelta(index, f"id{index}", "f"), *pieces])
    waiting.append(draw(st.lists(st.builds(TextDelta, texts), max_size=4)))
    waiting.append(
        draw(st.lists(st.builds(ReasoningDelta, texts, st.sampled_from(["", "s"])), max_size=4))
    )
    events: list[Event] = []
    while waiting := [pieces for pieces in waiting if pieces]:
        events.append(draw(st.sampled_from(waiting)).pop(0))
    return events, arguments


@given(interleaved())
def test_events_in_any_order_make_well_formed_blocks(made: tuple[list[Event], list[Any]]) -> None:
    events, arguments = made
    content = content_of(*events)

    assert {block["id"]: block["input"] for block in content if block["type"] == "tool_use"} == {
        f"id{index}": value for index, value in enumerate(arguments)
    }
    for kind, member, delta in (
        ("text", "text", TextDelta),
        ("thinking", "thinking", ReasoningDelta),
    ):
        written = "".join(block[member] for block in content if block["type"] == kind)
        assert written == "".join(event.text for event in events if isinstance(event, delta))


@given(interleaved())
def test_the_official_client_reads_the_same(made: tuple[list[Event], list[Any]]) -> None:
    events = [BEGIN, *made[0], STOP]
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for part in Frames().feed(stream_of(*events)):
        snapshot = accumulate_event(
            event=msgspec.json.decode(part.data), current_snapshot=snapshot, json_bufs=buffers
        )

    assert snapshot.to_dict() | {"stop_details": None} == whole_of(*events) | {"stop_details": None}


@given(interleaved())
def test_what_is_written_is_read_back(made: tuple[list[Event], list[Any]]) -> None:
    events = [*made[0], End("tool_calls", Usage(9, 5))]
    back = decoded(stream_of(*events), request=STREAM)

    assert message_of(stream_of(*back)) == message_of(stream_of(*events))


# How an answer ends.


@pytest.mark.parametrize(
    ("reason", "content", "expected"),
    [
        ("stop", [HI], "end_turn"),
        ("stop_sequence", [HI], "stop_sequence"),
        ("length", [HI], "max_tokens"),
        ("tool_calls", [A, A1, A2], "tool_use"),
        ("stop", [A, A1, A2], "tool_use"),
        ("length", [A, A1, A2], "max_tokens"),
        ("content_filter", [HI], "refusal"),
        ("refusal", [HI], "refusal"),
        ("pause", [HI], "pause_turn"),
    ],
)
def test_why_it_ended(reason: FinishReason, content: list[Event], expected: str) -> None:
    assert both(*content, End(reason, None))["stop_reason"] == expected


def test_the_sequence_that_stopped_it() -> None:
    assert both(HI, End("stop_sequence", None, "END"))["stop_sequence"] == "END"


@pytest.mark.parametrize(
    ("begun", "ended", "expected"),
    [
        (None, None, (0, 0, 0, 0)),
        (Usage(9, 1), None, (9, 0, 0, 1)),
        (None, Usage(9, 5), (9, 0, 0, 5)),
        (Usage(9, 1), Usage(12, 5), (12, 0, 0, 5)),
        (None, Usage(139, 5, cached_read_tokens=100, cached_write_tokens=30), (9, 30, 100, 5)),
    ],
    ids=["none", "at the beginning", "at the end", "the later holds", "cached"],
)
def test_usage(begun: Usage | None, ended: Usage | None, expected: tuple[int, ...]) -> None:
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    usage = both(Begin(usage=begun), HI, End("stop", ended))["usage"]

    assert usage == dict(zip((*names, "output_tokens"), expected, strict=True))


def test_usage_tells_how_much_was_thought() -> None:
    usage = both(HI, End("stop", Usage(9, 5, reasoning_tokens=3)))["usage"]

    assert usage["output_tokens_details"] == {"thinking_tokens": 3}


HALVES: list[list[Event]] = [
    [A, A1],
    [A, A1, HI],
    [A, A1, A2, B, B1],
    [A, A1, B, B1, B2],
    [A, ToolCallDelta(0, arguments='{"x":1]')],
    [A, ToolCallDelta(0, arguments="[1]")],
    [A, ToolCallDelta(0, arguments='{"x":tru}')],
    [A, ToolCallDelta(0, arguments='"{}"')],
    [A, ToolCallDelta(0, arguments=" ")],
    [A, A1, A2, ToolCallDelta(0, arguments="{}")],
]


@pytest.mark.parametrize("request_", [STREAM, WHOLE], ids=["streamed", "whole"])
@pytest.mark.parametrize("reason", ["stop", "stop_sequence", "tool_calls"])
@pytest.mark.parametrize("events", HALVES, ids=lambda events: str(len(events)))
def test_half_a_call_is_never_presented_as_whole(
    events: Sequence[Event], reason: FinishReason, request_: Any
) -> None:
    encoder = ANTHROPIC_MESSAGES.encoder(request_, REPLY)
    for event in events:
        assert b"message_stop" not in encoder.encode(event)

    with pytest.raises(UpstreamError, match="inside a tool call") as caught:
        encoder.encode(End(reason, None))
    assert caught.value.failure is Failure.STREAM_BROKEN


def test_a_call_does_not_go_on_after_its_end() -> None:
    encoder = ANTHROPIC_MESSAGES.encoder(STREAM, REPLY)
    for event in (A, A1, A2, HI):
        encoder.encode(event)

    with pytest.raises(UpstreamError, match="was complete") as caught:
        encoder.encode(ToolCallDelta(0, arguments="{}"))
    assert caught.value.failure is Failure.STREAM_BROKEN


@pytest.mark.parametrize("reason", ["length", "content_filter", "refusal", "pause"])
@pytest.mark.parametrize(
    ("events", "streamed", "whole"),
    [
        ([HI, A, A1], [text("Hi"), call("a", "f", '{"x":')], [text("Hi")]),
        ([A, A1, A2, B, B1], [CALL_A, call("b", "g", '{"y":')], [CALL_A]),
        ([A, A1, B, B1, HI], [call("a", "f", '{"x":'), text("Hi")], [text("Hi")]),
        ([A, A1, B, B1, B2], [call("a", "f", '{"x":'), CALL_B], [CALL_B]),
    ],
    ids=["the last", "the second of two", "both", "the first of two"],
)
def test_what_was_cut_short_may_end_in_a_call(
    events: list[Event], streamed: Any, whole: Any, reason: FinishReason
) -> None:
    """What was not sent yet is left out."""
    end = End(reason, None)

    assert message_of(stream_of(*events, end))["content"] == streamed
    assert whole_of(*events, end)["content"] == whole


# What is not written here.


@pytest.mark.parametrize("request_", [STREAM, WHOLE], ids=["streamed", "whole"])
def test_bytes_of_the_same_dialect_pass(request_: Any) -> None:
    encoder = ANTHROPIC_MESSAGES.encoder(request_, REPLY)

    assert encoder.encode(Passed(b"as it came", commits=False)) == b"as it came"
    assert encoder.encode(End("stop", Usage(9, 5), data=b"the end")) == b"the end"


@pytest.mark.parametrize("events", [[], [HI], [A, A1]], ids=str)
def test_an_error_in_a_stream_ends_it(events: Iterable[Event]) -> None:
    encoder = ANTHROPIC_MESSAGES.encoder(STREAM, REPLY)
    for event in events:
        encoder.encode(event)

    assert encoder.error(Overloaded("Too much.")) == (
        b"event: error\n"
        b'data: {"type":"error","error":{"type":"overloaded_error","message":"Too much.",'
        b'"details":{"error_code":"overloaded"},"code":"overloaded","should_retry":true,"attempts":[]},'
        b'"request_id":"r1"}\n\n'
    )
