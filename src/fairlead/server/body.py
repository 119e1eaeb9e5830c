"""Read a request's body within its size and its time."""

import asyncio

from aiohttp import web

from fairlead.server.limits import Limits
from fairlead.state.memory import Memory, Share
from fairlead.types.errors import NotHttp, RequestTimeout, TooLarge, UnsupportedEncoding

SMALL_BYTES = 64 << 10
"""What is no longer takes none of the memory for bodies: all that may be served at once are 128 MiB
together, and most requests are this small."""
COUNTED_BYTES = 1 << 20
"""Less cannot hold so much that it would matter. A longer one is counted in slices of this size,
and others are served between two of them."""
MAX_STRINGS = 200_000
"""A message has four or five."""
MAX_VALUES = 500_000
"""In lists and objects; an empty one counts twice. Token ids of a whole batch of embeddings are
300,000: platform.openai.com/docs/api-reference/embeddings/create"""


async def read_body(
    request: web.BaseRequest, limits: Limits, memory: Memory
) -> tuple[bytes, Share | None]:
    """The body, within its size and its time, and what it takes of the memory for all of them.
    Raises TooLarge, RequestTimeout, NotHttp, UnsupportedEncoding and Overloaded."""
    length = request.content_length
    if length is None:
        _check_coding(request.headers.get("transfer-encoding"))
    elif length > limits.max_body_bytes:
        raise _too_large(limits)
    if request.headers.get("content-encoding", "identity") != "identity":
        message = "compressed request bodies are not accepted; send it as it is"
        raise UnsupportedEncoding(message, param="content-encoding")
    if request.headers.get("expect", "").lower() == "100-continue" and request.can_read_body:
        await _go_on(request, memory)
    try:
        if request.content.is_eof():
            # It is here already, as nearly all are: two coroutines fewer.
            body = request.content.read_nowait()
            if len(body) > limits.max_body_bytes:
                raise _too_large(limits)
            if len(body) <= SMALL_BYTES:
                return body, None
            share = Share(memory)
            share.take(len(body))
            return body, share
        body, taken = await _gathered(request, limits, memory)
        if len(body) > COUNTED_BYTES:
            await count(body)
        return body, taken
    except web.RequestPayloadError:
        raise NotHttp("the body ended before it was complete, or is not valid HTTP") from None


async def _go_on(request: web.BaseRequest, memory: Memory) -> None:
    """Clients with a large body wait to be told so before they send it (RFC 9110 section 10.1.1).
    Raises Overloaded."""
    length = request.content_length
    if length is not None and length > SMALL_BYTES and not memory.has_room(length):
        raise memory.overloaded()
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0


async def _gathered(
    request: web.BaseRequest, limits: Limits, memory: Memory
) -> tuple[bytes, Share | None]:
    """As it comes, for as long as it comes. Who dribbles holds a place that others want. Only what
    has come takes memory: what a head promises is nothing yet."""
    loop = asyncio.get_running_loop()
    began_s, size = loop.time(), 0
    pieces: list[bytes] = []
    share: Share | None = None
    try:
        while True:
            slowest_s = began_s + limits.body_grace_s + size / limits.min_bytes_per_s
            try:
                async with asyncio.timeout_at(min(loop.time() + limits.body_idle_s, slowest_s)):
                    piece = await request.content.readany()
            except TimeoutError:
                waited_s = loop.time() - began_s
                message = f"{size:,} bytes of the body came within {waited_s:.1f} s, too slow"
                raise RequestTimeout(message) from None
            if not piece:
                broken = request.content.exception()
                if broken is not None:  # which is not raised if it came with the last piece
                    raise broken
                return b"".join(pieces), share
            size += len(piece)
            if size > limits.max_body_bytes:
                raise _too_large(limits)
            if share is not None:
                share.take(len(piece))
            elif size > SMALL_BYTES:
                share = Share(memory)
                share.take(size)
            pieces.append(piece)
    except BaseException:
        # The error would keep both.
        pieces.clear()
        if share is not None:
            share.give_back()
        raise


async def count(body: bytes, slice_bytes: int = COUNTED_BYTES) -> tuple[int, int]:
    """How many strings and values a body has. Raises TooLarge.

    Text is quick to read, however long it is and whatever it holds, code or JSON. A million
    messages of one word take seconds, in which nobody else is served; no model takes them.
    """
    quotes = values = start = 0
    while start < len(body):
        end = start + slice_bytes
        piece = body[start:end]
        if piece.endswith(b"\\") and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            end += 1
            piece = body[start:end]  # what is escaped belongs to it
        start = end
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        in_text = quotes % 2
        quotes += piece.count(b'"')
        if quotes > 2 * MAX_STRINGS:
            raise TooLarge(f"the body has more than {MAX_STRINGS:,} strings")
        outside = b"".join(piece.split(b'"')[in_text::2])
        values += outside.count(b",") + outside.count(b"[") + outside.count(b"{")
        if values > MAX_VALUES:
            raise TooLarge(f"the body has more than {MAX_VALUES:,} values in lists and objects")
        await asyncio.sleep(0)
    return quotes // 2, values


def _check_coding(coding: str | None) -> None:
    """Chunks of something else, such as ``gzip, chunked``, would be taken for the body itself."""
    if coding is not None and coding.lower() != "chunked":
        raise NotHttp("the only transfer-encoding is chunked", param="transfer-encoding")


def _too_large(limits: Limits) -> TooLarge:
    return TooLarge(f"the body is larger than {limits.max_body_bytes:,} bytes")
