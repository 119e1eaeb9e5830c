"""One connection: aiohttp's server with our patience, our limits and our error pages."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from logging import getLogger
from socket import SO_LINGER, SO_SNDBUF, SOL_SOCKET
from struct import pack
from time import time
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from fairlead.server.ids import new_id
from fairlead.server.limits import Limits
from fairlead.server.load import Load
from fairlead.server.paths import dialect_of
from fairlead.server.respond import failure, on_the_wire
from fairlead.server.shed import RETRY_AFTER_S, answer_unparsed
from fairlead.types.errors import (
    GatewayError,
    HeadersTooLarge,
    NotHttp,
    OurError,
    Overloaded,
    RequestTimeout,
)

log = getLogger("fairlead")

UNSENT_BYTES = 256 << 10
"""For a slow reader, in the kernel, which takes twice as much; by itself it would take megabytes.
Enough for 2 MB/s at a fifth of a second."""
AT_ONCE = pack("ii", 1, 0)
"""No time for the kernel to deliver the rest (socket(7), SO_LINGER)."""
TURNED_AWAY = 64
"""So many connections beyond the limit are told why at once; others are only closed."""
NEVER = float("inf")
NO_HEAD = -1
TOO_MANY = "Too many headers received"
"""What aiohttp's parser says; it has no class for it."""


class Protocol(RequestHandler):
    """Answers what never became a request, and what broke in us. Gives up on a head that does not
    come and on a reader that does not read; while a request is served, nothing of this runs."""

    __slots__ = (
        "_answered",
        "_gone_due_s",
        "_head_bytes",
        "_head_due_s",
        "_heads",
        "_limits",
        "_load",
        "_rest",
        "_server",
        "_timer",
        "_unread",
        "_wire",
        "_write_due_s",
        "shed",
        "unusual",
    )

    def __init__(
        self, server: "Server", limits: Limits, load: Load, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.keep_alive_s,
            lingering_time=limits.linger_s,
            max_line_size=limits.max_header_line_bytes,
            max_field_size=limits.max_header_field_bytes,
            max_headers=limits.max_headers,
            access_log=None,  # type: ignore[arg-type] # none is what it may be
            auto_decompress=False,
            # One read of this size is held for a slow reader's sake, not a whole answer.
            read_bufsize=1 << 16,
        )
        self._server = server
        self._limits = limits
        self._load = load
        self._timer: asyncio.TimerHandle | None = None
        self._answered = 0
        """Of the requests that have come. With the last, we wait for the next one, although it
        takes aiohttp another turn of the loop to do so."""
        self._heads = 0
        """How many requests had come when the head began that is waited for."""
        self._head_bytes = 0
        self._head_due_s = NEVER
        self._gone_due_s = NEVER
        self._unread = 0
        """Bytes of answers that waited for their reader when we last looked."""
        self._write_due_s = NEVER
        self._rest = 0
        """Bytes still to come of a request that was turned away."""
        self.unusual = False
        """The next request did not come whole and small, so its head is to be looked at."""
        self.shed = False
        """The next request is one too many."""

    # What asyncio tells ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        if self._server.is_full():
            self._one_too_many()
            return
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, UNSENT_BYTES)
        self._head_due_s = self._loop.time() + self._limits.header_timeout_s
        self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._head_due_s = self._write_due_s = self._gone_due_s = NEVER
        self._server.turned_away.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._without_rest(data)
            if not data:
                return
        requests = self._request_count
        if self._waiter is None and self._answered != requests:
            self.unusual = True
            RequestHandler.data_received(self, data)
            self._amid_a_request(self._request_count - requests)
            return
        load = self._load
        if load.arrived >= load.room and self._turned_away(data):
            return
        if len(data) > self._limits.max_header_bytes:
            self.unusual = True
        RequestHandler.data_received(self, data)
        if self._request_count != requests:
            load.arrived += self._request_count - requests
        else:
            self._part_of_head(len(data))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_due_s = NEVER

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            # Closing waits for the reader as well, and nobody would wait with it.
            if self._wire.get_write_buffer_size():
                self._await_reader()

    def _turned_away(self, data: bytes) -> bool:
        """False: it has to be parsed first, as far as its head, or is let in after all."""
        if self._load.opens():
            return False
        limits = self._limits
        found = None if self._begun() else answer_unparsed(data, limits.max_body_bytes)
        if found is None:
            self.unusual = self.shed = True
            return False
        answer, self._rest = found
        self._wire.write(answer)
        self._load.turn_away()
        # It was a request, although nobody else has seen it.
        self._heads = NO_HEAD
        self._next_keepalive_close_time = self._loop.time() + limits.keep_alive_s
        return True

    def _without_rest(self, data: bytes) -> bytes:
        """What follows a request that was turned away before all of it was here."""
        rest, self._rest = self._rest, max(0, self._rest - len(data))
        return data[rest:]

    def has_more(self) -> bool:
        """Requests that came together with the one that is served."""
        return bool(self._messages)

    def _begun(self) -> bool:
        """Whether the head that is waited for has begun."""
        return self._head_bytes > 0 and self._heads == self._request_count

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        if finished[0].keep_alive and request.content.is_eof():
            self._answered = self._request_count - len(self._messages)
        return finished

    def _amid_a_request(self, more: int) -> None:
        """So ``more`` have come, to be served after it. A body that is not valid HTTP any more has
        no end that its reader could wait for."""
        if more:
            self.shed = self.shed or (
                self._load.arrived >= self._load.room and not self._load.opens()
            )
            self._load.arrived += more
        request = self._current_request
        if request is not None and self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            request.content.set_exception(web.RequestPayloadError("not valid HTTP"))
            request.content.feed_eof()  # nobody is to wait for the rest of it

    def _one_too_many(self) -> None:
        """Say so, and close: there is no room for another connection, and little to say it in."""
        self._manager = None  # so that it is no connection of the server's
        if len(self._server.turned_away) >= TURNED_AWAY:
            self._wire.abort()
            return
        self._server.turned_away.add(self)
        self._refuse(Overloaded("too many connections", retry_after_s=RETRY_AFTER_S), 1.0)

    # Patience ----------------------------------------------------------------------------------

    def _part_of_head(self, size: int) -> None:
        if self._close or self._force_close:
            return  # what comes now is not read any more
        self.unusual = True
        if self._heads != self._request_count:
            self._heads, self._head_bytes = self._request_count, 0
            self._head_due_s = self._loop.time() + self._limits.header_timeout_s
            self._arm()
        self._head_bytes += size
        if self._head_bytes > self._limits.max_header_bytes:
            self._refuse(HeadersTooLarge("headers too large"))

    def _await_reader(self) -> None:
        self._unread = self._wire.get_write_buffer_size()
        self._write_due_s = self._loop.time() + self._limits.write_idle_s
        self._arm()

    def _arm(self) -> None:
        """One timer a connection; one that fires early looks, and is armed anew."""
        due_s = min(self._head_due_s, self._write_due_s, self._gone_due_s)
        if self._timer is not None and self._timer.when() > due_s:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due_s < NEVER:
            self._timer = self._loop.call_at(due_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        if self._head_due_s <= now_s:
            self._head_due_s = NEVER
            if self._heads == self._request_count:
                self._head_is_late()
        if self._gone_due_s <= now_s:
            self._wire.abort()
            return
        if self._write_due_s <= now_s:
            taken = self._unread - self._wire.get_write_buffer_size()
            if taken < self._limits.min_bytes_per_s * self._limits.write_idle_s:
                self._reset()
                return
            self._await_reader()
        self._arm()

    def _reset(self) -> None:
        """Or else the kernel would keep what is not read, and try for minutes to deliver it."""
        self._wire.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, AT_ONCE)
        self._wire.abort()

    def _head_is_late(self) -> None:
        if self._begun():
            waited = f"{self._limits.header_timeout_s:g} s"
            self._refuse(RequestTimeout(f"the head did not arrive within {waited}"))
        else:
            # Nothing was asked, so there is nothing to answer: a client that connects in advance
            # would take it for the answer to its first request.
            self.force_close()

    def _refuse(self, error: GatewayError, linger_s: float | None = None) -> None:
        """Answer what is no request yet. Who still sends could not read the answer if we closed at
        once (RFC 9112 section 9.6), so for a while we only stop listening."""
        request_id = new_id(time())
        self._wire.write(on_the_wire(failure("openai_chat", error, request_id)))
        self._wire.write_eof()
        self.close()
        self._gone_due_s = self._loop.time() + (linger_s or self._limits.linger_s)
        self._arm()

    # The end ------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Close, unless a request is being served: its body may still be on its way."""
        waits = self._waiter is not None or self._answered == self._request_count
        if waits and not self._messages:
            self.force_close()  # aiohttp's ``close`` leaves the socket open

    def cut(self, why: str) -> None:
        """Cancel the request that is being served; CancelledError says why."""
        if self._current_request is not None and self._task_handler is not None:
            self._task_handler.cancel(why)

    # Errors ------------------------------------------------------------------------------------

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
            long = type(exc).__name__ == "LineTooLong" or message == TOO_MANY
            error = HeadersTooLarge("headers too large") if long else NotHttp("not valid HTTP")
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
    def __init__(self, limits: Limits, load: Load, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._limits = limits
        self._load = load
        self.turned_away: set[Protocol] = set()
        """Beyond the limit, and still reading why."""

    def is_full(self) -> bool:
        return len(self._connections) >= self._limits.max_connections

    def protocols(self) -> Iterator[Protocol]:
        """Of the connections that are open."""
        return (one for one in self.connections if isinstance(one, Protocol))

    def __call__(self) -> RequestHandler:
        return Protocol(self, self._limits, self._load, self._loop)
