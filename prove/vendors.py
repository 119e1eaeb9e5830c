"""What the wall's upstreams say in each vendor's dialect: the right answer, and errors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servers.canned import (
    CALLS,
    EMBEDDINGS,
    Canned,
    anthropic_frames,
    anthropic_text,
    anthropic_tools,
    openai_frames,
    openai_text,
    openai_tools,
)
from servers.scripted import Step, reply, stream

TEXT = (
    "Grüße from the harbour: the line runs clear. ⚓ 東京 waits, a naïve café 🚢 and all. "
    "Nine knots, wind from the north; «Wir legen um sechs Uhr ab», says the mate. Ünique end ✓"
)
"""Characters of two, three and four bytes lie all over it, so that cuts fall inside some."""
OTHER_PIECES = [TEXT[at : at + 11] for at in range(0, len(TEXT), 11)]
HELD = TEXT[:21]
"""What a filtered answer says before it breaks off."""
TOOL_CALLS = tuple((name, arguments) for _, name, arguments in CALLS)


@dataclass(frozen=True)
class Vendor:
    """A dialect as an upstream speaks it."""

    name: str
    dialect: str
    text: Canned
    otherwise: Canned
    """The same text in other pieces, as another endpoint would say it."""
    tools: Canned
    filtered: Canned
    """Broken off by the vendor's own filter, and it says so."""
    pings: tuple[bytes, ...]
    """Signs of a living connection that say nothing."""
    opening: int
    """Frames before the first content."""
    closing: int
    """Frames after the last content."""
    account: str = ""
    """Whose account it is asked with, where that is another's."""

    @property
    def provider(self) -> str:
        return self.account or self.name

    def error(self, message: str, type: str, code: str | None = None) -> dict[str, Any]:
        if self.dialect == "anthropic_messages":
            return {"type": "error", "error": {"type": type, "message": message}}
        return {"error": {"message": message, "type": type, "param": None, "code": code}}

    def error_frame(self, message: str, type: str, code: str | None = None) -> bytes:
        data = json.dumps(self.error(message, type, code)).encode()
        return self.framed(b"error", data)

    def framed(self, event: bytes, data: bytes) -> bytes:
        name = b"event: %b\n" % event if self.dialect == "anthropic_messages" else b""
        return name + b"data: " + data + b"\n\n"

    def answer(self, streamed: bool, headers: Mapping[str, str] | None = None) -> tuple[Step, ...]:
        """The right one."""
        if streamed:
            return stream(*self.text.frames, headers=headers)
        return reply(whole(self.text), headers=headers)


def whole(canned: Canned) -> bytes:
    return json.dumps(canned.whole, ensure_ascii=False).encode()


def unescaped(canned: Canned) -> Canned:
    """With its characters as UTF-8, as vendors send them, where ``json.dumps`` has escapes."""
    return Canned(canned.whole, tuple(_frame(frame) for frame in canned.frames))


def _frame(frame: bytes) -> bytes:
    before, mark, data = frame.partition(b"data: ")
    if data.startswith(b"[DONE]"):
        return frame
    text = json.dumps(json.loads(data), ensure_ascii=False)
    return before + mark + text.encode() + b"\n\n"


OPENAI = Vendor(
    "openai",
    "openai_chat",
    text=unescaped(openai_text(TEXT)),
    otherwise=unescaped(
        Canned(
            openai_text(TEXT).whole, openai_frames([{"content": piece} for piece in OTHER_PIECES])
        )
    ),
    tools=unescaped(openai_tools()),
    filtered=unescaped(openai_text(HELD, "content_filter")),
    pings=(b": keep-alive\n\n",),
    opening=1,
    closing=3,
)
ANTHROPIC = Vendor(
    "anthropic",
    "anthropic_messages",
    text=unescaped(anthropic_text(TEXT)),
    otherwise=unescaped(
        Canned(
            anthropic_text(TEXT).whole,
            anthropic_frames(
                [
                    (
                        {"type": "text", "text": ""},
                        [{"type": "text_delta", "text": piece} for piece in OTHER_PIECES],
                    )
                ]
            ),
        )
    ),
    tools=unescaped(anthropic_tools()),
    filtered=unescaped(anthropic_text(HELD, "refusal")),
    pings=(b'event: ping\ndata: {"type": "ping"}\n\n',),
    opening=3,
    closing=3,
)
EMBEDDED = Canned(EMBEDDINGS, ())
EMBEDDER = Vendor(
    "embeddings",
    "openai_chat",
    *(EMBEDDED, EMBEDDED, EMBEDDED, EMBEDDED),
    pings=(),
    opening=0,
    closing=0,
    account="openai",
)
"""Vectors for texts, always in one piece."""
VECTORS = json.dumps([each["embedding"] for each in json.loads(whole(EMBEDDED))["data"]])
"""What its callers read."""
VENDORS = {vendor.name: vendor for vendor in (OPENAI, ANTHROPIC)}
