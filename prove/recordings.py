"""Streams as vendors send them, and what a caller gets of one however its bytes are cut."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Reply
from fairlead.types.chat import Request
from prove.vendors import VENDORS, unescaped
from servers import canned

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
CALLERS = ("openai_chat", "anthropic_messages")
REPLY = Reply("r1", 1_790_000_000, "a-model")
ASKED = {"model": "a", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20_000}


@dataclass(frozen=True)
class Recording:
    name: str
    dialect: str
    wire: bytes
    """The events, one after the other."""


def recordings() -> list[Recording]:
    found = [
        Recording(f"{path.parent.name} of {dialect}", dialect, path.read_bytes())
        for dialect in CALLERS
        for path in sorted((GOLDEN / dialect).glob("stream_*/wire.sse"))
    ]
    for vendor, cases in zip(VENDORS.values(), (canned.OPENAI, canned.ANTHROPIC), strict=True):
        wires = {name: unescaped(case).frames for name, case in cases.items()}
        wires["long text"] = vendor.text.frames
        for name, frames in wires.items():
            found.append(Recording(f"{name} of {vendor.dialect}", vendor.dialect, b"".join(frames)))
    return found


def asked(caller: str) -> Request:
    schema = {"type": "object", "properties": {}}
    names = [name for _, name, _ in canned.CALLS]
    if caller == "openai_chat":
        tools = [{"type": "function", "function": {"name": n, "parameters": schema}} for n in names]
    else:
        tools = [{"name": name, "input_schema": schema} for name in names]
    body = {**ASKED, "stream": True, "tools": tools}
    return DIALECTS[caller].parse_request(json.dumps(body).encode(), {})


def told(recording: Recording, caller: str, request: Request, pieces: Iterable[bytes]) -> bytes:
    """The caller's bytes for the endpoint's, which come in ``pieces``."""
    decoder = DIALECTS[recording.dialect].decoder(request, recording.dialect == caller)
    encode = DIALECTS[caller].encoder(request, REPLY).encode
    said = [encode(event) for piece in pieces for event in decoder.feed(piece)]
    return b"".join([*said, *map(encode, decoder.close())])


def cut(data: bytes, *places: int) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
