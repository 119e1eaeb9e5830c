"""Answers for a Chat Completions caller, read as OpenAI's own SDK reads them."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from dialects.cases import REPLY
from dialects.openai_cases import DONE, STREAM, WHOLE, asked, decoded
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.dialects.sse import Frames
from fairlead.types.chat import (
    Begin,
    End,
    Event,
    Passed,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from fairlead.types.errors import (
    Failure,
    Forbidden,
    GatewayError,
    OverBudget,
    RateLimited,
    Unauthenticated,
    UpstreamError,
)

SPENT = Usage(120, 30, cached_read_tokens=100, cached_write_tokens=5, reasoning_tokens=20)
STOP = End("stop", SPENT)
CALLS = [
    ToolCallDelta(0, "call_1", "read", ""),
    ToolCallDelta(0, arguments='{"path"'),
    ToolCallDelta(0, arguments=':"ü"}'),
    ToolCallDelta(1, "call_2", "list", "{}"),
]


def encoded(events: Sequence[Event], request: Request = STREAM) -> bytes:
    encoder = OPENAI_CHAT.encoder(request, REPLY)
    return b"".join(encoder.encode(event) for event in events)


def chunks_in(stream: bytes) -> list[ChatCompletionChunk]:
    """Every frame but ``[DONE]``, held to the SDK's types."""
    frames = Frames().feed(stream)
    assert b"".join(frame.raw for frame in frames) == stream
    return [
        ChatCompletionChunk.model_validate_json(frame.data, strict=True)
        for frame in frames
        if frame.data != b"[DONE]"
    ]


def accumulated(stream: bytes) -> Any:
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks_in(stream):
        state.handle_chunk(chunk)
    return state.current_completion_snapshot


def whole(events: Sequence[Event]) -> ChatCompletion:
    return ChatCompletion.model_validate_json(encoded(events, WHOLE), strict=True)


def said(completion: Any) -> Any:
    """Text, thoughts, calls and the reason, of a stream and of a whole answer alike."""
    (choice,) = completion.choices
    message = choice.message
    calls = [
        (call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or ()
        if call.type == "function"
    ]
    thoughts = getattr(message, "reasoning_content", None) or ""
    return message.content or "", thoughts, calls, choice.finish_reason


# What the SDK makes of it.


@pytest.mark.parametrize(
    "read", [lambda e: accumulated(encoded(e)), whole], ids=["stream", "whole"]
)
@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([TextDelta("Grü"), TextDelta("ße\n👋"), STOP], ("Grüße\n👋", "", [], "stop")),
        ([STOP], ("", "", [], "stop")),
        (
            [ReasoningDelta("I "), ReasoningDelta("see.", "sig"), TextDelta("Yes"), STOP],
            ("Yes", "I see.", [], "stop"),
        ),
        ([ReasoningDelta("", "secret", True), TextDelta("Yes"), STOP], ("Yes", "", [], "stop")),
        (
            [TextDelta("Look:"), *CALLS, End("tool_calls", SPENT)],
            (
                "Look:",
                "",
                [("call_1", "read", '{"path":"ü"}'), ("call_2", "list", "{}")],
                "tool_calls",
            ),
        ),
        (
            [CALLS[0], CALLS[3], *CALLS[1:3], End("tool_calls", SPENT)],
            ("", "", [("call_1", "read", '{"path":"ü"}'), ("call_2", "list", "{}")], "tool_calls"),
        ),
        (
            [CALLS[0], CALLS[1], End("length", SPENT)],
            ("", "", [("call_1", "read", '{"path"')], "length"),
        ),
    ],
    ids=[
        "text",
        "nothing",
        "thoughts",
        "hidden thoughts",
        "calls",
        "calls in turns",
        "half a call",
    ],
)
def test_what_was_said(read: Any, events: list[Event], expected: Any) -> None:
    assert said(read([Begin("x", "y"), *events])) == expected


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("refusal", "content_filter"),
        ("pause", "stop"),
    ],
)
def test_why_it_ended(reason: Any, finish: str) -> None:
    events: list[Event] = [TextDelta("a"), End(reason, None)]

    assert accumulated(encoded(events)).choices[0].finish_reason == finish
    assert whole(events).choices[0].finish_reason == finish


def test_every_chunk_names_the_answer() -> None:
    stream = encoded([Begin("upstream-id", "upstream-model"), TextDelta("a"), STOP])
    heads = {(chunk.id, chunk.model, chunk.created, chunk.object) for chunk in chunks_in(stream)}

    assert heads == {("chatcmpl-r1", "small-model", 1_790_000_000, "chat.completion.chunk")}
    completion = whole([TextDelta("a"), STOP])
    assert (completion.id, completion.model) == ("chatcmpl-r1", "small-model")


def test_the_first_chunk_has_the_role_and_the_last_the_reason_alone() -> None:
    chunks = chunks_in(encoded([TextDelta("a"), TextDelta("b"), STOP], asked(stream=True)))

    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None, None, None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert chunks[-1].choices[0].delta.content is None


def test_nothing_is_said_before_there_is_content() -> None:
    """Until then another endpoint may still answer."""
    encoder = OPENAI_CHAT.encoder(STREAM, REPLY)

    assert encoder.encode(Begin("x", "y")) == b""
    assert encoder.encode(ReasoningDelta("", "sig")) == b""
    assert encoder.encode(TextDelta("a"))


def test_a_whole_answer_comes_in_one_piece() -> None:
    encoder = OPENAI_CHAT.encoder(WHOLE, REPLY)
    events: list[Event] = [Begin("x", "y"), TextDelta("a"), *CALLS, ReasoningDelta("b")]

    assert [encoder.encode(event) for event in events] == [b""] * len(events)
    assert encoder.encode(STOP).startswith(b"{")


@pytest.mark.parametrize("request_", [STREAM, WHOLE], ids=["stream", "whole"])
def test_what_is_relayed_is_written_as_it_is(request_: Request) -> None:
    events: list[Event] = [Passed(b"a", commits=False), Passed(b"b")]
    end = End("stop", None, data=b"c")

    assert encoded([*events, end], request_) == b"abc"


texts = st.text(max_size=10)
events_ = st.lists(
    st.one_of(
        st.builds(TextDelta, texts.filter(bool)),
        st.builds(ReasoningDelta, texts.filter(bool)),
        st.builds(ToolCallDelta, st.integers(0, 3), arguments=texts.filter(bool)),
    ),
    max_size=12,
)


def numbered(events: Sequence[Event]) -> list[Event]:
    """Give every call its first piece: dense numbers, in the order in which they begin."""
    numbers: dict[int, int] = {}
    whole: list[Event] = []
    for event in events:
        if isinstance(event, ToolCallDelta):
            if event.index not in numbers:
                number = numbers[event.index] = len(numbers)
                whole.append(ToolCallDelta(number, f"id_{number}", f"tool_{number}"))
            event = msgspec.structs.replace(event, index=numbers[event.index])
        whole.append(event)
    return whole


@given(events_.map(numbered))
def test_a_stream_and_a_whole_answer_say_the_same(events: list[Event]) -> None:
    end = End("tool_calls", SPENT)

    assert said(accumulated(encoded([*events, end]))) == said(whole([*events, end]))


@given(events_.map(numbered))
def test_our_own_decoder_reads_the_same_events(events: list[Event]) -> None:
    stream = encoded([*events, End("tool_calls", Usage(120, 30, 100, 5, reasoning_tokens=20))])
    begin, *back = decoded(stream, request=STREAM)

    assert isinstance(begin, Begin)
    assert back == [*events, End("tool_calls", Usage(120, 30, 100, 5, reasoning_tokens=20))]


# Usage.


def test_usage_comes_in_a_chunk_of_its_own_to_who_asked_for_it() -> None:
    stream = encoded([TextDelta("a"), STOP])
    *before, last = chunks_in(stream)

    assert last.choices == []
    assert all(chunk.usage is None for chunk in before)
    assert last.usage is not None
    assert last.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 120,
        "completion_tokens": 30,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    assert whole([TextDelta("a"), STOP]).usage == last.usage


def test_bug_14_usage_does_not_come_to_who_did_not_ask_for_it() -> None:
    chunks = chunks_in(encoded([TextDelta("a"), STOP], asked(stream=True)))

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize("events", [[TextDelta("a"), End("stop", None)]])
def test_usage_that_is_not_known_is_not_invented(events: list[Event]) -> None:
    assert b'"usage"' not in encoded(events)
    assert whole(events).usage is None


# The end, and errors.


@pytest.mark.parametrize("request_", [STREAM, asked(stream=True)])
@pytest.mark.parametrize("events", [[STOP], [TextDelta("a"), STOP], [*CALLS, STOP]])
def test_done_comes_last_and_once(events: list[Event], request_: Request) -> None:
    stream = encoded(events, request_)

    assert stream.endswith(DONE)
    assert stream.count(b"[DONE]") == 1


@pytest.mark.parametrize("before", [[], [TextDelta("a")], CALLS[:2], [Passed(b"data: {}\n\n")]])
def test_after_an_error_nothing_says_that_the_answer_is_complete(before: list[Event]) -> None:
    encoder = OPENAI_CHAT.encoder(STREAM, REPLY)
    stream = b"".join(encoder.encode(event) for event in before)
    stream += encoder.error(UpstreamError(Failure.STREAM_BROKEN, "It broke."))

    assert b"[DONE]" not in stream
    assert b'"finish_reason":"' not in stream
    last = msgspec.json.decode(Frames().feed(stream)[-1].data)
    assert last["error"]["message"] == "It broke."
    assert last["error"]["code"] == "upstream_stream_broken"


@pytest.mark.parametrize(
    ("error", "type_", "code"),
    [
        (Unauthenticated("x"), "authentication_error", "invalid_api_key"),
        (Forbidden("x"), "permission_error", "forbidden"),
        (RateLimited("x"), "rate_limit_error", "rate_limit_exceeded"),
        (OverBudget("x"), "insufficient_quota", "budget_exhausted"),
        (UpstreamError(Failure.QUOTA, "x"), "insufficient_quota", "insufficient_quota"),
        (
            UpstreamError(Failure.CONTEXT_LENGTH, "x"),
            "invalid_request_error",
            "context_length_exceeded",
        ),
        (UpstreamError(Failure.SILENT, "x"), "server_error", "upstream_timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_have_the_words_of_the_dialect(error: GatewayError, type_: str, code: str) -> None:
    told = msgspec.json.decode(OPENAI_CHAT.render_error(error, "r1"))

    assert told == {
        "error": {
            "message": "x",
            "type": type_,
            "param": None,
            "code": code,
            "request_id": "r1",
            "should_retry": error.retryable,
        }
    }
