"""The answer for an Anthropic caller: events to named frames, or to one message. Knows no endpoint.

Theory of operation of the stream. Anthropic's answer is a row of blocks, numbered, each started,
filled and stopped before the next one starts. Events of other dialects keep no such order: two
tool calls may arrive in turns. So blocks wait in a row. One is open and its frames leave at once;
what belongs to those behind it is kept. The open block is stopped as soon as another one waits
behind it and it cannot grow any more:

    block       belongs to it            cannot grow when
    text        TextDelta                anything else has begun
    thinking    ReasoningDelta           its signature came, or anything else has begun
    redacted    ReasoningDelta, one      always
    tool_use    ToolCallDelta, by index  its arguments are a whole JSON object
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairlead.dialects.anthropic_messages_blocks import (
    Block,
    BlockKind,
    Blocks,
    Piece,
    text_and_signature,
)
from fairlead.dialects.anthropic_messages_said import seen_in
from fairlead.dialects.anthropic_messages_wire import UNSIGNED, error_type, wire_usage
from fairlead.dialects.dialect import Encoder, Reply
from fairlead.dialects.wire import for_programs, gone_on_with
from fairlead.types.chat import (
    Begin,
    End,
    Event,
    Passed,
    Request,
    Resumed,
    TextDelta,
    Usage,
)
from fairlead.types.errors import GatewayError

_ENCODER = msgspec.json.Encoder()
_encode = _ENCODER.encode


def encoder(request: Request, reply: Reply) -> Encoder:
    if request.operation == "count":
        return _Count(reply)
    return _Stream(reply) if request.stream else _Whole(reply)


def error_body(error: GatewayError, request_id: str, in_stream: bool = False) -> bytes:
    """``{"type": "error", ...}``, in a response's body and in a stream."""
    told = {
        "type": error_type(error.status),
        "message": error.message,
        # Where the vendor's SDKs look for a code.
        "details": {"error_code": error.code},
        **for_programs(error, in_stream),
    }
    return _encode({"type": "error", "error": told, "request_id": request_id})


def _frame(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode({"type": name, **data}))


def _error(reply: Reply, error: GatewayError) -> bytes:
    return b"event: error\ndata: " + error_body(error, reply.id, in_stream=True) + b"\n\n"


def _message(
    reply: Reply, content: list[dict[str, Any]], stop: Mapping[str, Any], usage: Usage | None
) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        **stop,
        "usage": wire_usage(usage),
    }


DELTAS: Mapping[BlockKind, bytes] = {
    "text": b'{"type":"text_delta","text":',
    "thinking": b'{"type":"thinking_delta","thinking":',
    "tool_use": b'{"type":"input_json_delta","partial_json":',
}
SIGNATURE = b'{"type":"signature_delta","signature":'


class _Stream:
    """Deltas of a block differ in what they say alone: the bytes around it are made once."""

    _by: tuple[str, ...] = ()
    """Who went on with the answer."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._blocks = Blocks()
        self._usage: Usage | None = None
        """What was said at the beginning; the last word comes with End."""
        self._at = -1
        """Which block of the row is open."""
        self._before = b""
        """What precedes a delta of the open block."""
        self._text_before = b""
        """The same for its text, while a text is open."""

    def encode(self, event: Event) -> bytes:
        if isinstance(event, TextDelta) and self._text_before:
            return self._text_before + _encode(event.text) + b"}}\n\n" if event.text else b""
        if isinstance(event, Passed):
            return event.data
        if isinstance(event, Begin):
            # Nothing is sent yet: an attempt that begins may still fail, and another take over.
            self._usage = event.usage
            return b""
        if isinstance(event, Resumed):
            return self._resume(event)
        return self._end(event) if isinstance(event, End) else self._piece(event)

    def error(self, error: GatewayError) -> bytes:
        return _error(self._reply, error)

    def _piece(self, piece: Piece) -> bytes:
        block = self._blocks.take(piece)
        if block is None:
            return b""
        said = b""
        if self._at >= 0 and block is self._blocks.row[self._at]:
            said = self._deltas(block, *text_and_signature(piece))
        return said + self._advance()

    def _resume(self, resumed: Resumed) -> bytes:
        """Go on behind the blocks that were passed on: the last of them may be open."""
        self._by += (resumed.by,)
        seen = seen_in(resumed.passed)
        for is_open in seen.open if seen else ():
            block = Block("text")
            block.stopped = not is_open
            self._blocks.row.append(block)
            self._go_to(block)
        return b""

    def _advance(self) -> bytes:
        """Go on to the next block while the open one is done."""
        row, frames = self._blocks.row, []
        while self._at + 1 < len(row) and (self._at < 0 or row[self._at].is_done()):
            frames.append(self._next())
        return b"".join(frames)

    def _next(self) -> bytes:
        """Stop the open block, start the one behind it, and say what waited for it."""
        stopped = self._stop() if self._at >= 0 else self._begin()
        block = self._blocks.row[self._at + 1]
        self._go_to(block)
        start = {"index": self._at, "content_block": block.start()}
        waited = self._deltas(block, block.text(), block.signature)
        return stopped + _frame("content_block_start", start) + waited

    def _go_to(self, block: Block) -> None:
        self._at += 1
        self._before = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":'
        self._before += b'%d,"delta":' % self._at
        is_text = block.kind == "text" and not block.stopped
        self._text_before = self._before + DELTAS["text"] if is_text else b""

    def _stop(self) -> bytes:
        block = self._blocks.row[self._at]
        if block.stopped:
            return b""
        block.stopped = True
        unsigned = block.kind == "thinking" and not block.signature
        mark = self._deltas(block, "", UNSIGNED) if unsigned else b""
        return mark + _frame("content_block_stop", {"index": self._at})

    def _deltas(self, block: Block, text: str, signature: str) -> bytes:
        said = b""
        if text:
            said = self._before + DELTAS[block.kind] + _encode(text) + b"}}\n\n"
        if signature and block.kind == "thinking":
            said += self._before + SIGNATURE + _encode(signature) + b"}}\n\n"
        return said

    def _begin(self) -> bytes:
        stop = {"stop_reason": None, "stop_sequence": None}
        message = _message(self._reply, [], stop, self._usage)
        return _frame("message_start", {"message": message})

    def _end(self, end: End) -> bytes:
        if end.data:
            return end.data
        blocks = self._blocks
        blocks.check(end.reason, sent=self._at + 1)
        frames = [self._next() for _ in blocks.row[self._at + 1 :]]
        frames.append(self._stop() if blocks.row else self._begin())
        usage = wire_usage(end.usage or self._usage)
        last = {"delta": blocks.stop(end), "usage": usage}
        if self._by:
            last["fairlead"] = gone_on_with(self._by)
        frames.append(_frame("message_delta", last))
        return b"".join(frames) + _frame("message_stop", {})


class _Whole:
    """Collects a whole answer."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._blocks = Blocks()
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        if isinstance(event, Passed):
            return event.data
        if isinstance(event, End):
            return event.data or self._end(event)
        if isinstance(event, Begin):
            self._usage = event.usage
        elif not isinstance(event, Resumed):
            self._blocks.take(event)
        return b""

    def error(self, error: GatewayError) -> bytes:
        return _error(self._reply, error)

    def _end(self, end: End) -> bytes:
        blocks = self._blocks
        blocks.check(end.reason)
        content = [block.content() for block in blocks.row]
        usage = end.usage or self._usage
        return _encode(_message(self._reply, content, blocks.stop(end), usage))


class _Count:
    """The answer to ``count_tokens``: one number."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def encode(self, event: Event) -> bytes:
        if not isinstance(event, End):
            return b""
        return event.data or _encode({"input_tokens": (event.usage or Usage()).input_tokens})

    def error(self, error: GatewayError) -> bytes:
        return _error(self._reply, error)
