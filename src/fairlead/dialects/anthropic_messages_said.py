"""An Anthropic stream that was passed on and broke: what its caller has seen of it. Read only then,
so every frame may be looked at."""

from typing import Any

import msgspec
from msgspec import Struct

from fairlead.dialects.dialect import Said
from fairlead.dialects.sse import Frames
from fairlead.dialects.wire import UNDECODABLE
from fairlead.types.errors import UpstreamError

_ANY = msgspec.json.Decoder(dict[str, Any])


def said(passed: bytes) -> Said:
    """Plain is text blocks alone."""
    seen = seen_in(passed)
    return Said(plain=False) if seen is None else Said("".join(seen.texts))


class Seen(Struct):
    """How far a message of text blocks alone has come."""

    texts: list[str] = []
    open: list[bool] = []
    """A member a block: whether it was not stopped yet."""


def seen_in(passed: bytes) -> Seen | None:
    """None where anything else was passed on, or what is not understood."""
    seen, frames = Seen(), Frames()
    try:
        plain = all(
            _take(seen, _ANY.decode(frame.data))
            for frame in (*frames.feed(passed), *frames.close())
            if frame.data
        )
    except (*UNDECODABLE, UpstreamError, AttributeError):  # a member that should be an object
        return None
    return seen if plain else None


def _take(seen: Seen, frame: dict[str, Any]) -> bool:
    """Note one frame; return whether it is one of a plain text."""
    kind, index = frame.get("type"), frame.get("index")
    if kind == "message_start":
        return not (seen.open or frame["message"].get("content")) if "message" in frame else False
    if kind == "message_delta":
        return not any(seen.open)
    if kind == "content_block_start":
        if index != len(seen.open) or any(seen.open):
            return False
        seen.open.append(True)
        return _text(seen, frame.get("content_block", {}), "text")
    if kind == "ping":
        return True
    if index != len(seen.open) - 1 or not seen.open or not seen.open[-1]:
        return False
    if kind == "content_block_delta":
        return _text(seen, frame.get("delta", {}), "text_delta")
    seen.open[-1] = False
    return kind == "content_block_stop"


def _text(seen: Seen, piece: dict[str, Any], kind: str) -> bool:
    """A text and nothing more, such as a citation."""
    text = piece.pop("text", "")
    if piece.pop("type", "") != kind or any(piece.values()) or not isinstance(text, str):
        return False
    seen.texts.append(text)
    return True
