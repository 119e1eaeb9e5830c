"""The listener: which path speaks which dialect; bytes in, bytes out. Knows routes, not routing."""

import asyncio
from contextlib import aclosing, suppress
from time import monotonic, time

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from msgspec.structs import replace

from fairlead.gateway import Answer, Call, Gateway
from fairlead.server.admin import Admin
from fairlead.server.auth import credential
from fairlead.server.body import read_body
from fairlead.server.ids import new_id
from fairlead.server.limits import Limits
from fairlead.server.paths import DIALECT_OF_PATH, dialect_of
from fairlead.server.protocol import Server
from fairlead.server.respond import EVENTS, SERVER, failure, identity, whole
from fairlead.server.target import check_host, check_target
from fairlead.types.errors import (
    GatewayError,
    HeadersTooLarge,
    MethodNotAllowed,
    NotHttp,
    Overloaded,
    RequestTimeout,
)

HOSTS = 256
"""So many names for this gateway are remembered; more are looked at each time."""
ENDS_CONNECTION = (NotHttp, HeadersTooLarge, RequestTimeout)
CUT_S = 1.0
"""For answers that we cut when we stop: so long they may still take to settle."""


class Listener:
    """Serves HTTP. ``draining`` turns readiness off and new work away while streams finish."""

    def __init__(self, gateway: Gateway, admin: Admin, limits: Limits) -> None:
        self._gateway = gateway
        self._admin = admin
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self.in_flight = 0
        self.draining = False
        self._hosts: set[str] = set()
        """Seen and found good, so that they need not be looked at again."""
        self._server = Server(
            limits, self._handle, request_factory=self._request, handler_cancellation=True
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=CUT_S)

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind and listen. Returns the address, with the port that was chosen for 0."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        await site.start()
        bound = self._runner.addresses[0]
        return str(bound[0]), int(bound[1])

    async def stop(self, within_s: float) -> None:
        """Take no new connections, let what runs finish for ``within_s``, then close."""
        self.draining = True
        for site in list(self._runner.sites):
            await site.stop()
        if self.in_flight:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._idle.wait()
        await self._runner.shutdown()
        await self._runner.cleanup()

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
                if not dialect:
                    return await self._admin.handle(request, request_id)
            if request.method != "POST":
                raise MethodNotAllowed(f"{path} takes POST, not {request.method}")
            call = await self._call(request, dialect, request_id)
            answer = await self._gateway.answer(call)
            if answer.stream is None:
                return whole(answer.body, {**answer.headers, **identity(dialect, request_id)})
            return await self._stream(request, call, answer)
        except GatewayError as error:
            return self._failure(request, error, request_id)
        finally:
            self.in_flight -= 1
            if self.draining and not self.in_flight:
                self._idle.set()

    def _check_head(self, request: web.BaseRequest) -> None:
        """Raises NotHttp, and HeadersTooLarge for many headers that are each within their limit."""
        request.protocol.unusual = False  # type: ignore[attr-defined]
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
        if self.draining or isinstance(error, ENDS_CONNECTION):
            response.force_close()
        return response

    async def _call(self, request: web.BaseRequest, dialect: str, request_id: str) -> Call:
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
            if self.draining or self.in_flight > self._limits.max_in_flight:
                raise Overloaded("the gateway is shutting down or full", retry_after_s=1)
            if not request.content.is_eof():
                # No stranger makes us wait, or hold megabytes.
                self._gateway.identify(call)
            return replace(call, body=await read_body(request, self._limits))
        except GatewayError as refusal:
            self._gateway.turned_away(call, refusal)
            raise

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
        assert answer.stream is not None
        async with aclosing(answer.stream) as pieces:
            try:
                await response.prepare(request)
                await response.write(answer.body)
                async for piece in pieces:
                    await response.write(piece)
                await response.write_eof()
            except ConnectionError:
                pass  # the caller left while we wrote; leaving the block stops the endpoint
            except GatewayError:
                # The error frame is written; without the final chunk nobody can take the
                # answer for complete (RFC 9112 section 8).
                if request.transport is not None:
                    request.transport.close()
        return response
