"""How an upstream answers oddly, and rightly: none of it may make a difference to the caller."""

import json
from typing import Any

from prove.faulty import Play, bytes_of, chunked_head
from prove.vendors import Vendor, whole
from servers.scripted import JSON, SSE, Answer, End, chunk, head, reply, split, stream


def in_bytes(vendor: Vendor, streamed: bool) -> Answer:
    """Each byte on its own: every character of more than one byte arrives in pieces."""
    if streamed:
        return stream(*split(b"".join(vendor.text.frames)))
    return (chunked_head(JSON), *(chunk(byte) for byte in split(whole(vendor.text))), b"0\r\n\r\n")


def at_once(vendor: Vendor, streamed: bool) -> Answer:
    return (bytes_of(vendor.answer(streamed)),)


def with_carriage_returns(vendor: Vendor, streamed: bool) -> Answer:
    return stream(*(frame.replace(b"\n", b"\r\n") for frame in vendor.text.frames))


def with_hints(vendor: Vendor, streamed: bool) -> Answer:
    """Interim responses before the real one (RFC 9110, 15.2)."""
    hints = b"HTTP/1.1 100 Continue\r\n\r\n" + head(103, {"link": "</a>; rel=preload"})
    return (hints, *vendor.answer(streamed))


def with_another_answer(vendor: Vendor, streamed: bool) -> Answer:
    """A second answer behind the first, that nobody asked for: whoever comes next must not get
    it."""
    other = reply(whole(vendor.text).replace(b"harbour", b"mistake"))
    return (bytes_of((*vendor.answer(streamed), *other)),)


def closing_after(vendor: Vendor, streamed: bool) -> Answer:
    """The answer, and then the connection is closed without a word, as idle ones are."""
    return (*vendor.answer(streamed), End.CLOSE)


def as_http_1_0(vendor: Vendor, streamed: bool) -> Answer:
    """Ends when the connection does."""
    body = b"".join(vendor.text.frames) if streamed else whole(vendor.text)
    kind = SSE if streamed else JSON
    return (b"HTTP/1.0 200 OK\r\ncontent-type: %b\r\n\r\n" % kind.encode(), body, End.CLOSE)


def with_noise_after(vendor: Vendor, streamed: bool) -> Answer:
    """More text after the terminal."""
    return stream(*vendor.text.frames, *vendor.text.frames[vendor.opening : vendor.opening + 3])


def with_usage(openai: object, anthropic: object) -> Play:
    """The right answer with another usage; None leaves it out."""

    def play(vendor: Vendor, streamed: bool) -> Answer:
        usage = openai if vendor.dialect == "openai_chat" else anthropic
        if streamed:
            return stream(*(_used(frame, usage) for frame in vendor.text.frames))
        return reply(json.dumps(_replaced(dict(vendor.text.whole), usage)).encode())

    return play


def _used(frame: bytes, usage: object) -> bytes:
    before, mark, data = frame.partition(b"data: ")
    if not data.startswith(b"{"):
        return frame
    value = json.loads(data)
    if "message" in value:
        value["message"] = _replaced(value["message"], usage)
    return before + mark + json.dumps(_replaced(value, usage)).encode() + b"\n\n"


def _replaced(value: dict[str, Any], usage: object) -> dict[str, Any]:
    if not value.get("usage"):
        return value
    return {**value, "usage": usage} if usage is not None else {**value, "usage": None}
