"""aiohttp's server, with its own error pages replaced by ours."""

from http import HTTPStatus
from logging import getLogger
from time import time

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from fairlead.server.ids import new_id
from fairlead.server.paths import dialect_of
from fairlead.server.respond import failure
from fairlead.types.errors import BadRequest, GatewayError, HeadersTooLarge, OurError

log = getLogger("fairlead")


class Protocol(RequestHandler):
    """One connection. Answers what never became a request, and what broke in us."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        request_id = new_id(time())
        error: GatewayError
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            # The parser's message can hold what the caller sent, so it is not repeated.
            long = type(exc).__name__ in ("LineTooLong", "HttpProcessingError")
            error = HeadersTooLarge("headers too large") if long else BadRequest("not valid HTTP")
        else:
            # The traceback goes to the log; the caller gets the id to ask about.
            log.error("request %s failed in the gateway", request_id, exc_info=exc)
            error = OurError("an error in the gateway; the log has the details under this id")
        if request.writer.output_size > 0:
            raise ConnectionError("part of the answer is sent; no error page can follow")
        dialect = dialect_of(request.rel_url.raw_path, request.headers)
        response = failure(dialect, error, request_id)
        response.force_close()
        return response


class Server(web.Server):
    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)
