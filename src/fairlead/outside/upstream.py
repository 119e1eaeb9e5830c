"""HTTP to endpoints: one method, bytes out, bytes back. The seam that tests replace.

The only file that imports an HTTP client: every byte that goes to a model leaves through here.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    ConnectError,
    ConnectTimeoutError,
    RequestError,
    RequestTimeoutError,
)
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response, ResponseBodyReader

from fairlead.types.catalog import Timeouts
from fairlead.types.errors import Failure, UpstreamError

LONGEST_S = 3600.0


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

    async def read(self, limit: int) -> bytes:
        """The whole body, at most ``limit`` bytes. Raises UpstreamError."""
        ...


class Upstream(Protocol):
    def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeouts: Timeouts,
        within_s: float = LONGEST_S,
    ) -> AbstractAsyncContextManager[Reply]:
        """POST and wait for the response's head. Leaving the context closes the exchange: an
        unfinished answer is cancelled at the endpoint. It is over ``within_s`` in any case.
        Raises UpstreamError (CONNECT, SILENT, TRANSIENT)."""
        ...


class HttpUpstream:
    """The real upstream: connections are kept and shared, redirects are never followed."""

    def __init__(self, user_agent: str) -> None:
        self._user_agent = user_agent
        self._clients: dict[tuple[float, bool], Client] = {}
        self._by_url: dict[tuple[str, float], Client] = {}

    def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeouts: Timeouts,
        within_s: float = LONGEST_S,
    ) -> AbstractAsyncContextManager[Reply]:
        try:
            request = self._client(url, timeouts.connect_s).post(url).body_bytes(body)
            # The default waits for 64 KiB of body before it hands over the head.
            request = request.headers(headers).streamed_read_buffer_limit(0)
            # Who stops waiting for the head does not stop the request: pyreqwest lets go of the
            # Rust task that carries it, which runs on. Without this, for as long as nobody answers.
            request = request.timeout(timedelta(seconds=within_s))
            return _Exchange(request.build_streamed())
        except BuilderError as error:
            raise UpstreamError(Failure.CONNECT, f"address not usable: {error.message}") from error

    async def probe(
        self, url: str, timeout_s: float, limit: int = 1 << 20
    ) -> tuple[int, Mapping[str, str], bytes] | None:
        """GET without credentials, for discovery; None when nothing usable answers in time."""
        request = self._client(url, timeout_s).get(url).timeout(timedelta(seconds=timeout_s))
        try:
            async with request.build_streamed() as response:
                reply = _HttpReply(response)
                body = await reply.read(limit)
                return reply.status, dict(response.headers), body
        except (RequestError, UpstreamError):
            return None

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
        self._by_url.clear()

    def _client(self, url: str, connect_s: float) -> Client:
        client = self._by_url.get((url, connect_s))
        if client is None:
            kind = (connect_s, _is_near(url))
            if kind not in self._clients:
                self._clients[kind] = self._build(*kind)
            # As many as endpoints have paths: bounded by the configuration.
            client = self._by_url[url, connect_s] = self._clients[kind]
        return client

    def _build(self, connect_s: float, near: bool) -> Client:
        builder = (
            ClientBuilder()
            .user_agent(self._user_agent)
            .follow_redirects(False)
            .referer(False)
            .default_cookie_store(False)
            .connect_timeout(timedelta(seconds=connect_s))
            .pool_idle_timeout(timedelta(seconds=60))
            .max_connections(None)
            .tcp_nodelay(True)
            .error_for_status(False)
        )
        # Answers are relayed as they are, and a small compressed answer can be a large one.
        builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
        # A company's proxy is for the internet; a model in the house is asked directly.
        return (builder.no_proxy() if near else builder).build()


class _Exchange:
    """One request on the wire; a class because a generator costs 10 us a request more."""

    __slots__ = ("_request",)

    def __init__(self, request: StreamRequest) -> None:
        self._request = request

    async def __aenter__(self) -> Reply:
        try:
            return _HttpReply(await self._request.__aenter__())
        except RequestError as error:
            raise _before_head(error) from error

    async def __aexit__(self, *exc: object) -> None:
        await self._request.__aexit__(*exc)


class _HttpReply:
    __slots__ = ("_reader", "_response", "status")

    def __init__(self, response: Response) -> None:
        self._response = response
        self._reader: ResponseBodyReader | None = None
        self.status = response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def chunk(self) -> bytes | None:
        if self._reader is None:
            self._reader = self._response.body_reader
        try:
            data = await self._reader.read_chunk()
        except RequestError as error:
            raise UpstreamError(Failure.STREAM_BROKEN, "the connection broke off") from error
        return None if data is None else data.to_bytes()

    async def read(self, limit: int) -> bytes:
        length = self._response.get_header("content-length")
        if length is not None and length.isdecimal() and int(length) <= limit:
            try:
                return (await self._response.bytes()).to_bytes()
            except RequestError as error:
                raise UpstreamError(Failure.STREAM_BROKEN, "the connection broke off") from error
        parts: list[bytes] = []
        size = 0
        while (data := await self.chunk()) is not None:
            size += len(data)
            if size > limit:
                raise UpstreamError(Failure.BAD_SUCCESS, f"answer larger than {limit} bytes")
            parts.append(data)
        return b"".join(parts)


def _before_head(error: RequestError) -> UpstreamError:
    """No response head came. CONNECT only where the request certainly never left."""
    if isinstance(error, ConnectTimeoutError):
        return UpstreamError(Failure.CONNECT, "no connection in time")
    if isinstance(error, ConnectError) and _never_sent(error):
        return UpstreamError(Failure.CONNECT, "no connection could be made")
    if isinstance(error, RequestTimeoutError):
        return UpstreamError(Failure.SILENT, "no answer in time")
    return UpstreamError(Failure.TRANSIENT, "the connection broke off before an answer")


def _never_sent(error: RequestError) -> bool:
    """A connection that breaks after the request was written is a ConnectError too; only hyper's
    own words tell them apart, and an unknown wording counts as sent."""
    causes = (error.details or {}).get("causes") or ()
    return any(cause["message"] == "client error (Connect)" for cause in causes)


def _is_near(url: str) -> bool:
    """Whether the host is this machine or a private network, as far as its name tells."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host
    return address.is_loopback or address.is_private
