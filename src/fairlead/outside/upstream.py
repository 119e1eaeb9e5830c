"""HTTP to endpoints: one method, bytes out, bytes back. The seam that tests replace.

The only file that speaks HTTP as a client: every byte that goes to a model leaves through here.
It drives aiohttp's protocol (its parser, its flow control) without aiohttp's session, which costs
more than all the rest: measured per small request 23 us of CPU at 16 at once, where pyreqwest took
57. And it can let go: who stops waiting closes the connection, and the endpoint stops.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address
from time import monotonic
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import ClientError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from fairlead.outside.connections import Connections, Target, target
from fairlead.types.catalog import Timeouts
from fairlead.types.errors import Failure, UpstreamError

BUFFER_BYTES = 64 << 10
"""Twice as much may wait for a slow caller; then the endpoint is not read from."""
MAX_HEADER_BYTES = 32 << 10
MAX_HEADERS = 256
MOST_INTERIM = 16
"""Responses before the real one (RFC 9110, 15.2)."""
REST_S = 1.0
"""How long the end of a transfer may come after the end of an answer, for the connection's sake."""
BROKEN = (ClientError, HttpProcessingError, OSError)
PACE_S = 0.02
"""While the core is busy a stream is read so often, where it comes faster: nobody reads fifty words
a second. As a network driver does under load: most of what a piece costs is to be woken for it, and
to wake its reader."""
QUICK = 2
"""The first pieces (a role, a word) are never waited for."""


class Reply(Protocol):
    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Case-insensitive to look up."""
        ...

    async def chunk(self) -> bytes | None:
        """The next bytes as they arrive, None at the end. Raises UpstreamError."""
        ...

    async def read(self, limit: int, take: Callable[[int], None] | None = None) -> bytes:
        """The whole body, at most ``limit`` bytes. Where it comes in more than one piece ``take``
        hears of the size of each, and may raise. Raises UpstreamError."""
        ...


class Upstream(Protocol):
    def send(
        self, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> AbstractAsyncContextManager[Reply]:
        """POST and wait for the response's head. Leaving the context, or being cancelled while
        entering it, closes the exchange: an unfinished answer is cancelled at the endpoint.
        Raises UpstreamError (CONNECT, TRANSIENT)."""
        ...


class HttpUpstream:
    """The real upstream: connections are kept and shared, redirects are never followed."""

    def __init__(self, user_agent: str) -> None:
        self._user_agent = user_agent
        self._connections = Connections()
        self._targets: dict[str, Target] = {}
        self._pace = Pace()

    def send(
        self, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> AbstractAsyncContextManager[Reply]:
        to = self._target(url)
        head = self._head("POST", to, {**headers, "content-length": str(len(body))})
        return _Exchange(self._connections, to, head, body, timeouts.connect_s, self._pace)

    async def probe(
        self, url: str, timeout_s: float, limit: int = 1 << 20
    ) -> tuple[int, Mapping[str, str], bytes] | None:
        """GET without credentials, for discovery; None when nothing usable answers in time."""
        try:
            to = self._target(url)
            head = self._head("GET", to, {})
            exchange = _Exchange(self._connections, to, head, b"", timeout_s, self._pace)
            async with asyncio.timeout(timeout_s), exchange as reply:
                body = await reply.read(limit)
                return reply.status, dict(reply.headers), body
        except (UpstreamError, TimeoutError):
            return None

    def be_busy(self, busy: bool) -> None:
        """Whether the core has much else to do than to read streams."""
        self._pace.every_s = PACE_S if busy else 0.0

    async def close(self) -> None:
        self._connections.close()

    def _target(self, url: str) -> Target:
        known = self._targets.get(url)
        if known is None:
            try:
                # As many as endpoints have paths: bounded by the configuration.
                known = self._targets[url] = target(url, _is_near(url))
            except ValueError as error:
                raise UpstreamError(Failure.CONNECT, f"address not usable: {error}") from error
        return known

    def _head(self, method: str, to: Target, headers: Mapping[str, str]) -> bytes:
        fields = {
            "host": to.host,
            "user-agent": self._user_agent,
            # No word of compression: answers are relayed as they are.
            "accept": "*/*",
            **headers,
        }
        proxy = to.origin.proxy
        if proxy is not None and proxy.authorization and not to.origin.secure:
            fields["proxy-authorization"] = proxy.authorization
        lines = [f"{method} {to.path} HTTP/1.1", *[f"{n}: {value}" for n, value in fields.items()]]
        head = "\r\n".join(lines)
        if head.count("\r") + head.count("\n") != 2 * len(lines) - 2 or "\0" in head:
            raise UpstreamError(Failure.CALLER_FAULT, "a header holds a line break")
        # What aiohttp could not read as UTF-8 in a caller's header goes out as it came.
        return f"{head}\r\n\r\n".encode("utf-8", "surrogateescape")


class Pace:
    """How often streams are read, at most: one per client, so that it can change while they run."""

    __slots__ = ("every_s",)

    def __init__(self) -> None:
        self.every_s = 0.0
        """0: whenever something has come."""


class _Exchange:
    """One request on the wire; a class because a generator costs 10 us a request more."""

    __slots__ = (
        *("_body", "_connect_s", "_connection", "_connections", "_head", "_pace", "_payload"),
        "_to",
    )

    _connection: ResponseHandler
    _payload: StreamReader

    def __init__(
        self,
        connections: Connections,
        to: Target,
        head: bytes,
        body: bytes,
        connect_s: float,
        pace: Pace,
    ) -> None:
        self._connections = connections
        self._to = to
        self._head = head
        self._body = body
        self._connect_s = connect_s
        self._pace = pace

    async def __aenter__(self) -> Reply:
        try:
            connection = await self._connections.take(self._to.origin, self._connect_s)
        except TimeoutError as error:
            raise UpstreamError(Failure.CONNECT, "no connection in time") from error
        except (OSError, ValueError) as error:  # ValueError: of a name, by IDNA
            raise UpstreamError(Failure.CONNECT, "no connection could be made") from error
        self._connection = connection
        try:
            return await self._answered(connection)
        except BROKEN as error:
            connection.abort()
            message = "the connection broke off before an answer"
            raise UpstreamError(Failure.TRANSIENT, message) from _without_frames(error)
        except BaseException:
            # Nobody waits any more: the endpoint must stop now, and not when it is done.
            connection.abort()
            raise

    async def _answered(self, connection: ResponseHandler) -> "_HttpReply":
        connection.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=BUFFER_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        if connection.transport is None:
            raise ConnectionError
        connection.transport.write(self._head + self._body)
        self._body = b""  # it may be long, and so may the answer take
        message, self._payload = await connection.read()
        interim = 0
        while 100 <= message.code < 200 and message.code != 101:
            interim += 1
            if interim > MOST_INTERIM:
                raise ConnectionError("interim responses without end")
            message, self._payload = await connection.read()
        return _HttpReply(message.code, message.headers, self._payload, connection, self._pace)

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        connection, payload = self._connection, self._payload
        if payload.is_eof():
            self._connections.give_back(self._to.origin, connection)
        elif kind is not None:
            connection.abort()
        else:
            # The answer is complete, only the last chunk of its transfer is still to come.
            rest = asyncio.get_running_loop().call_later(REST_S, connection.abort)
            payload.on_eof(rest.cancel)
            payload.on_eof(lambda: self._connections.give_back(self._to.origin, connection))


class _HttpReply:
    __slots__ = ("_connection", "_pace", "_payload", "_quick", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        payload: StreamReader,
        connection: ResponseHandler,
        pace: Pace,
    ) -> None:
        self.status = status
        self.headers = headers
        self._payload = payload
        self._connection = connection
        self._pace = pace
        self._quick = 0
        """Pieces in a row that came sooner than the pace."""

    async def chunk(self) -> bytes | None:
        pace_s = self._pace.every_s
        if not pace_s:
            return await self._piece()
        if self._quick >= QUICK:
            await self._gather(pace_s)
        asked_s = monotonic()
        data = await self._piece()
        self._quick = self._quick + 1 if monotonic() - asked_s < pace_s else 0
        return data

    async def _piece(self) -> bytes | None:
        try:
            return await self._payload.readany() or None
        except BROKEN as error:
            message = "the connection broke off"
            raise UpstreamError(Failure.STREAM_BROKEN, message) from _without_frames(error)

    async def _gather(self, pace_s: float) -> None:
        """Let pieces come together in the kernel, where they cost nothing."""
        connection, transport = self._connection, self._connection.transport
        if transport is None or connection._reading_paused or self._payload.is_eof():
            return  # it is here already
        transport.pause_reading()
        try:
            await asyncio.sleep(pace_s)
        finally:
            if not transport.is_closing():
                transport.resume_reading()

    async def read(self, limit: int, take: Callable[[int], None] | None = None) -> bytes:
        data = await self._piece()
        if data is None or (self._payload.at_eof() and len(data) <= limit):
            return data or b""
        parts: list[bytes] = []
        size = 0
        try:
            while data is not None:
                size += len(data)
                if size > limit:
                    raise UpstreamError(Failure.BAD_SUCCESS, f"answer larger than {limit} bytes")
                if take is not None:
                    take(len(data))
                parts.append(data)
                data = await self._piece()
            return b"".join(parts)
        finally:
            parts.clear()  # the error of one that was not whole would keep them


def _without_frames(error: Exception) -> Exception:
    """They know the stream that keeps the error: what it had read would stay until a collection."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


def _is_near(url: str) -> bool:
    """Whether the host is this machine or a private network, as far as its name tells."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host
    return address.is_loopback or address.is_private
