"""Values to HTTP responses: status, headers and body in the caller's dialect."""

import math
from collections.abc import Mapping
from typing import cast

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import StreamWriter

from fairlead.dialects import DIALECTS
from fairlead.state.memory import Share
from fairlead.types.errors import GatewayError

JSON = "application/json"
EVENTS = "text/event-stream"
SERVER = {"server": "fairlead"}
"""Else aiohttp tells everybody its own version and Python's."""

SHARE = web.ResponseKey("share", Share)
REQUEST_ID_HEADER = {
    "anthropic_messages": "request-id",
    "anthropic_count_tokens": "request-id",
}
"""Each SDK reads the id from its vendor's header; all others use OpenAI's ``x-request-id``."""


def identity(dialect: str, request_id: str) -> dict[str, str]:
    return {
        "x-fairlead-request-id": request_id,
        REQUEST_ID_HEADER.get(dialect, "x-request-id"): request_id,
    }


class AtOnce(web.StreamResponse):
    """An answer with status 200 that is all there, to a request in HTTP/1.1: head and body in one
    write. aiohttp's own response takes four times as long for it, a thirtieth of a request."""

    def __init__(self, body: bytes, headers: Mapping[str, str], share: Share | None = None) -> None:
        super().__init__()
        self._whole = body
        self._fields = headers
        self._share = share

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self.prepared:
            return self._payload_writer
        self._payload_writer = writer = request.writer
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        if self._share is None:
            await writer.write(self.head(self._keep_alive) + self._whole)
        else:
            await self._write_long(cast(StreamWriter, writer))
        return writer

    async def _write_long(self, writer: StreamWriter) -> None:
        """What waits for a slow reader waits once, in the transport: the connection knows this
        response until its next request."""
        await writer.write(self.head(self._keep_alive is True) + self._whole, drain=False)
        self._whole = b""
        await writer.drain()
        self._share = None

    def head(self, keep_alive: bool) -> bytes:
        """Raises ValueError."""
        fields = {
            **self._fields,
            "content-length": str(len(self._whole)),
            "date": rfc822_formatted_time(),
        }
        if not keep_alive:
            fields["connection"] = "close"
        return _head("200 OK", fields)

    async def write_eof(self, data: bytes = b"") -> None:
        self._eof_sent = True


def answered(
    request: web.BaseRequest,
    body: bytes,
    headers: Mapping[str, str],
    share: Share | None = None,
) -> web.StreamResponse:
    """An answer in one piece, in the caller's version of HTTP. ``share`` is kept until it has been
    written."""
    if request.version == HttpVersion11:
        return AtOnce(body, {**SERVER, "content-type": JSON, **headers}, share)
    response = whole(body, headers)
    if share is not None:
        response[SHARE] = share
    return response


def whole(body: bytes, headers: Mapping[str, str], content_type: str = JSON) -> web.Response:
    return web.Response(body=body, headers={**SERVER, "content-type": content_type, **headers})


def failure(dialect: str, error: GatewayError, request_id: str) -> web.Response:
    """The error in the caller's dialect, and whether its SDK should try again."""
    headers = {**SERVER, **identity(dialect, request_id), "content-type": JSON}
    # Both vendors' SDKs obey this over their own list of retryable statuses; we have retried.
    headers["x-should-retry"] = "true" if error.retryable else "false"
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
    if error.attempts:
        headers["x-fairlead-attempts"] = str(len(error.attempts))
    body = DIALECTS[dialect].render_error(error, request_id)
    return web.Response(status=error.status, body=body, headers=headers)


def on_the_wire(response: web.Response, connection: str = "close") -> bytes:
    """For who has sent no request that was parsed."""
    assert isinstance(response.body, bytes)
    fields = {name.lower(): value for name, value in response.headers.items()}
    fields |= {"content-length": str(len(response.body)), "connection": connection}
    return _head(f"{response.status} {response.reason}", fields) + response.body


def _head(status: str, fields: Mapping[str, str]) -> bytes:
    """Raises ValueError."""
    lines = [f"HTTP/1.1 {status}", *[f"{name}: {value}" for name, value in fields.items()]]
    head = "\r\n".join(lines)
    if head.count("\n") + head.count("\r") != 2 * len(lines) - 2:
        raise ValueError("a header holds a line break")
    return f"{head}\r\n\r\n".encode()
