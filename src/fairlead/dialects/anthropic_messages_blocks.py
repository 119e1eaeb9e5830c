"""An Anthropic answer's content blocks: to which of them a piece belongs, and whether it is whole.
Knows no frames."""

from typing import Any, Literal

import msgspec
from msgspec import Raw

from fairlead.dialects.anthropic_messages_wire import STOP_REASON, UNSIGNED
from fairlead.dialects.wire import UNDECODABLE
from fairlead.types.chat import (
    End,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from fairlead.types.errors import Failure, UpstreamError

_OBJECT = msgspec.json.Decoder(dict[str, Raw])

CUT_SHORT: frozenset[FinishReason] = frozenset({"length", "content_filter", "refusal", "pause"})
"""Reasons after which a tool call may be unfinished without anything being broken."""

Piece = TextDelta | ReasoningDelta | ToolCallDelta
BlockKind = Literal["text", "thinking", "redacted_thinking", "tool_use"]


class Block:
    """One block, as far as it is known."""

    __slots__ = ("call", "kind", "pieces", "signature", "stopped")

    def __init__(self, kind: BlockKind, call: ToolCallDelta | None = None) -> None:
        self.kind = kind
        self.call = call
        """The first piece of a tool call: the one with its id and name."""
        self.pieces: list[str] = []
        self.signature = ""
        """Of thinking; of redacted thinking, its data."""
        self.stopped = False

    def text(self) -> str:
        return "".join(self.pieces)

    def is_done(self) -> bool:
        """Whether it cannot grow, given that another block waits behind it."""
        return self.call is None or _is_object(self.text())

    def is_whole(self) -> bool:
        """At the end of the answer: a call without arguments is one, too."""
        return self.is_done() or not self.text()

    def content(self) -> dict[str, Any]:
        """The block as it stands in a message."""
        if self.kind == "text":
            return {"type": "text", "text": self.text()}
        if self.kind == "thinking":
            signature = self.signature or UNSIGNED
            return {"type": "thinking", "thinking": self.text(), "signature": signature}
        if self.call is None:
            return {"type": "redacted_thinking", "data": self.signature}
        return _tool_use(self.call, Raw(self.text().encode() or b"{}"))

    def start(self) -> dict[str, Any]:
        """The block as its stream begins: empty, but for what has no deltas."""
        if self.call is not None:
            return _tool_use(self.call, Raw(b"{}"))
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        return {"type": "text", "text": ""} if self.kind == "text" else self.content()


def _tool_use(call: ToolCallDelta, arguments: Raw) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _is_object(text: str) -> bool:
    # Most pieces of a call end inside it, which the last letter tells.
    if not text.rstrip().endswith("}"):
        return False
    try:
        _OBJECT.decode(text)
    except UNDECODABLE:
        return False
    return True


class Blocks:
    """Sorts an answer's pieces into its blocks."""

    def __init__(self) -> None:
        self.row: list[Block] = []
        self.calls: dict[int, Block] = {}

    def take(self, piece: Piece) -> Block | None:
        """Add the piece to its block: a call begun before, the last block, or a new one.

        Returns None for a piece that says nothing."""
        text, signature = text_and_signature(piece)
        if isinstance(piece, ToolCallDelta):
            block = self.calls.get(piece.index)
            if block is None:
                block = self.calls[piece.index] = self._new("tool_use", piece)
        elif not (text or signature):
            return None
        else:
            kind = _kind(piece)
            block = self.row[-1] if self.row else self._new(kind)
            if block.kind != kind or block.signature or block.stopped:
                block = self._new(kind)
        if block.stopped and text.strip():
            raise _broken("The endpoint went on with a tool call that was complete.")
        block.pieces.append(text)
        block.signature = signature
        return block

    def check(self, reason: FinishReason, sent: int = 0) -> None:
        """No half of a call is presented as whole. An answer that was cut short may have one: of
        the blocks after the first ``sent`` it is left out.

        Raises UpstreamError (STREAM_BROKEN) for a call that is no whole JSON object."""
        if reason in CUT_SHORT:
            self.row[sent:] = [block for block in self.row[sent:] if block.is_whole()]
        elif not all(block.is_whole() for block in self.calls.values()):
            raise _broken("The endpoint's answer ended inside a tool call.")

    def stop(self, end: End) -> dict[str, Any]:
        """Why the answer ended. Some servers say ``stop`` though they call a tool."""
        reason = "tool_calls" if self.calls and end.reason == "stop" else end.reason
        return {"stop_reason": STOP_REASON[reason], "stop_sequence": end.stop_sequence}

    def _new(self, kind: BlockKind, call: ToolCallDelta | None = None) -> Block:
        block = Block(kind, call)
        self.row.append(block)
        return block


def text_and_signature(piece: Piece) -> tuple[str, str]:
    """Its text and its signature."""
    if isinstance(piece, ToolCallDelta):
        return piece.arguments, ""
    return piece.text, piece.signature if isinstance(piece, ReasoningDelta) else ""


def _kind(piece: TextDelta | ReasoningDelta) -> BlockKind:
    if isinstance(piece, TextDelta):
        return "text"
    return "redacted_thinking" if piece.redacted else "thinking"


def _broken(message: str) -> UpstreamError:
    return UpstreamError(Failure.STREAM_BROKEN, message, upstream_status=200)
