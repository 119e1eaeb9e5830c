"""Read a request's body within its size and its time."""

import asyncio

from aiohttp import web

from fairlead.server.limits import Limits
from fairlead.types.errors import BadRequest, RequestTimeout, TooLarge


async def read_body(request: web.BaseRequest, limits: Limits) -> bytes:
    """The body, within its size and its time. Raises TooLarge, RequestTimeout, BadRequest."""
    if (request.content_length or 0) > limits.max_body_bytes:
        raise _too_large(limits)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise BadRequest("compressed request bodies are not accepted", param="content-encoding")
    if request.headers.get("expect", "").lower() == "100-continue" and request.can_read_body:
        # Clients with a large body wait for this before they send it (RFC 9110 section 10.1.1).
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    try:
        if request.content.is_eof():
            # It is here already, as nearly all are: two coroutines fewer.
            body = request.content.read_nowait()
            if len(body) > limits.max_body_bytes:
                raise _too_large(limits)
            return body
        async with asyncio.timeout(limits.body_timeout_s):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(limits) from None
    except web.RequestPayloadError:
        raise BadRequest("the body ended before it was complete") from None
    except TimeoutError:
        message = f"the body did not arrive within {limits.body_timeout_s:g} s"
        raise RequestTimeout(message) from None


def _too_large(limits: Limits) -> TooLarge:
    return TooLarge(f"the body is larger than {limits.max_body_bytes:,} bytes")
