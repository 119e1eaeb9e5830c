"""The listener: which path speaks which dialect; bytes in, bytes out. Knows routes, not routing."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from time import monotonic, time
from typing import cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from msgspec.structs import replace

from fairlead.gateway import CUT, Answer, Call, Gateway, shutting_down
from fairlead.server import replays
from fairlead.server.admin import Admin
from fairlead.server.auth import credential
from fairlead.server.body import read_body
from fairlead.server.ids import new_id
from fairlead.server.limits import Limits
from fairlead.server.load import Load
from fairlead.server.paths import DIALECT_OF_PATH, dialect_of
from fairlead.server.protocol import Protocol, Server
from fairlead.server.replays import Replays
from fairlead.server.respond import EVENTS, SERVER, answered, failure, identity
from fairlead.server.shed import overloaded
from fairlead.server.target import check_host, check_target
from fairlead.state.memory import Memory
from fairlead.types.errors import (
    GatewayError,
    HeadersTooLarge,
    MethodNotAllowed,
    NotHttp,
    RequestTimeout,
)

HOSTS = 256
"""So many names for this gateway are remembered; more are looked at each time."""
ENDS_CONNECTION = (NotHttp, HeadersTooLarge, RequestTimeout)
BACKLOG = 1024
LOOK_S = 0.05
CUT_S = 1.0
"""For answers that we cut when we stop: so long they may still take to settle and to say so."""


class Listener:
    """Serves HTTP. ``leaving`` turns readiness off and ends each connection with its answer;
    ``draining``, which follows, turns new work away while streams finish."""

    def __init__(
        self, gateway: Gateway, admin: Admin, limits: Limits, replays: Replays, bodies: Memory
    ) -> None:
        self._gateway = gateway
        self._replays = replays
        self._admin = admin
        self._limits = limits
        self._bodies = bodies
        self._loop = asyncio.get_running_loop()
        self.in_flight = 0
        self.leaving = self.draining = self._handed_over = False
        self._hosts: set[str] = set()
        """Seen and found good, so that they need not be looked at again."""
        self.load = Load(limits, self._loop, lambda: self.in_flight < limits.max_in_flight)
        self._server = Server(
            limits,
            self.load,
            self._handle,
            request_factory=self._request,
            handler_cancellation=True,
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=CUT_S)

    async def start(
        self, host: str, port: int, sockets: Sequence[socket.socket] = ()
    ) -> tuple[str, int]:
        """Bind and listen, or listen on these. Returns the address, with the port that was chosen
        for 0."""
        await self._runner.setup()
        sites: list[web.BaseSite] = [
            web.SockSite(self._runner, each, backlog=BACKLOG) for each in sockets
        ]
        for site in sites or [web.TCPSite(self._runner, host, port, backlog=BACKLOG)]:
            await site.start()
        self.load.start()
        bound = self._runner.addresses[0]
        return str(bound[0]), int(bound[1])

    def listening(self) -> list[int]:
        """The descriptors of its sockets."""
        servers = [site._server for site in self._runner.sites if site._server is not None]
        return [each.fileno() for server in servers for each in server.sockets]  # type: ignore[attr-defined] # as aiohttp does

    async def hand_over(self) -> None:
        """Another process listens on the same sockets. Here only what is connected is answered,
        and each connection ends with its next answer; an idle one is left to its caller, who may
        be sending."""
        self.leaving = self._handed_over = True
        for site in list(self._runner.sites):
            await site.stop()

    async def stop(
        self, window_s: float, delay_s: float = 0.0, cut: asyncio.Event | None = None
    ) -> None:
        """Not be ready, and after ``delay_s`` take nothing new; let what runs finish for
        ``window_s``, or until ``cut`` is set; then end it in an error and close."""
        self.leaving = True
        cut = asyncio.Event() if cut is None else cut
        if delay_s and not self._handed_over:
            await _until(cut, delay_s)
        until_s = monotonic() + window_s
        if self._handed_over:
            await _while(self._answers, until_s, cut)
        self.draining = True
        for site in list(self._runner.sites):
            await site.stop()
        await asyncio.sleep(0)  # what has been read is now being served
        for connection in self._server.protocols():
            connection.leave()
        await _while(self._answers, until_s, cut)
        self._gateway.cutting = True
        for connection in self._server.protocols():
            connection.cut(CUT)
        await _while(lambda: bool(self.in_flight), monotonic() + CUT_S, asyncio.Event())
        await self._runner.cleanup()
        self.load.stop()

    def _answers(self) -> bool:
        """Whether an answer is still on its way, awaited by its caller or not."""
        return bool(self._server.connections or self._replays.going_on)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            self._loop,
            client_max_size=self._limits.max_body_bytes,
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        dialect = DIALECT_OF_PATH.get(path, "")
        request_id = new_id(time())
        self.in_flight += 1
        try:
            if (
                request.headers.get("host") not in self._hosts or request.protocol.unusual  # type: ignore[attr-defined] # ours has it
            ):
                self._check_head(request)
            self._admin.check_origin(request.headers)
            if not dialect:
                check_target(path)
                path = request.rel_url.raw_path
                dialect = DIALECT_OF_PATH.get(path, "")
            if dialect:
                if request.method != "POST":
                    raise MethodNotAllowed(f"{path} takes POST, not {request.method}")
                call = await self._call(request, dialect, request_id)
                key = call.headers.get(replays.HEADER)
                if key is None:
                    answer = await self._gateway.answer(call)
                else:
                    answer = await self._replays.answer(call, key)
                if answer.stream is None:
                    headers = {**answer.headers, **identity(dialect, request_id)}
                    response = answered(request, answer.body, headers, answer.share)
                else:
                    response = await self._stream(request, call, answer)
            else:
                response = await self._admin.handle(request, request_id)
        except GatewayError as error:
            response = self._failure(request, error, request_id)
        finally:
            self.in_flight -= 1
        if self.leaving and (self.draining or not response.prepared):
            # What has been promised before is kept, for as long as there is time.
            response.force_close()
        return response

    def _check_head(self, request: web.BaseRequest) -> None:
        """Raises NotHttp, HeadersTooLarge for many headers that are each within their limit, and
        Overloaded."""
        protocol = cast(Protocol, request.protocol)
        shed = protocol.shed
        protocol.unusual = protocol.shed = protocol.shed and protocol.has_more()
        if shed and request.rel_url.raw_path in DIALECT_OF_PATH:
            self.load.turn_away()
            raise overloaded()
        size = sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
        if size + len(request.raw_path) > self._limits.max_header_bytes:
            raise HeadersTooLarge("headers too large")
        host = request.headers.get("host")
        if host is not None:  # HTTP/1.0 needs none
            check_host(host)
            if len(self._hosts) == HOSTS:
                self._hosts.clear()
            self._hosts.add(host)

    def _failure(
        self, request: web.BaseRequest, error: GatewayError, request_id: str
    ) -> web.StreamResponse:
        path = request.rel_url.raw_path
        response = failure(dialect_of(path, request.headers), error, request_id)
        if isinstance(error, MethodNotAllowed):
            response.headers["allow"] = self._admin.allowed(path)
        if isinstance(error, ENDS_CONNECTION):
            response.force_close()
        return response

    async def _call(self, request: web.BaseRequest, dialect: str, request_id: str) -> Call:
        if self.in_flight > self._limits.max_in_flight:
            self.load.fill()
            raise overloaded()
        call = Call(
            request_id=request_id,
            dialect=dialect,
            body=b"",
            headers=request.headers,
            credential=credential(request.headers),
            at_ms=int(time() * 1000),
            arrived_s=monotonic(),
        )
        try:
            if self.draining:
                raise shutting_down()
            if not request.content.is_eof():
                # No stranger makes us wait, or hold megabytes.
                self._gateway.identify(call)
            body, share = await read_body(request, self._limits, self._bodies)
            return replace(call, body=body, share=share)
        except GatewayError as refusal:
            self._gateway.turned_away(call, refusal)
            raise
        except asyncio.CancelledError as cancelled:
            if not self._gateway.is_cut(cancelled):
                raise
            raise self._gateway.cut(call) from None

    async def _stream(
        self, request: web.BaseRequest, call: Call, answer: Answer
    ) -> web.StreamResponse:
        headers = {
            **SERVER,
            "content-type": EVENTS,
            "cache-control": "no-cache",
            # nginx would otherwise collect the events before passing them on.
            "x-accel-buffering": "no",
            **answer.headers,
            **identity(call.dialect, call.request_id),
        }
        response = web.StreamResponse(headers=headers)
        if self.leaving:
            response.force_close()
        assert answer.stream is not None
        async with aclosing(answer.stream) as pieces:
            try:
                await response.prepare(request)
                try:
                    await response.write(answer.body)
                except asyncio.CancelledError as cancelled:
                    await _last_words(response, answer.stream, cancelled)
                async for piece in pieces:
                    try:
                        await response.write(piece)
                    except asyncio.CancelledError as cancelled:
                        await _last_words(response, answer.stream, cancelled)
                await response.write_eof()
            except ConnectionError:
                pass  # the caller left while we wrote; leaving the block stops the endpoint
            except GatewayError:
                # The error frame is written; without the final chunk nobody can take the
                # answer for complete (RFC 9112 section 8).
                if request.transport is not None:
                    request.transport.close()
        return response


async def _last_words(
    response: web.StreamResponse, stream: AsyncGenerator[bytes], cancelled: asyncio.CancelledError
) -> None:
    """It waited for its reader when it was cut, so the stream has yet to say how it ends, unless
    all is said."""
    if cancelled.args != (CUT,):
        raise cancelled
    with suppress(StopAsyncIteration):
        await response.write(await stream.athrow(cancelled))


async def _while(going_on: Callable[[], bool], until_s: float, cut: asyncio.Event) -> None:
    while going_on() and monotonic() < until_s and not cut.is_set():
        await _until(cut, LOOK_S)


async def _until(event: asyncio.Event, within_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within_s)
