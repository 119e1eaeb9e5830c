"""An endpoint's Anthropic answer, from bytes to events: relayed as it is, or translated.

Relaying reads only what the gateway must know: when content begins, how the answer ends, and what
it used. Of a ``content_block_delta`` only that it is one, and whole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from fairlead.dialects.anthropic_messages_wire import (
    FINISH,
    AnswerBlock,
    AnyDelta,
    BlockDelta,
    BlockStart,
    BlockStop,
    Kind,
    MessageDelta,
    MessageStart,
    Stop,
    WireAnswer,
    WireCount,
    merged_usage,
    neutral_usage,
)
from fairlead.dialects.failures import bad_success, in_band_error
from fairlead.dialects.sse import Frame, Frames
from fairlead.dialects.wire import UNDECODABLE
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
from fairlead.types.errors import Failure, UpstreamError

MESSAGE_START = msgspec.json.Decoder(MessageStart)
BLOCK_START = msgspec.json.Decoder(BlockStart)
BLOCK_DELTA = msgspec.json.Decoder(BlockDelta)
ANY_DELTA = msgspec.json.Decoder(AnyDelta)
BLOCK_STOP = msgspec.json.Decoder(BlockStop)
MESSAGE_DELTA = msgspec.json.Decoder(MessageDelta)
ANSWER = msgspec.json.Decoder(WireAnswer)
COUNT = msgspec.json.Decoder(WireCount)
KIND = msgspec.json.Decoder(Kind)
ANY = msgspec.json.Decoder()

LAST = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

EMPTY_AT_START = frozenset({"text", "thinking"})
"""Blocks that open before anything of them is known; content comes with their deltas."""

Wire = TypeVar("Wire")


class _Stream:
    """What both kinds of stream watch: the begin, the end, what was used, and errors."""

    def __init__(self) -> None:
        self.content_frames = 0
        self._frames = Frames()
        self._usage: Any = None
        """As the endpoint said it."""
        self._stop = Stop()
        self._began = False
        self._ended = False
        self._committed = False
        self._held: UpstreamError | None = None

    def feed(self, data: bytes) -> Sequence[Event]:
        if self._held is not None:
            raise self._held
        return () if self._ended else self._take(self._frames.feed(data))

    def close(self) -> Sequence[Event]:
        if self._held is not None:
            raise self._held
        if self._ended:
            return ()
        events = self._take(self._frames.close())
        if self._ended:
            return events
        if not self._began:
            raise bad_success(self._frames.rest)
        if (end := self.ending()) is not None:
            # Some servers close without ``message_stop``. The stop reason is the positive end.
            return [*events, end]
        raise _broken("The endpoint's answer stopped before its end.")

    def reported(self) -> Usage | None:
        return neutral_usage(self._usage)

    def ending(self) -> End | None:
        raise NotImplementedError

    def _take(self, frames: Sequence[Frame]) -> Sequence[Event]:
        raise NotImplementedError

    def _hold(self, error: UpstreamError, after: bool) -> None:
        """Raise now, or with the next bytes when content came ``after`` which the error came."""
        if not (self._committed and after):
            raise error
        self._held = error

    def _message_start(self, data: bytes) -> WireAnswer:
        self._began = True
        message = _read(MESSAGE_START, data).message
        self._usage = message.usage
        return message

    def _message_delta(self, data: bytes) -> None:
        delta = _read(MESSAGE_DELTA, data)
        if delta.delta.stop_reason is not None:
            self._stop = delta.delta
        self._usage = merged_usage(self._usage, delta.usage)

    def _error(self, data: bytes) -> None:
        raise in_band_error(_read(ANY, data), begun=self._committed)

    def _check_begun(self) -> None:
        """An end alone is no answer: proxies append one to whatever they got."""
        if not self._began:
            raise bad_success(b"")

    def _end(self, reason: FinishReason, data: bytes = b"") -> End:
        self._ended = True
        return End(reason, neutral_usage(self._usage), self._stop.stop_sequence, data)


class RelayStream(_Stream):
    """Passes every frame on as it came. The frames that one feed completes go on as one."""

    def _take(self, frames: Sequence[Frame]) -> Sequence[Event]:
        passing: list[bytes] = []
        commits = False
        end = None
        try:
            for frame in frames:
                name = frame.event or _name(frame.data)
                if name == b"content_block_delta":
                    _read(ANY_DELTA, frame.data)
                    self.content_frames += 1
                    commits = True
                elif name == b"message_stop":
                    end = self._end(self._reason(), _named(name, frame))
                    break
                elif self._commits(name, frame.data):
                    commits = True
                passing.append(_named(name, frame))
        except UpstreamError as error:
            self._hold(error, bool(passing))
        self._committed = self._committed or commits
        events: list[Event] = [Passed(b"".join(passing), commits)] if passing else []
        if end is not None:
            events.append(end)
        return events

    def _commits(self, name: bytes, data: bytes) -> bool:
        """Look into a frame other than a delta: is there content, or the answer's end, in it?"""
        if name == b"content_block_start":
            block = _read(BLOCK_START, data).content_block
            return block.type not in EMPTY_AT_START or bool(block.text or block.thinking)
        if name == b"message_delta":
            self._message_delta(data)
            return True
        if name == b"message_start":
            self._message_start(data)
        elif name == b"error":
            self._error(data)
        elif data:
            _read(ANY, data)
        return False

    def ending(self) -> End | None:
        """Its reason was passed on: the vendor sends nothing but this frame after it."""
        return self._end(self._reason(), LAST) if self._stop.stop_reason else None

    def _reason(self) -> FinishReason:
        """A reason that we have no word for is passed on in the vendor's own frame."""
        self._check_begun()
        if self._stop.stop_reason is None:
            raise _broken("The endpoint's answer ended without a reason.")
        return FINISH.get(self._stop.stop_reason, "stop")


class TranslatedStream(_Stream):
    """Turns every frame into an event of no dialect."""

    def __init__(self, original_names: Mapping[str, str]) -> None:
        super().__init__()
        self._original_names = original_names
        self._tools: dict[int, _OpenTool] = {}
        self._tool_count = 0

    def _take(self, frames: Sequence[Frame]) -> Sequence[Event]:
        events: list[Event] = []
        try:
            for frame in frames:
                name = frame.event or _name(frame.data)
                event = TRANSLATE.get(name, _ignore)(self, frame.data)
                if event is not None:
                    events.append(event)
                if self._ended:
                    break
        except UpstreamError as error:
            self._hold(error, bool(events))
        if events and not self._committed:
            self._committed = any(not isinstance(event, Begin) for event in events)
        return events

    def begin(self, data: bytes) -> Event:
        message = self._message_start(data)
        return Begin(message.id, message.model, neutral_usage(message.usage))

    def block_start(self, data: bytes) -> Event | None:
        start = _read(BLOCK_START, data)
        block = start.content_block
        if block.type == "tool_use":
            number = self._tool_count
            self._tool_count += 1
            self._tools[start.index] = _OpenTool(number, _arguments(block))
            name = self._original_names.get(block.name, block.name)
            return ToolCallDelta(number, block.id, name)
        if block.type == "redacted_thinking":
            return ReasoningDelta(signature=block.data, redacted=True)
        if block.thinking or block.signature:
            return ReasoningDelta(block.thinking, block.signature)
        return TextDelta(block.text) if block.text else None

    def block_delta(self, data: bytes) -> Event | None:
        read = _read(BLOCK_DELTA, data)
        delta = read.delta
        self.content_frames += 1
        if delta.text:
            return TextDelta(delta.text)
        if delta.partial_json:
            # Anthropic's own server tools stream their input too, and are not for the caller.
            tool = self._tools.get(read.index)
            if tool is None:
                return None
            tool.arguments = ""
            return ToolCallDelta(tool.number, arguments=delta.partial_json)
        if delta.thinking or delta.signature:
            return ReasoningDelta(delta.thinking, delta.signature)
        return None

    def block_stop(self, data: bytes) -> Event | None:
        tool = self._tools.pop(_read(BLOCK_STOP, data).index, None)
        if tool is None or not tool.arguments:
            return None
        return ToolCallDelta(tool.number, arguments=tool.arguments)

    def message_delta(self, data: bytes) -> None:
        self._message_delta(data)

    def message_stop(self, _: bytes) -> Event:
        self._check_begun()
        end = self.ending()
        if end is None:
            raise _broken(f"The endpoint's answer ended with reason {self._stop.stop_reason!r}.")
        return end

    def ending(self) -> End | None:
        reason = FINISH.get(self._stop.stop_reason or "")
        return None if reason is None else self._end(_with_tools(reason, self._tool_count > 0))

    def error(self, data: bytes) -> None:
        self._error(data)


class _OpenTool:
    """``arguments`` are what the block started with, until a delta brings some."""

    __slots__ = ("arguments", "number")

    def __init__(self, number: int, arguments: str) -> None:
        self.number = number
        self.arguments = arguments


def _ignore(_: TranslatedStream, data: bytes) -> None:
    if data:
        _read(ANY, data)


TRANSLATE: Mapping[bytes, Callable[[TranslatedStream, bytes], Event | None]] = {
    b"message_start": TranslatedStream.begin,
    b"content_block_start": TranslatedStream.block_start,
    b"content_block_delta": TranslatedStream.block_delta,
    b"content_block_stop": TranslatedStream.block_stop,
    b"message_delta": TranslatedStream.message_delta,
    b"message_stop": TranslatedStream.message_stop,
    b"error": TranslatedStream.error,
}


class Whole:
    """An answer that is not streamed: the bytes are gathered, and read when they are all here."""

    content_frames = 0

    def __init__(self, read: Callable[[bytes], Sequence[Event]]) -> None:
        self._read = read
        self._body: list[bytes] = []

    def reported(self) -> None:
        return None

    def ending(self) -> None:
        return None

    def feed(self, data: bytes) -> Sequence[Event]:
        self._body.append(data)
        return ()

    def close(self) -> Sequence[Event]:
        return self._read(b"".join(self._body))


def relay_message(body: bytes) -> Sequence[Event]:
    answer = _answer(body)
    reason = FINISH.get(answer.stop_reason or "", "stop")
    return (End(reason, neutral_usage(answer.usage), answer.stop_sequence, body),)


def relay_count(body: bytes) -> Sequence[Event]:
    try:
        tokens = COUNT.decode(body).input_tokens
    except UNDECODABLE as error:
        raise bad_success(body) from error
    return (End("stop", Usage(input_tokens=tokens), data=body),)


def translate_message(body: bytes, original_names: Mapping[str, str]) -> Sequence[Event]:
    answer = _answer(body)
    usage = neutral_usage(answer.usage)
    reason = FINISH.get(answer.stop_reason or "")
    if reason is None:
        raise bad_success(body)
    has_tools = any(block.type == "tool_use" for block in answer.content)
    end = End(_with_tools(reason, has_tools), usage, answer.stop_sequence)
    return (
        Begin(answer.id, answer.model, usage),
        *_contents(answer.content, original_names),
        end,
    )


def _answer(body: bytes) -> WireAnswer:
    try:
        answer = ANSWER.decode(body)
    except UNDECODABLE as error:
        raise bad_success(body) from error
    if answer.type != "message" or answer.stop_reason is None:
        raise bad_success(body)
    return answer


def _contents(content: Sequence[AnswerBlock], names: Mapping[str, str]) -> Iterator[Event]:
    tool_count = 0
    for block in content:
        if block.type == "text" and block.text:
            yield TextDelta(block.text)
        elif block.type == "thinking":
            yield ReasoningDelta(block.thinking, block.signature)
        elif block.type == "redacted_thinking":
            yield ReasoningDelta(signature=block.data, redacted=True)
        elif block.type == "tool_use":
            name = names.get(block.name, block.name)
            yield ToolCallDelta(tool_count, block.id, name, _arguments(block))
            tool_count += 1


def _with_tools(reason: FinishReason, has_tools: bool) -> FinishReason:
    """Some local servers say ``end_turn`` though they call a tool."""
    return "tool_calls" if has_tools and reason == "stop" else reason


def _arguments(block: AnswerBlock) -> str:
    return str(bytes(block.input), "utf-8", "replace")


def _read(decoder: msgspec.json.Decoder[Wire], data: bytes) -> Wire:
    try:
        return decoder.decode(data)
    except UNDECODABLE as error:
        raise _broken("The endpoint sent a stream event that is not understood.") from error


def _name(data: bytes) -> bytes:
    """The event's name from its data, where a server leaves the ``event:`` line out."""
    return _read(KIND, data).type.encode() if data else b""


def _named(name: bytes, frame: Frame) -> bytes:
    """The frame's bytes. Anthropic's SDKs ignore an event without its ``event:`` line."""
    return frame.raw if frame.event or not name else b"event: " + name + b"\n" + frame.raw


def _broken(message: str) -> UpstreamError:
    return UpstreamError(Failure.STREAM_BROKEN, message)
