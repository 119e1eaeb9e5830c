"""A Chat Completions endpoint's answer: bytes to events. Two ways to read (relay, or translate)
times two forms (stream, whole body). Knows nothing of the caller's dialect."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from fairlead.dialects import failures
from fairlead.dialects.dialect import Decoder
from fairlead.dialects.openai_chat_tools import CallPieces, WireCallDelta
from fairlead.dialects.openai_chat_wire import BROKEN, DONE, REASONS, usage_of
from fairlead.dialects.sse import Frame, Frames
from fairlead.dialects.wire import UNDECODABLE, original_tool_names
from fairlead.types.chat import (
    Begin,
    End,
    Event,
    Passed,
    ReasoningDelta,
    Request,
    TextDelta,
    Usage,
)
from fairlead.types.errors import Failure, UpstreamError


class WireDelta(Struct, gc=False):
    """A piece of a message, or a whole one. Kinds of content that we only relay are here to be
    noticed: with any of them, the answer has begun."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[WireCallDelta] | None = None
    refusal: str | None = None
    function_call: Any = None
    audio: Any = None
    images: Any = None
    reasoning_details: Any = None

    def has_content(self) -> bool:
        return bool(
            self.content
            or self.reasoning_content
            or self.reasoning
            or self.tool_calls
            or self.refusal
            or self.function_call
            or self.audio
            or self.images
            or self.reasoning_details
        )


class WireChoice(Struct, gc=False):
    index: int | None = 0
    delta: WireDelta | None = None
    message: WireDelta | None = None
    finish_reason: str | None = None


class WireChunk(Struct, gc=False):
    id: str | None = None
    model: str | None = None
    choices: list[WireChoice] | None = None
    usage: Any = None
    error: Any = None
    object: str | None = None


NO_CHOICES = "The endpoint's answer has no choices."

_CHUNK = msgspec.json.Decoder(WireChunk)


def decoder(request: Request, relay: bool) -> Decoder:
    if not request.stream:
        return _Whole(request, relay)
    return _RelayedStream(request.include_usage) if relay else _TranslatedStream(request)


class _Progress:
    """What has been seen of an answer: enough to tell how it ended."""

    def __init__(self) -> None:
        self.finish = ""
        self.usage: Usage | None = None
        self._called = False
        self._refused = False
        self._finished: dict[int, bool] = {}
        """By choice; there is more than one where ``n`` > 1."""

    def note(self, chunk: WireChunk) -> bool:
        """Take in one chunk; return whether it holds content."""
        content = False
        for choice in chunk.choices or ():
            piece = choice.delta or choice.message
            if piece is not None and piece.has_content():
                content = True
                if piece.tool_calls or piece.function_call:
                    self._called = True
                elif piece.refusal:
                    self._refused = True
            index = choice.index or 0
            if choice.finish_reason or index not in self._finished:
                self._note_finish(index, choice.finish_reason)
        if chunk.usage:
            self.usage = usage_of(chunk.usage) or self.usage
        return content

    def _note_finish(self, index: int, finish: str | None) -> None:
        if finish in BROKEN:
            raise _broken(f"The endpoint broke off its answer: {finish}.")
        self._finished[index] = bool(finish)
        if finish and (index == 0 or not self.finish):
            self.finish = finish

    def is_empty(self) -> bool:
        """Whether there was no choice at all."""
        return not self._finished

    def is_complete(self) -> bool:
        return bool(self.finish) and all(self._finished.values())

    def end(self, data: bytes = b"") -> End:
        """``stop`` beside tool calls is a slip of several local servers."""
        reason = REASONS.get(self.finish, "stop")
        if reason == "stop" and (self._called or self._refused):
            reason = "tool_calls" if self._called else "refusal"
        return End(reason, self.usage, data=data)


def _broken(message: str) -> UpstreamError:
    return UpstreamError(Failure.STREAM_BROKEN, message, upstream_status=200)


# Streams -----------------------------------------------------------------------------------------


class _Stream:
    """Takes a stream apart. The two ways to read it differ in ``_read`` alone."""

    def __init__(self) -> None:
        self.content_frames = 0
        self._frames = Frames()
        self._progress = _Progress()
        self._any = False
        """Whether any chunk has come."""
        self._begun = False
        """Whether an earlier call yielded content: from then on an error breaks the stream."""
        self._ended = False
        self._held: UpstreamError | None = None
        self._stray = b""
        """The start of what came before any chunk and is no event: a page of HTML, say."""

    def feed(self, data: bytes) -> Sequence[Event]:
        if self._held is not None:
            raise self._held
        return () if self._ended else self._read(self._frames.feed(data))

    def close(self) -> Sequence[Event]:
        if self._held is not None:
            raise self._held
        if self._ended:
            return ()
        events = self._read(self._frames.close())
        if self._ended:
            return events
        if self._progress.is_complete():
            # Some servers close without ``[DONE]``. The finish reason is the positive end.
            return [*events, self._end(DONE)]
        if not self._any:
            raise failures.bad_success(self._stray or self._frames.rest)
        if self._progress.is_empty():
            raise _bad(NO_CHOICES)
        raise _broken("The endpoint closed the stream before its end.")

    def reported(self) -> Usage | None:
        return self._progress.usage

    def ending(self) -> End | None:
        return self._end(DONE) if self._progress.is_complete() else None

    def _read(self, frames: Iterable[Frame]) -> list[Event]:
        raise NotImplementedError

    def _end(self, terminal: bytes) -> End:
        self._ended = True
        return self._progress.end(terminal)

    def _done(self) -> None:
        """``[DONE]`` alone proves nothing: proxies append it to whatever they got."""
        if not self._any:
            raise failures.bad_success(b"")
        if self._progress.is_empty():
            raise _bad(NO_CHOICES)
        if not self._progress.is_complete():
            raise _broken("The endpoint ended the stream without a finish reason.")

    def _chunk(self, frame: Frame) -> WireChunk:
        self._any = True
        try:
            chunk = _CHUNK.decode(frame.data)
            failed = chunk.error or chunk.object == "error" or frame.event == b"error"
            told = msgspec.json.decode(frame.data) if failed else None
        except UNDECODABLE as error:
            if frame.event == b"error":
                raise failures.in_band_error(None, self._begun) from error
            raise _broken("The endpoint sent a stream event that is not understood.") from error
        if failed:
            raise failures.in_band_error(told, self._begun)
        return chunk

    def _no_event(self, frame: Frame) -> None:
        if not (self._any or self._stray or frame.raw.startswith(b":")):
            self._stray = frame.raw.strip()

    def _hold(self, error: UpstreamError, after: bool) -> None:
        """Raise now, or with the next bytes when content came ``after`` which the error came."""
        if not (self._begun and after):
            raise error
        self._held = error


class _RelayedStream(_Stream):
    """Passes frames on as they are, but for the usage that we asked for and the caller did not.

    What follows the finish reason is kept for the End, so that the caller sees no end before the
    account is settled; content after it, as of a second choice, lets go of it.
    """

    def __init__(self, include_usage: bool) -> None:
        super().__init__()
        self._include_usage = include_usage
        self._kept: list[bytes] = []

    def _read(self, frames: Iterable[Frame]) -> list[Event]:
        passed: list[bytes] = []
        commits = False
        end: End | None = None
        try:
            for frame in frames:
                if frame.data.startswith(b"[DONE]"):
                    self._done()
                    end = self._end(frame.raw)
                    break
                if self._take(frame, passed):
                    self.content_frames += 1
                    commits = True
        except UpstreamError as error:
            self._hold(error, bool(passed))
        self._begun = self._begun or commits
        events: list[Event] = []
        if passed:
            data = passed[0] if len(passed) == 1 else b"".join(passed)
            events.append(Passed(data, commits))
        if end is not None:
            events.append(end)
        return events

    def _take(self, frame: Frame, passed: list[bytes]) -> bool:
        """Pass a frame on, keep it or leave it out; return whether it holds content."""
        if not frame.data:
            self._no_event(frame)
        else:
            chunk = self._chunk(frame)
            if self._progress.note(chunk):
                passed += (*self._kept, frame.raw)
                self._kept.clear()
                return True
            if chunk.usage and not (chunk.choices or self._include_usage):
                return False
        (self._kept if self._progress.finish else passed).append(frame.raw)
        return False

    def _end(self, terminal: bytes) -> End:
        return super()._end(b"".join((*self._kept, terminal)))


class _TranslatedStream(_Stream):
    """Turns chunks into events."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._names = original_tool_names(tool.name for tool in request.tools)
        self._calls: CallPieces | None = None

    def _read(self, frames: Iterable[Frame]) -> list[Event]:
        events: list[Event] = []
        content = False
        try:
            for frame in frames:
                if frame.data.startswith(b"[DONE]"):
                    self._done()
                    events.append(self._end(b""))
                    break
                if self._take(frame, events):
                    self.content_frames += 1
                    content = True
        except UpstreamError as error:
            self._hold(error, bool(events))
        self._begun = self._begun or content
        return events

    def _take(self, frame: Frame, events: list[Event]) -> bool:
        """Turn a frame into its events; return whether it holds content."""
        if not frame.data:
            self._no_event(frame)
            return False
        chunk = self._chunk(frame)
        if self._calls is None:
            self._calls = CallPieces(self._names, chunk.id or "")
            events.append(Begin(chunk.id or "", chunk.model or "", usage_of(chunk.usage)))
        if not self._progress.note(chunk):
            return False
        events += _events(chunk, self._calls)
        return True

    def _end(self, terminal: bytes) -> End:
        if self._calls is not None:
            self._calls.check()
        return super()._end(b"")


def _events(chunk: WireChunk, calls: CallPieces) -> list[Event]:
    """Of the first choice alone: a request for more does not cross dialects."""
    events: list[Event] = []
    for choice in chunk.choices or ():
        piece = choice.delta or choice.message
        if choice.index or piece is None:
            continue
        thought = piece.reasoning_content or piece.reasoning
        if thought and isinstance(thought, str):
            events.append(ReasoningDelta(thought))
        if piece.content:
            events += _content(piece.content)
        if piece.refusal:
            events.append(TextDelta(piece.refusal))
        for call in piece.tool_calls or ():
            event = calls.take(call)
            if event is not None:
                events.append(event)
    return events


def _content(content: Any) -> list[Event]:
    """A text; Mistral's reasoning models send a list of texts and thoughts."""
    if isinstance(content, str):
        return [TextDelta(content)]
    events: list[Event] = []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            events.append(TextDelta(part["text"]))
        elif isinstance(part, dict) and isinstance(part.get("thinking"), list):
            thoughts = _content(part["thinking"])
            events += [ReasoningDelta(t.text) for t in thoughts if isinstance(t, TextDelta)]
    return events


# Whole bodies ------------------------------------------------------------------------------------


class _Whole:
    """Collects a body and reads it when it is complete."""

    content_frames = 0

    def __init__(self, request: Request, relay: bool) -> None:
        self._request = request
        self._relay = relay
        self._pieces: list[bytes] = []

    def reported(self) -> None:
        return None

    def ending(self) -> None:
        return None

    def feed(self, data: bytes) -> Sequence[Event]:
        self._pieces.append(data)
        return ()

    def close(self) -> Sequence[Event]:
        body = b"".join(self._pieces)
        self._pieces.clear()
        completion = _completion(body)
        progress = _Progress()
        progress.note(completion)
        if not progress.is_complete():
            raise _bad("The endpoint's answer has no finish reason.")
        if self._relay:
            return [progress.end(body)]
        names = original_tool_names(tool.name for tool in self._request.tools)
        calls = CallPieces(names, completion.id or "")
        events = _events(completion, calls)
        calls.check()
        return [
            Begin(completion.id or "", completion.model or "", progress.usage),
            *events,
            progress.end(),
        ]


def _completion(body: bytes) -> WireChunk:
    try:
        completion = _CHUNK.decode(body)
    except UNDECODABLE as error:
        raise failures.bad_success(body) from error
    if completion.error or completion.object == "error":
        raise failures.bad_success(body)
    if not completion.choices:
        raise _bad(NO_CHOICES)
    for choice in completion.choices:
        # Calls in one piece need no index, and some servers number them all 0.
        for index, call in enumerate((choice.message and choice.message.tool_calls) or ()):
            call.index = index
    return completion


def _bad(message: str) -> UpstreamError:
    return UpstreamError(Failure.BAD_SUCCESS, message, upstream_status=200)
