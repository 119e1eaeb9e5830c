"""Answers of an Anthropic Messages endpoint: relayed, and turned into events."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.anthropic_cases import (
    CLOSE,
    ERROR,
    GOLDEN,
    HI,
    LAST,
    PING,
    START,
    STOP,
    STREAM,
    TEXT,
    USAGE,
    WHOLE,
    answer,
    asked,
    decoded,
    decoded_until_error,
    delta,
    frame,
    opened,
    started,
    stopped,
)
from fairlead.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from fairlead.dialects.wire import safe_tool_name
from fairlead.types.chat import (
    End,
    Event,
    Passed,
    ReasoningDelta,
    TextDelta,
    Tool,
    ToolCallDelta,
    Usage,
)
from fairlead.types.errors import Failure, UpstreamError

MODES = pytest.mark.parametrize("relay", [True, False], ids=["relayed", "translated"])
cuts = st.lists(st.integers(0, 5000), max_size=8)


def told(*frames: bytes, request: Any = STREAM) -> list[Event]:
    """What a stream's frames say between its beginning and its end."""
    return decoded(b"".join([START, *frames, STOP, LAST]), request=request)[1:-1]


def failure_of(
    *pieces: bytes, relay: bool, request: Any = STREAM, at: Sequence[int] = ()
) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        decoded(b"".join(pieces), request=request, relay=relay, cuts=at)
    return caught.value


@pytest.mark.parametrize("ends", [b"\r\n", b"\r"])
@pytest.mark.parametrize("case", GOLDEN.cases("stream"))
def test_however_its_lines_end(case: str, ends: bytes) -> None:
    assert decoded(GOLDEN.wire(case).replace(b"\n", ends), request=STREAM) == GOLDEN.events(case)


@MODES
@pytest.mark.parametrize("case", GOLDEN.cases("broken"))
def test_golden_streams_that_break(case: str, relay: bool) -> None:
    stream = GOLDEN.wire(case)
    events, error = decoded_until_error(
        stream, request=STREAM, relay=relay, cuts=range(len(stream))
    )

    assert error is not None
    assert (error.failure.value, error.message) == (
        GOLDEN.neutral(case)["failure"],
        GOLDEN.neutral(case)["message"],
    )
    if relay:
        assert stream.startswith(bytes_of(events))
    else:
        assert events == GOLDEN.events(case)


# Relayed.


def bytes_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Passed | End))


def relayed_end(expected: Event, end: Event) -> End:
    """A relayed end says what a translated one says, and has bytes."""
    assert isinstance(expected, End)
    assert isinstance(end, End)
    return End(expected.reason, expected.usage, expected.stop_sequence, end.data)


@given(case=st.sampled_from(GOLDEN.cases("stream")), cuts=cuts)
def test_a_relayed_stream_keeps_its_bytes(case: str, cuts: list[int]) -> None:
    events = decoded(GOLDEN.wire(case), request=STREAM, relay=True, cuts=cuts)

    assert bytes_of(events) == GOLDEN.wire(case)
    assert events[-1] == relayed_end(GOLDEN.events(case)[-1], events[-1])
    assert isinstance(events[-1], End)
    assert events[-1].data == LAST, "the terminal waits for the account"


@pytest.mark.parametrize("case", GOLDEN.cases("answer"))
def test_a_relayed_answer_keeps_its_bytes(case: str) -> None:
    (end,) = decoded(GOLDEN.wire(case), request=WHOLE, relay=True, cuts=[100])

    assert end == relayed_end(GOLDEN.events(case)[-1], end)
    assert bytes_of([end]) == GOLDEN.wire(case)


odd_frames = st.lists(
    st.sampled_from(
        [
            b": comment\n\n",
            b"retry: 3\n\n",
            PING,
            PING.replace(b"\n", b"\r\n"),
            frame("a_new_event", depth=[1, 2]),
            HI,
            delta("a_new_delta", depth=1),
            opened(1, type="a_new_block"),
            TEXT,
            stopped(None),
        ]
    ),
    max_size=8,
)


@given(frames=odd_frames, cuts=cuts)
def test_whatever_a_relayed_stream_holds_goes_on_in_its_order(
    frames: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join([START, *frames, STOP, LAST])

    assert bytes_of(decoded(stream, request=STREAM, relay=True, cuts=cuts)) == stream


def test_events_without_a_name_get_theirs() -> None:
    """Anthropic's SDKs skip an event that has none."""
    stream = START + TEXT + HI + CLOSE + STOP + LAST
    nameless = re.sub(rb"event: \w+\n", b"", stream)

    assert b"event:" not in nameless
    assert bytes_of(decoded(nameless, request=STREAM, relay=True)) == stream
    assert decoded(nameless, request=STREAM) == decoded(stream, request=STREAM)


@pytest.mark.parametrize(
    ("stream", "commits"),
    [
        (START, False),
        (PING, False),
        (b": comment\n\n", False),
        (TEXT, False),
        (opened(type="thinking", thinking="", signature=""), False),
        (opened(type="text", text="Hi"), True),
        (opened(type="tool_use", id="1", name="f", input={}), True),
        (opened(type="redacted_thinking", data="x"), True),
        (opened(type="a_new_block"), True),
        (HI, True),
        (delta("thinking_delta", thinking="Hm."), True),
        (CLOSE, False),
        (STOP, True),
    ],
)
def test_only_content_commits(stream: bytes, commits: bool) -> None:
    assert ANTHROPIC_MESSAGES.decoder(STREAM, True).feed(stream) == [Passed(stream, commits)]


# How a stream ends.


@MODES
@pytest.mark.parametrize(
    "stream",
    [
        [START, TEXT, HI, CLOSE, STOP, LAST],
        [START, STOP, LAST],
        [START, HI, STOP, stopped(None, output_tokens=2), LAST],
        [START, HI, STOP, LAST, frame("error", error=ERROR), HI],
        [START, HI, STOP, LAST, b"event: pi"],
    ],
    ids=["usual", "no content", "usage in another", "more after the end", "cut after the end"],
)
def test_message_stop_ends_a_stream(stream: list[bytes], relay: bool) -> None:
    events = decoded(b"".join(stream), request=STREAM, relay=relay)

    assert [event for event in events if isinstance(event, End)] == events[-1:]
    assert bytes_of(events).endswith(LAST) is relay


def test_a_ping_amid_content_is_no_content() -> None:
    """Whoever waits for the next piece goes on waiting."""
    decoder = ANTHROPIC_MESSAGES.decoder(STREAM, True)

    pieces = [*decoder.feed(START + TEXT), *decoder.feed(HI), *decoder.feed(PING)]

    assert pieces == [Passed(START + TEXT, False), Passed(HI, True), Passed(PING, False)]


@MODES
@pytest.mark.parametrize("at", [[], range(5000)], ids=["in one piece", "byte by byte"])
@pytest.mark.parametrize(
    "stream",
    [
        [START, TEXT, HI],
        [START],
        [START, TEXT, HI, CLOSE],
        [START, TEXT, HI, CLOSE, STOP[:-1]],
        [START, TEXT, HI, CLOSE, LAST],
        [START, TEXT, HI, CLOSE, stopped(None), LAST],
        [START, b"event: content_block_start\ndata: {not json}\n\n", STOP, LAST],
        [START, b'event: message_delta\ndata: {"delta": []}\n\n', LAST],
        [START, b'event: ping\ndata: {"x": "\xff"}\n\n', STOP, LAST],
        [START, TEXT, HI, b"event: content_block_delta\ndata: {not json}\n\n", STOP, LAST],
        [START, TEXT, HI.replace(b"Hi", b"H\xff"), STOP, LAST],
    ],
    ids=[
        "closed",
        "closed before content",
        "closed between blocks",
        "reason cut",
        "end without a reason",
        "end with an empty reason",
        "no JSON",
        "another shape",
        "no UTF-8",
        "no JSON in a delta",
        "no UTF-8 in a delta",
    ],
)
def test_without_one_it_is_broken(stream: list[bytes], relay: bool, at: Sequence[int]) -> None:
    assert failure_of(*stream, relay=relay, at=at).failure is Failure.STREAM_BROKEN


@MODES
def test_half_a_call_is_never_presented_as_whole(relay: bool) -> None:
    """Whatever was cut off before the reason why it ends, no End follows."""
    stream = GOLDEN.wire("stream_tools")
    told = stream.index(b"event: message_stop")
    for cut in range(stream.index(b"tool_use"), told - 1, 13):
        assert failure_of(stream[:cut], relay=relay).failure is Failure.STREAM_BROKEN


@MODES
@pytest.mark.parametrize("case", ["stream_text", "stream_tools"])
def test_once_its_reason_is_told_only_the_terminal_is_missing(case: str, relay: bool) -> None:
    stream = GOLDEN.wire(case)
    told = stream.index(b"event: message_stop")
    whole = decoded(stream, request=STREAM, relay=relay)
    for cut in range(told, len(stream)):
        assert decoded(stream[:cut], request=STREAM, relay=relay)[-1] == whole[-1]


def test_a_reason_that_nobody_knows_is_relayed_but_not_translated() -> None:
    stream = START + HI + stopped("daydream") + LAST

    assert bytes_of(decoded(stream, request=STREAM, relay=True)) == stream
    assert "daydream" in failure_of(stream, relay=False).message


@MODES
@pytest.mark.parametrize(
    ("stream", "failure", "message"),
    [
        (b"", Failure.BAD_SUCCESS, "an empty body"),
        (b": comment\n\n", Failure.BAD_SUCCESS, "an empty body"),
        (PING + LAST, Failure.BAD_SUCCESS, "an empty body"),
        (b"<!doctype html><h1>Login</h1>", Failure.BAD_SUCCESS, "a page of HTML"),
        (msgspec.json.encode({"type": "error", "error": ERROR}), Failure.OVERLOADED, "Overloaded"),
        (frame("error", error=ERROR), Failure.OVERLOADED, "Overloaded"),
        (START + frame("error", error=ERROR), Failure.OVERLOADED, "Overloaded"),
        (START + TEXT + HI + frame("error", error=ERROR), Failure.OVERLOADED, "Overloaded"),
        (
            START + frame("error", error={"type": "rate_limit_error", "message": "Slow down."}),
            Failure.RATE_LIMIT,
            "Slow down.",
        ),
    ],
    ids=[
        "nothing",
        "a comment",
        "an end alone",
        "HTML",
        "an error's body",
        "an error",
        "an error after the start",
        "an error with the first content: another endpoint may answer",
        "a rate limit",
    ],
)
def test_a_200_that_is_no_stream(
    stream: bytes, failure: Failure, message: str, relay: bool
) -> None:
    error = failure_of(stream, relay=relay)

    assert error.failure is failure
    assert message in error.message


@MODES
def test_an_error_after_content_breaks_the_stream(relay: bool) -> None:
    decoder = ANTHROPIC_MESSAGES.decoder(STREAM, relay)

    assert decoder.feed(START + TEXT + HI)
    with pytest.raises(UpstreamError, match="Overloaded") as caught:
        decoder.feed(frame("error", error=ERROR))
    assert caught.value.failure is Failure.STREAM_BROKEN
    assert caught.value.upstream_code == "overloaded_error"


@MODES
def test_content_in_the_same_piece_as_an_error_is_given_before_it(relay: bool) -> None:
    decoder = ANTHROPIC_MESSAGES.decoder(STREAM, relay)
    decoder.feed(START + TEXT + HI)
    last = delta(text=" there")

    assert decoder.feed(last + frame("error", error=ERROR)) == [
        Passed(last) if relay else TextDelta(" there")
    ]
    with pytest.raises(UpstreamError, match="Overloaded"):
        decoder.feed(STOP)
    with pytest.raises(UpstreamError, match="Overloaded"):
        decoder.close()


# How a whole answer fails.


@MODES
@pytest.mark.parametrize(
    ("body", "failure", "message"),
    [
        (b"", Failure.BAD_SUCCESS, "an empty body"),
        (b"<html></html>", Failure.BAD_SUCCESS, "a page of HTML"),
        (b"{}", Failure.BAD_SUCCESS, "not understood"),
        (b"[]", Failure.BAD_SUCCESS, "not understood"),
        (answer()[:-1], Failure.BAD_SUCCESS, "not understood"),
        (answer(reason=None), Failure.BAD_SUCCESS, "not understood"),
        (answer(type="completion"), Failure.BAD_SUCCESS, "not understood"),
        (msgspec.json.encode({"type": "error", "error": ERROR}), Failure.OVERLOADED, "Overloaded"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_200_that_is_no_answer(body: bytes, failure: Failure, message: str, relay: bool) -> None:
    error = failure_of(body, relay=relay, request=WHOLE)

    assert error.failure is failure
    assert message in error.message


# What is in an answer.

CALL: dict[str, Any] = {"type": "tool_use", "id": "1", "name": "f"}


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([TEXT, HI, CLOSE], [TextDelta("Hi")]),
        ([opened(type="text", text="Hi")], [TextDelta("Hi")]),
        ([opened(type="thinking", thinking="Hm.")], [ReasoningDelta("Hm.")]),
        ([delta("thinking_delta", thinking="Hm.")], [ReasoningDelta("Hm.")]),
        ([delta("signature_delta", signature="s")], [ReasoningDelta(signature="s")]),
        (
            [opened(type="redacted_thinking", data="x")],
            [ReasoningDelta(signature="x", redacted=True)],
        ),
        (
            [opened(**CALL, input={"a": 1}), CLOSE],
            [ToolCallDelta(0, "1", "f"), ToolCallDelta(0, arguments='{"a":1}')],
        ),
        (
            [opened(**CALL, input={}), delta("input_json_delta", partial_json='{"a'), CLOSE],
            [ToolCallDelta(0, "1", "f"), ToolCallDelta(0, arguments='{"a')],
        ),
        (
            [
                opened(type="server_tool_use", id="s", name="web_search", input={}),
                delta("input_json_delta", partial_json="{}"),
                CLOSE,
            ],
            [],
        ),
        ([delta("citations_delta", citation={})], []),
        ([PING, frame("a_new_event")], []),
    ],
    ids=[
        "text",
        "text at once",
        "thinking at once",
        "thinking",
        "signature",
        "redacted thinking",
        "a call at once",
        "a call in pieces",
        "the vendor's own tools are not the caller's",
        "citations",
        "what has no content",
    ],
)
def test_what_a_stream_says(frames: list[bytes], expected: list[Event]) -> None:
    assert told(*frames) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "text": "Hi"}], [TextDelta("Hi")]),
        ([{"type": "text", "text": ""}], []),
        (
            [{"type": "thinking", "thinking": "Hm.", "signature": "s"}],
            [ReasoningDelta("Hm.", "s")],
        ),
        (
            [{**CALL, "input": {"a": 1}}, {**CALL, "id": "2", "input": {}}],
            [ToolCallDelta(0, "1", "f", '{"a":1}'), ToolCallDelta(1, "2", "f", "{}")],
        ),
        ([{"type": "web_search_tool_result", "content": []}], []),
    ],
    ids=["text", "no text", "thinking", "calls", "the vendor's own"],
)
def test_what_an_answer_says(content: Any, expected: list[Event]) -> None:
    assert decoded(answer(content), request=WHOLE)[1:-1] == expected


def test_a_tool_gets_the_callers_name_back() -> None:
    from_caller = Tool("files/read", "", {})
    block: Any = {**CALL, "name": safe_tool_name("files/read"), "input": {}}
    streamed, whole = (asked(tools=(from_caller,), stream=stream) for stream in (True, False))

    assert told(opened(**block), request=streamed) == [ToolCallDelta(0, "1", "files/read")]
    assert decoded(answer([block]), request=whole)[1] == ToolCallDelta(0, "1", "files/read", "{}")


@pytest.mark.parametrize(
    ("said", "content", "reason"),
    [
        ("end_turn", False, "stop"),
        ("stop_sequence", False, "stop_sequence"),
        ("max_tokens", False, "length"),
        ("model_context_window_exceeded", False, "length"),
        ("tool_use", True, "tool_calls"),
        ("pause_turn", False, "pause"),
        ("refusal", False, "refusal"),
        ("end_turn", True, "tool_calls"),
        ("max_tokens", True, "length"),
    ],
)
def test_why_it_ended(said: str, content: bool, reason: Any) -> None:
    block = {**CALL, "input": {}}
    frames = [START, opened(**block), CLOSE] if content else [START]
    end = End(reason, Usage(9, 1))

    assert decoded(b"".join([*frames, stopped(said), LAST]), request=STREAM)[-1] == end
    assert decoded(answer([block] if content else [], said), request=WHOLE)[-1] == end


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (USAGE, {"output_tokens": 5}, Usage(9, 5)),
        (USAGE, {}, Usage(9, 1)),
        (None, {"input_tokens": 7, "output_tokens": 5}, Usage(7, 5)),
        (None, {}, None),
        (
            {"input_tokens": 9, "cache_read_input_tokens": 100, "output_tokens": 1},
            {"output_tokens": 5, "cache_creation_input_tokens": 30},
            Usage(139, 5, cached_read_tokens=100, cached_write_tokens=30),
        ),
        (
            {"input_tokens": 9, "cache_creation_input_tokens": 30, "output_tokens": 1}
            | {"cache_creation": {"ephemeral_1h_input_tokens": 20}},
            {"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 4}},
            Usage(39, 5, 0, 30, 20, 4),
        ),
        ("odd", {"odd": 1}, None),
        ({"input_tokens": -5}, {"output_tokens": "many"}, None),
        ({"input_tokens": 1e300}, {"output_tokens": 10**30}, None),
        (USAGE, {"output_tokens": -5, "cache_creation": 7}, Usage(9, 0)),
    ],
    ids=[
        *("the later holds", "the first alone", "the last alone", "none", "cached", "one hour"),
        *("odd kinds", "odd numbers", "too large", "odd beside good"),
    ],
)
@MODES
def test_usage(first: Any, last: Any, expected: Usage | None, relay: bool) -> None:
    stream = started(first) + HI + stopped(**last) + LAST
    end = decoded(stream, request=STREAM, relay=relay)[-1]

    assert isinstance(end, End)
    assert end.usage == expected
