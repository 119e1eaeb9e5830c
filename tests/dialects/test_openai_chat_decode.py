"""Answers of a Chat Completions endpoint: relayed, and turned into events."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.openai_cases import (
    DONE,
    GOLDEN,
    STREAM,
    USAGE,
    WHOLE,
    asked,
    chunk,
    completion,
    decoded,
    frame,
    told,
    usage_chunk,
)
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.types.chat import (
    End,
    Event,
    Passed,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from fairlead.types.errors import Failure, UpstreamError

SILENT = asked(stream=True)
"""Of a caller who did not ask for usage."""
SPENT = Usage(input_tokens=9, output_tokens=2)
MODES = pytest.mark.parametrize("relay", [True, False], ids=["relayed", "translated"])
cuts = st.lists(st.integers(0, 5000), max_size=8)

HI, STOP = chunk({"content": "Hi"}), chunk({}, "stop")
CALL = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}


def failure_of(
    *pieces: bytes, relay: bool, request: Any = STREAM, at: Sequence[int] = ()
) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        decoded(b"".join(pieces), request=request, relay=relay, cuts=at)
    return caught.value


# Relayed.


def bytes_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Passed | End))


@given(case=st.sampled_from(GOLDEN.cases("stream")), cuts=cuts)
def test_a_relayed_stream_keeps_its_bytes(case: str, cuts: list[int]) -> None:
    events = decoded(GOLDEN.wire(case), request=STREAM, relay=True, cuts=cuts)

    assert bytes_of(events) == GOLDEN.wire(case) + (DONE if case == "stream_without_done" else b"")
    assert events[-1] == _relayed_end(GOLDEN.events(case)[-1], events[-1])


def _relayed_end(expected: Event, end: Event) -> End:
    """A relayed end says what a translated one says, and has bytes."""
    assert isinstance(expected, End)
    assert isinstance(end, End)
    return End(expected.reason, expected.usage, data=end.data)


@pytest.mark.parametrize("case", GOLDEN.cases("answer"))
def test_a_relayed_answer_keeps_its_bytes(case: str) -> None:
    (end,) = decoded(GOLDEN.wire(case), request=WHOLE, relay=True, cuts=[100])

    assert end == _relayed_end(GOLDEN.events(case)[-1], end)
    assert bytes_of([end]) == GOLDEN.wire(case)


odd_frames = st.lists(
    st.sampled_from(
        [
            b": ping\n\n",
            b"retry: 3\n\n",
            b'event: x\ndata: {"new": [1, 2]}\n\n',
            frame({"choices": [], "prompt_filter_results": []}),
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "a"}),
            chunk({"content": "a"}).replace(b"\n", b"\r\n"),
            chunk({"content": "b"}, index=1),
            chunk({}, "stop", index=1),
            chunk({"hologram": "x"}, logprobs=None),
            STOP,
            usage_chunk(),
        ]
    ),
    max_size=8,
)


@given(frames=odd_frames, cuts=cuts)
def test_whatever_a_relayed_stream_holds_goes_on_in_its_order(
    frames: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join([*frames, STOP, chunk({}, "stop", index=1), DONE])

    assert bytes_of(decoded(stream, request=STREAM, relay=True, cuts=cuts)) == stream


def test_bug_14_usage_that_the_caller_did_not_ask_for_is_counted_and_left_out() -> None:
    events = decoded(HI + STOP + usage_chunk() + DONE, request=SILENT, relay=True)

    assert events == [Passed(HI), End("stop", SPENT, data=STOP + DONE)]


def test_usage_beside_a_choice_is_the_endpoints_own_way_and_stays() -> None:
    last = chunk({}, "stop", usage=USAGE)
    events = decoded(HI + last + DONE, request=SILENT, relay=True)

    assert events == [Passed(HI), End("stop", SPENT, data=last + DONE)]


@pytest.mark.parametrize(
    ("stream", "commits"),
    [
        (chunk({"role": "assistant", "content": ""}), False),
        (chunk({"content": None}), False),
        (frame({"choices": []}), False),
        (b": ping\n\n", False),
        (chunk({"content": "a"}), True),
        (chunk({"reasoning_content": "a"}), True),
        (chunk({"reasoning": "a"}), True),
        (chunk({"reasoning_details": [{"text": "a"}]}), True),
        (chunk({"refusal": "a"}), True),
        (chunk({"audio": {"id": "a"}}), True),
        (chunk({"images": [{"type": "image_url"}]}), True),
        (chunk({"function_call": {"name": "f"}}), True),
        (chunk(CALL), True),
    ],
)
def test_only_content_commits(stream: bytes, commits: bool) -> None:
    assert OPENAI_CHAT.decoder(STREAM, True).feed(stream) == [Passed(stream, commits)]


def test_the_caller_sees_no_end_before_the_end() -> None:
    decoder = OPENAI_CHAT.decoder(STREAM, True)

    assert decoder.feed(HI) == [Passed(HI)]
    assert decoder.feed(STOP + b": ping\n\n") == []
    assert decoder.feed(usage_chunk()) == []
    assert decoder.feed(DONE) == [
        End("stop", SPENT, data=STOP + b": ping\n\n" + usage_chunk() + DONE)
    ]


def test_a_second_choice_lets_go_of_the_first_ones_end() -> None:
    decoder = OPENAI_CHAT.decoder(STREAM, True)
    other = chunk({"content": "Ho"}, index=1)

    assert decoder.feed(HI + STOP) == [Passed(HI)]
    assert decoder.feed(other) == [Passed(STOP + other)]


# How a stream ends.


@MODES
@pytest.mark.parametrize(
    "stream",
    [
        [HI, STOP, DONE],
        [HI, STOP, usage_chunk(), DONE],
        [HI, STOP],
        [HI, chunk({"content": "!"}, "length"), b"data: [DONE]\n"],
        [STOP, DONE],
        [HI, chunk({"content": "Ho"}, index=1), STOP, chunk({}, "stop", index=1)],
        [HI, STOP, DONE, frame({"error": "after the end"}), HI],
        [HI, STOP, b"data: {cut"],
    ],
    ids=[
        "finish and DONE",
        "with usage",
        "no DONE",
        "DONE cut",
        "no content",
        "two choices",
        "more after the end",
        "cut after the end",
    ],
)
def test_a_finish_reason_ends_a_stream(stream: list[bytes], relay: bool) -> None:
    events = decoded(b"".join(stream), request=STREAM, relay=relay)

    assert [event for event in events if isinstance(event, End)] == events[-1:]
    assert bytes_of(events).endswith(DONE) is relay


@MODES
@pytest.mark.parametrize("at", [[], range(5000)], ids=["in one piece", "byte by byte"])
@pytest.mark.parametrize(
    "stream",
    [
        [HI],
        [HI, DONE],
        [chunk({"role": "assistant"})],
        [HI, chunk({}, "stop")[:-1]],
        [HI, usage_chunk()],
        [HI, chunk({"content": "Ho"}, index=1), STOP, DONE],
        [HI, chunk({"content": "Ho"}, index=1), chunk({}, "stop", index=1)],
        [HI, chunk({}, "error"), DONE],
        [HI, chunk({}, "abort"), DONE],
        [HI, b"data: {not json}\n\n", STOP, DONE],
        [HI, b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n', STOP, DONE],
        [HI, b'data: {"choices": {}}\n\n', STOP, DONE],
    ],
    ids=[
        "closed",
        "DONE alone",
        "closed before content",
        "finish cut",
        "usage is no end",
        "second choice open",
        "first choice open",
        "error as reason",
        "abort as reason",
        "no JSON",
        "no UTF-8",
        "another shape",
    ],
)
def test_without_one_it_is_broken(stream: list[bytes], relay: bool, at: Sequence[int]) -> None:
    assert failure_of(*stream, relay=relay, at=at).failure is Failure.STREAM_BROKEN


def test_half_a_call_is_never_presented_as_whole() -> None:
    """Whatever was cut off, no End follows."""
    stream = GOLDEN.wire("stream_tools")
    finish = stream.index(b'"finish_reason":"tool_calls"')
    for cut in range(stream.index(b"tool_calls"), finish, 7):
        assert failure_of(stream[:cut], relay=False).failure is Failure.STREAM_BROKEN
        assert failure_of(stream[:cut], relay=True).failure is Failure.STREAM_BROKEN


FULL = {"error": {"message": "Out of credits.", "code": "insufficient_quota"}}


@MODES
@pytest.mark.parametrize(
    ("answer", "failure", "message"),
    [
        (b"", Failure.BAD_SUCCESS, "an empty body"),
        (DONE, Failure.BAD_SUCCESS, "an empty body"),
        (b": ping\n\n: ping\n\n", Failure.BAD_SUCCESS, "an empty body"),
        (frame({"choices": []}), Failure.BAD_SUCCESS, "no choices"),
        (frame({"choices": []}) + DONE, Failure.BAD_SUCCESS, "no choices"),
        (b"<!doctype html><h1>Login</h1>", Failure.BAD_SUCCESS, "a page of HTML"),
        (b"<html>\n\n<body>\n\n</html>\n\n", Failure.BAD_SUCCESS, "a page of HTML"),
        (frame(FULL)[6:], Failure.QUOTA, "Out of credits."),
        (frame(FULL), Failure.QUOTA, "Out of credits."),
        (b"event: error\n" + frame(FULL), Failure.QUOTA, "Out of credits."),
        (frame({"error": {"message": "Slow down.", "code": 429}}), Failure.RATE_LIMIT, "Slow"),
        (frame({"error": "Boom."}), Failure.BAD_SUCCESS, "Boom."),
        (frame({"object": "error", "message": "Boom."}), Failure.BAD_SUCCESS, "Boom."),
        (b"event: error\ndata: Boom\n\n", Failure.BAD_SUCCESS, "broke off"),
        (b'data: {"error": 1, "x": "\xff"}\n\n', Failure.STREAM_BROKEN, "not understood"),
        (completion({"content": "Hi"}), Failure.BAD_SUCCESS, "not understood"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_200_that_is_no_stream(
    answer: bytes, failure: Failure, message: str, relay: bool
) -> None:
    error = failure_of(answer, relay=relay)

    assert error.failure is failure
    assert message in error.message


@MODES
def test_an_error_after_content_breaks_the_stream(relay: bool) -> None:
    decoder = OPENAI_CHAT.decoder(STREAM, relay)

    assert decoder.feed(HI)
    with pytest.raises(UpstreamError, match=r"Out of credits\.") as caught:
        decoder.feed(frame(FULL))
    assert caught.value.failure is Failure.STREAM_BROKEN
    assert caught.value.upstream_code == "insufficient_quota"


@MODES
def test_content_in_the_same_piece_as_an_error_is_given_before_it(relay: bool) -> None:
    decoder = OPENAI_CHAT.decoder(STREAM, relay)
    decoder.feed(HI)
    last = chunk({"content": " there"})

    assert decoder.feed(last + frame(FULL)) == [Passed(last) if relay else TextDelta(" there")]
    with pytest.raises(UpstreamError, match=r"Out of credits\."):
        decoder.feed(STOP)
    with pytest.raises(UpstreamError, match=r"Out of credits\."):
        decoder.close()


@MODES
def test_an_error_with_the_first_content_leaves_the_choice_of_another_endpoint(
    relay: bool,
) -> None:
    assert failure_of(HI, frame(FULL), relay=relay).failure is Failure.QUOTA


# How a whole answer fails.


@MODES
@pytest.mark.parametrize(
    ("answer", "failure", "message"),
    [
        (b"", Failure.BAD_SUCCESS, "an empty body"),
        (b"<html></html>", Failure.BAD_SUCCESS, "a page of HTML"),
        (b"{}", Failure.BAD_SUCCESS, "no choices"),
        (b'{"choices": []}', Failure.BAD_SUCCESS, "no choices"),
        (b"[]", Failure.BAD_SUCCESS, "not understood"),
        (b'{"choices": [', Failure.BAD_SUCCESS, "not understood"),
        (frame(FULL)[6:], Failure.QUOTA, "Out of credits."),
        (completion({"content": "Hi"}, None), Failure.BAD_SUCCESS, "no finish reason"),
        (completion({"content": "Hi"}, "error"), Failure.STREAM_BROKEN, "broke off"),
        (completion({"content": "Hi"})[:-1], Failure.BAD_SUCCESS, "not understood"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_200_that_is_no_answer(
    answer: bytes, failure: Failure, message: str, relay: bool
) -> None:
    error = failure_of(answer, relay=relay, request=WHOLE)

    assert error.failure is failure
    assert message in error.message


# What else is in an answer.


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"content": "a"}, [TextDelta("a")]),
        ({"content": None}, []),
        ({"content": ""}, []),
        ({"reasoning_content": "a"}, [ReasoningDelta("a")]),
        ({"reasoning": "a"}, [ReasoningDelta("a")]),
        ({"reasoning": "a", "reasoning_content": "a"}, [ReasoningDelta("a")]),
        ({"reasoning": {"effort": "low"}}, []),
        ({"reasoning_content": "a", "content": "b"}, [ReasoningDelta("a"), TextDelta("b")]),
        ({"refusal": "a"}, [TextDelta("a")]),
        (
            {"content": [{"type": "thinking", "thinking": [{"text": "a"}]}, {"text": "b"}]},
            [ReasoningDelta("a"), TextDelta("b")],
        ),
    ],
    ids=str,
)
def test_what_a_delta_says(delta: Any, expected: list[Event]) -> None:
    assert told(chunk(delta), STOP, request=STREAM)[:-1] == expected
    assert told(completion(delta), request=WHOLE)[:-1] == expected


@pytest.mark.parametrize(
    ("finish", "delta", "reason"),
    [
        ("stop", {"content": "a"}, "stop"),
        ("eos", {"content": "a"}, "stop"),
        ("length", {"content": "a"}, "length"),
        ("content_filter", {"content": "a"}, "content_filter"),
        ("tool_calls", CALL, "tool_calls"),
        ("function_call", CALL, "tool_calls"),
        ("stop", CALL, "tool_calls"),
        ("length", CALL, "length"),
        ("stop", {"refusal": "a"}, "refusal"),
    ],
    ids=str,
)
def test_why_it_ended(finish: str, delta: Any, reason: Any) -> None:
    assert told(chunk(delta), chunk({}, finish), request=STREAM)[-1] == End(reason, None)
    assert told(completion(delta, finish), request=WHOLE)[-1] == End(reason, None)


def test_the_last_usage_holds() -> None:
    growing = [chunk({"content": "a"}, usage={"prompt_tokens": 9, "completion_tokens": 1}), STOP]

    assert told(*growing, usage_chunk(), request=STREAM)[-1] == End("stop", SPENT)
    assert told(*growing, request=STREAM)[-1] == End("stop", Usage(9, 1))
