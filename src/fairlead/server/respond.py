"""Values to HTTP responses: status, headers and body in the caller's dialect."""

import math
from collections.abc import Mapping

from aiohttp import web

from fairlead.dialects import DIALECTS
from fairlead.types.errors import GatewayError

JSON = "application/json"
EVENTS = "text/event-stream"
SERVER = {"server": "fairlead"}
"""Else aiohttp tells everybody its own version and Python's."""

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


def whole(body: bytes, headers: Mapping[str, str], content_type: str = JSON) -> web.Response:
    return web.Response(body=body, headers={**SERVER, "content-type": content_type, **headers})


def failure(dialect: str, error: GatewayError, request_id: str) -> web.Response:
    """The error in the caller's dialect, and whether its SDK should try again."""
    headers = {**SERVER, **identity(dialect, request_id), "content-type": JSON}
    # Both vendors' SDKs obey this over their own list of retryable statuses; we have retried.
    headers["x-should-retry"] = "true" if error.retryable else "false"
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.attempts:
        headers["x-fairlead-attempts"] = str(len(error.attempts))
    body = DIALECTS[dialect].render_error(error, request_id)
    return web.Response(status=error.status, body=body, headers=headers)


def on_the_wire(response: web.Response, connection: str = "close") -> bytes:
    """For who has sent no request that was parsed."""
    assert isinstance(response.body, bytes)
    fields = {**response.headers, "content-length": len(response.body), "connection": connection}
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name.lower()}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + response.body
