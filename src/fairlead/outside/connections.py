"""Connections to endpoints: made, kept while they are idle, and shared. Knows no request."""

import asyncio
import base64
import ssl
from collections import deque
from socket import SO_RCVBUF, SOCK_STREAM, SOL_SOCKET
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohappyeyeballs
from aiohttp.client_proto import ResponseHandler
from msgspec import Struct

IDLE_S = 30.0
"""Shorter than load balancers and model servers in front of GPUs keep theirs: it is we who close,
and never find out by a request that failed."""
MOST_IDLE = 256
"""For each origin."""
OTHER_FAMILY_S = 0.25
"""RFC 8305 section 8: how long one address may be silent before the next is tried beside it."""
UNREAD_BYTES = 256 << 10
"""Of an endpoint's answer, in the kernel, which takes twice as much."""
MAX_ANSWER_BYTES = 16 << 10
"""Of a proxy, to CONNECT."""


class Proxy(Struct, frozen=True):
    host: str
    port: int
    authorization: str = ""
    """The header's value, where the address holds a name and a password."""


class Origin(Struct, frozen=True):
    """Where a connection leads; all that a connection can be shared by."""

    secure: bool
    host: str
    port: int
    proxy: Proxy | None = None


class Target(Struct, frozen=True):
    """An address, taken apart."""

    origin: Origin
    host: str
    """As the ``host`` header has it."""
    path: str
    """As the request line has it."""


def target(url: str, near: bool) -> Target:
    """``near`` addresses are asked directly, whatever proxy the environment names. Raises
    ValueError when it is not an address."""
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("not an address of a server")
    port = parts.port or (443 if secure else 80)
    shown = f"[{host}]" if ":" in host else host.encode("idna").decode()
    if parts.port is not None:
        shown += f":{port}"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    if parts.query:
        path += f"?{quote(parts.query, safe='/%:@!$&()*+,;=?~')}"
    proxy = None if near or proxy_bypass(host) else _proxy(parts.scheme)
    if proxy is not None and not secure:
        # RFC 9112 section 3.2.2: a proxy is told the whole address.
        return Target(Origin(False, proxy.host, proxy.port, proxy), shown, f"http://{shown}{path}")
    return Target(Origin(secure, host, port, proxy), shown, path)


def _proxy(scheme: str) -> Proxy | None:
    address = getproxies().get(scheme) or getproxies().get("all")
    if not address:
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("only proxies that speak HTTP are known")
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(parts.hostname, parts.port or 80, authorization)


class Connection(ResponseHandler):
    """aiohttp's, with one thing mended: who reads a body learns that its transfer is no HTTP."""

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        payload = self._payload
        super().set_exception(exc, exc_cause or exc)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(exc)


class Connections:
    """One per process and loop."""

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[tuple[ResponseHandler, float]]] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def take(self, origin: Origin, within_s: float) -> ResponseHandler:
        """An idle one, the latest first, or a new one. Raises OSError and TimeoutError."""
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.pop()
            # Whatever arrived while it was idle answers nothing that was asked.
            if connection.is_connected() and not connection.should_close:
                return connection
            connection.close()
        async with asyncio.timeout(within_s):
            return await self._connect(origin)

    def give_back(self, origin: Origin, connection: ResponseHandler) -> None:
        if connection.should_close or not connection.is_connected():
            connection.close()
            return
        loop = asyncio.get_running_loop()
        idle = self._idle.setdefault(origin, deque())
        idle.append((connection, loop.time() + IDLE_S))
        if len(idle) > MOST_IDLE:
            idle.popleft()[0].close()
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_S, self._sweep)

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for idle in self._idle.values():
            for connection, _ in idle:
                connection.abort()
        self._idle.clear()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for idle in self._idle.values():
            while idle and idle[0][1] <= loop.time():
                idle.popleft()[0].close()
        kept = any(self._idle.values())
        self._sweeping = loop.call_later(IDLE_S, self._sweep) if kept else None

    async def _connect(self, origin: Origin) -> ResponseHandler:
        loop = asyncio.get_running_loop()
        if origin.secure and origin.proxy is not None:
            return await self._tunnel(origin, origin.proxy, loop)
        found = await loop.getaddrinfo(origin.host, origin.port, type=SOCK_STREAM)
        socket = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=OTHER_FAMILY_S, loop=loop
        )
        # What waits here for a slow caller is memory too, and the kernel would take megabytes.
        socket.setsockopt(SOL_SOCKET, SO_RCVBUF, UNREAD_BYTES)
        _, connection = await loop.create_connection(
            lambda: Connection(loop),
            sock=socket,
            ssl=self._context() if origin.secure else None,
            server_hostname=origin.host if origin.secure else None,
        )
        return connection

    async def _tunnel(
        self, origin: Origin, proxy: Proxy, loop: asyncio.AbstractEventLoop
    ) -> ResponseHandler:
        """RFC 9110 section 9.3.6."""
        transport, asked = await loop.create_connection(
            lambda: _Connect(loop), proxy.host, proxy.port
        )
        try:
            place = f"{origin.host}:{origin.port}"
            lines = [f"CONNECT {place} HTTP/1.1", f"host: {place}"]
            if proxy.authorization:
                lines.append(f"proxy-authorization: {proxy.authorization}")
            transport.write("\r\n".join([*lines, "", ""]).encode())
            status = await asked.answer
            if status != 200:
                raise ConnectionError(f"the proxy answered {status}")
            connection = Connection(loop)
            secured = await loop.start_tls(
                transport, connection, self._context(), server_hostname=origin.host
            )
            if secured is None:
                raise ConnectionError("the proxy closed the connection")
        except BaseException:
            transport.abort()
            raise
        connection.connection_made(secured)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


class _Connect(asyncio.Protocol):
    """Waits for a proxy's answer to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[int] = loop.create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self.answer.done() or (
            b"\r\n\r\n" not in self._data and len(self._data) < MAX_ANSWER_BYTES
        ):
            return
        status = self._data.split(b" ", 2)[1:2]
        self.answer.set_result(int(status[0]) if status and status[0].isdigit() else 0)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(ConnectionError("the proxy closed the connection"))
