"""The whole way of a request through the dialects, as the path takes it: a caller's bytes, an
endpoint's bytes, its answer, the caller's answer. What comes out is read by the vendors' SDKs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from dialects import cases
from dialects.cases import REPLY
from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Rendered
from fairlead.dialects.sse import Frames
from fairlead.types.catalog import Capability, Endpoint
from fairlead.types.chat import Request
from servers.canned import Canned

OPENAI, ANTHROPIC = "openai_chat", "anthropic_messages"
SPOKEN = (OPENAI, ANTHROPIC)
PAIRS = [(caller, provider) for caller in SPOKEN for provider in SPOKEN]
CROSSED = [(caller, provider) for caller, provider in PAIRS if caller != provider]

OLDER: tuple[Capability, ...] = ("system", "stream", "tools", "reasoning", "sampling")
"""A model that takes temperature, and thinks within a budget if it is Anthropic's."""
NEWER: tuple[Capability, ...] = ("system", "stream", "tools", "reasoning")

HI = [{"role": "user", "content": "Hi"}]


def pair_id(pair: tuple[str, str]) -> str:
    caller, provider = (name.partition("_")[0] for name in pair)
    return f"{caller} over {provider}"


def endpoint(dialect: str, can: Iterable[Capability] = OLDER, **facts: Any) -> Endpoint:
    return cases.endpoint(dialect, can, **facts)


@dataclass(frozen=True)
class Asked:
    """A request on its way to an endpoint."""

    caller: str
    provider: str
    request: Request
    rendered: Rendered

    @property
    def sent(self) -> Any:
        return msgspec.json.decode(self.rendered.body)

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the caller is told was left behind, in the words of the response's header."""
        return self.rendered.dropped + (() if self.relayed else self.request.loose)

    @property
    def relayed(self) -> bool:
        return self.caller == self.provider

    def answered(self, answer: bytes, step: int = 40) -> bytes:
        """The caller's bytes for an endpoint's, which come in pieces."""
        decoder = DIALECTS[self.provider].decoder(self.request, self.relayed)
        encoder = DIALECTS[self.caller].encoder(self.request, REPLY)
        told = [
            encoder.encode(event)
            for at in range(0, len(answer), step)
            for event in decoder.feed(answer[at : at + step])
        ]
        return b"".join([*told, *map(encoder.encode, decoder.close())])

    def answered_with(self, canned: Canned) -> "Told":
        """What the caller's SDK makes of one of the answers that vendors give."""
        if self.request.stream:
            answer = b"".join(canned.frames)
        else:
            answer = msgspec.json.encode(canned.whole)
        return read(self.caller, self.answered(answer), self.request.stream)


def ask(
    caller: str,
    provider: str,
    fields: Mapping[str, Any] | None = None,
    *,
    to: Endpoint | None = None,
    cap: int | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Asked:
    """``fields`` and ``more`` are the caller's own words, in its own dialect."""
    body = {"model": "auto", "messages": HI, "max_tokens": 20_000, **(fields or {}), **more}
    request = DIALECTS[caller].parse_request(msgspec.json.encode(body), headers or {})
    rendered = DIALECTS[provider].render_request(request, to or endpoint(provider), cap)
    return Asked(caller, provider, request, rendered)


# What callers read -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """An answer as a caller of either dialect reads it, in the words of neither."""

    text: str = ""
    thought: str = ""
    signature: str = ""
    calls: tuple[tuple[str, str, Any], ...] = ()
    """Id, name and arguments."""
    reason: str = "stop"
    input_tokens: int = 0
    """All of them, cached ones included."""
    cached_tokens: int = 0
    written_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


REASONS = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}


def read(dialect: str, answer: bytes, stream: bool) -> Told:
    return READERS[dialect](answer, stream)


def _openai(answer: bytes, stream: bool) -> Told:
    completion: Any
    if stream:
        state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
        usage = None
        for data in frames_of(answer):
            if data != b"[DONE]":
                chunk = ChatCompletionChunk.model_validate_json(data, strict=True)
                usage = chunk.usage or usage
                list(state.handle_chunk(chunk))
        completion = state.current_completion_snapshot
    else:
        completion = ChatCompletion.model_validate_json(answer, strict=True)
        usage = completion.usage
    (choice,) = completion.choices
    message = choice.message
    counted: Any = usage.model_dump() if usage else {}
    cached = counted.get("prompt_tokens_details") or {}
    details = counted.get("completion_tokens_details") or {}
    return Told(
        text=message.content or "",
        thought=getattr(message, "reasoning_content", None) or "",
        calls=tuple(
            (call.id, call.function.name, arguments_in(call.function.arguments))
            for call in message.tool_calls or ()
        ),
        reason=choice.finish_reason,
        input_tokens=counted.get("prompt_tokens", 0),
        cached_tokens=cached.get("cached_tokens") or 0,
        written_tokens=cached.get("cache_write_tokens") or 0,
        output_tokens=counted.get("completion_tokens", 0),
        reasoning_tokens=details.get("reasoning_tokens") or 0,
    )


def arguments_in(text: str) -> Any:
    """What the text says, or the text itself where it is half a value."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def _anthropic(answer: bytes, stream: bool) -> Told:
    message: Any = None
    if stream:
        pieces: dict[int, bytes] = {}
        for data in frames_of(answer):
            if b'"ping"' not in data:
                event = _EVENT.validate_json(data)
                message = accumulate_event(event=event, current_snapshot=message, json_bufs=pieces)
        assert event.type == "message_stop"
    else:
        message = Message.model_validate_json(answer)
    blocks = {
        kind: [block for block in message.content if block.type == kind]
        for kind in ("text", "thinking", "redacted_thinking", "tool_use")
    }
    usage = message.usage
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    details = usage.output_tokens_details
    return Told(
        text="".join(block.text for block in blocks["text"]),
        thought="".join(block.thinking for block in blocks["thinking"]),
        signature="".join(block.signature for block in blocks["thinking"])
        + "".join(block.data for block in blocks["redacted_thinking"]),
        calls=tuple((block.id, block.name, block.input) for block in blocks["tool_use"]),
        reason=REASONS.get(message.stop_reason, message.stop_reason),
        input_tokens=usage.input_tokens + read + written,
        cached_tokens=read,
        written_tokens=written,
        output_tokens=usage.output_tokens,
        reasoning_tokens=(details and details.thinking_tokens) or 0,
    )


READERS = {OPENAI: _openai, ANTHROPIC: _anthropic}


def frames_of(stream: bytes) -> Iterator[bytes]:
    """What each event holds. Every byte must belong to one."""
    frames = Frames().feed(stream)
    assert b"".join(frame.raw for frame in frames) == stream
    return (frame.data for frame in frames if frame.data)
