"""Where addresses lead, which connections are used again, and the way through a proxy.

Where TLS begins asyncio's loop differs from uvloop, on which the gateway runs: both are tried.
"""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fairlead.outside.connections import Origin, Proxy, target
from fairlead.outside.upstream import HttpUpstream
from fairlead.types.catalog import Timeouts
from fairlead.types.errors import Failure, UpstreamError
from servers.scripted import Scripted, Step, reply, stream

TIMEOUTS = Timeouts(connect_s=2.0)
BODY = b'{"model":"m"}'
NAME = "api.example.com"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as running:
        running.on("m", reply(b"1"))
        yield running


async def ask(up: HttpUpstream, address: str, body: bytes = BODY) -> bytes:
    async with up.send(f"{address}/v1/x", {}, body, TIMEOUTS) as answer:
        return await answer.read(1000)


# Addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "origin", "host", "path"),
    [
        (f"https://{NAME}/v1/x", Origin(True, NAME, 443), NAME, "/v1/x"),
        (f"http://{NAME}", Origin(False, NAME, 80), NAME, "/"),
        (f"https://{NAME}:8443/a?b=c&d", Origin(True, NAME, 8443), f"{NAME}:8443", "/a?b=c&d"),
        ("http://[::1]:11434/v1", Origin(False, "::1", 11434), "[::1]:11434", "/v1"),
        ("http://host/a b/ü%20", Origin(False, "host", 80), "host", "/a%20b/%C3%BC%20"),
        (
            "http://bücher.example/x",
            Origin(False, "bücher.example", 80),
            "xn--bcher-kva.example",
            "/x",
        ),
        ("https://host/x:y@z", Origin(True, "host", 443), "host", "/x:y@z"),
    ],
)
def test_an_address_is_taken_apart(url: str, origin: Origin, host: str, path: str) -> None:
    found = target(url, near=True)

    assert (found.origin, found.host, found.path) == (origin, host, path)


@pytest.mark.parametrize("url", ["", "host/x", "ftp://host/", "http://", "http://h:99999/", "//h"])
async def test_what_is_no_address_is_no_connection(up: HttpUpstream, url: str) -> None:
    with pytest.raises(UpstreamError) as refused:
        async with up.send(url, {}, BODY, TIMEOUTS):
            pass

    assert refused.value.failure is Failure.CONNECT


def test_a_proxy_is_for_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://us%40er:pa%3Ass@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inner.example.com")
    proxy = Proxy("proxy.example", 3128, "Basic dXNAZXI6cGE6c3M=")

    assert target(f"https://{NAME}/", near=False).origin == Origin(True, NAME, 443, proxy)
    assert target(f"https://{NAME}/", near=True).origin.proxy is None
    assert target("https://inner.example.com/", near=False).origin.proxy is None
    assert target(f"http://{NAME}/", near=False).origin.proxy is None


def test_a_proxy_of_a_kind_that_is_not_known_is_not_passed_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("all_proxy", "socks5://proxy.example:1080")

    with pytest.raises(ValueError, match="only proxies that speak HTTP"):
        target(f"https://{NAME}/", near=False)


# Used again -------------------------------------------------------------------------------------


async def test_one_connection_serves_request_after_request(
    up: HttpUpstream, server: Scripted
) -> None:
    used = []
    for _ in range(3):
        assert await ask(up, server.address) == b"1"
        used.append(set(server.open))

    assert used == [used[0]] * 3
    assert len(used[0]) == 1


async def test_as_many_connections_as_requests_at_once(up: HttpUpstream, server: Scripted) -> None:
    await asyncio.gather(*(ask(up, server.address) for _ in range(5)))

    assert 1 < len(server.open) <= 5


SPOILED: Mapping[str, tuple[Step, ...]] = {
    "closed by the endpoint": reply(b"1", headers={"connection": "close"}),
    "spoken on unasked": (*reply(b"1"), *reply(b"2")),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n1",),
}


@pytest.mark.parametrize("case", SPOILED)
async def test_a_connection_that_is_spoiled_is_not_used_again(
    up: HttpUpstream, server: Scripted, case: str
) -> None:
    server.on("m", SPOILED[case], reply(b"3"))

    server.on("other", reply(b"2"))

    first = await ask(up, server.address)
    # By another connection: when its answer is here, so is whatever came unasked.
    await ask(up, f"http://localhost:{server.port}", b'{"model":"other"}')
    second = await ask(up, server.address)

    assert (first, second) == (b"1", b"3")


async def closed(up: HttpUpstream) -> None:
    """Wait until every idle connection has heard that it is closed."""
    for idle in up._connections._idle.values():
        for connection, _ in idle:
            if connection.closed is not None:
                await connection.closed


async def test_a_connection_that_died_while_idle_is_replaced(
    up: HttpUpstream, server: Scripted
) -> None:
    await ask(up, server.address)
    [idle] = server.open
    idle.abort()
    await asyncio.wait_for(closed(up), 5.0)

    assert await ask(up, server.address) == b"1"


# TLS --------------------------------------------------------------------------------------------

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates")
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """For NAME and 127.0.0.1, with its key in the same file."""
    path = tmp_path / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test"),
            *("-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1"),
            *("-keyout", str(path), "-out", str(tmp_path / "only.pem")),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + (tmp_path / "only.pem").read_bytes())
    return path


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


@asynccontextmanager
async def secured(certificate: Path) -> AsyncIterator[tuple[HttpUpstream, Scripted]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    up = HttpUpstream("fairlead-test")
    async with Scripted(context) as server:
        server.on("m", reply(b"1"))
        yield up, server
        await up.close()


@needs_openssl
def test_a_certificate_that_is_trusted_is_taken(run: Run, trusted: Path) -> None:
    async def ask_twice() -> None:
        async with secured(trusted) as (up, server):
            assert [await ask(up, server.address) for _ in range(2)] == [b"1", b"1"]
            assert len(server.open) == 1

    run(ask_twice())


@needs_openssl
@pytest.mark.parametrize(("known", "host"), [(False, "127.0.0.1"), (True, "localhost")])
def test_a_certificate_of_nobody_or_of_somebody_else_is_not(
    run: Run, certificate: Path, monkeypatch: pytest.MonkeyPatch, known: bool, host: str
) -> None:
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def ask_once() -> None:
        async with secured(certificate) as (up, server):
            with pytest.raises(UpstreamError) as refused:
                await ask(up, f"https://{host}:{server.port}")
            assert refused.value.failure is Failure.CONNECT
            assert server.seen == []

    run(ask_once())


@needs_openssl
def test_a_fast_stream_is_whole_over_tls_too_while_the_core_is_busy(
    run: Run, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not read all the time then, and TLS has buffers of its own."""
    monkeypatch.setattr("fairlead.outside.upstream.PACE_S", 0.001)
    frames = [b"data: %b\n\n" % (b"x" * 20_000) for _ in range(100)]

    async def read_all() -> None:
        async with secured(trusted) as (up, server):
            server.on("m", stream(*frames))
            up.be_busy(True)
            pieces = []
            async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
                while (piece := await answer.chunk()) is not None:
                    pieces.append(piece)
        assert b"".join(pieces) == b"".join(frames)

    run(read_all())


# Proxies ----------------------------------------------------------------------------------------


async def test_a_plain_request_is_handed_to_the_proxy_whole(
    up: HttpUpstream, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://a:b@127.0.0.1:{server.port}")

    assert await ask(up, f"http://{NAME}:8080") == b"1"

    [seen] = server.seen
    assert (seen.method, seen.path) == ("POST", f"http://{NAME}:8080/v1/x")
    assert seen.headers["host"] == f"{NAME}:8080"
    assert seen.headers["proxy-authorization"] == "Basic YTpi"


@asynccontextmanager
async def proxy(behind: int, asked: list[bytes]) -> AsyncIterator[int]:
    """A port that leads to ``behind``, whatever CONNECT names."""
    tasks: list[asyncio.Task[None]] = []

    async def pipe(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with closing(to):
            while data := await source.read(1 << 16):
                to.write(data)

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", behind)
        writer.write(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n")
        tasks.append(asyncio.ensure_future(pipe(reader, back)))
        tasks.append(asyncio.ensure_future(pipe(there, writer)))

    serving = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with serving:
        yield serving.sockets[0].getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@needs_openssl
def test_a_proxy_sees_nothing_of_what_is_secured(
    run: Run, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def ask_twice() -> None:
        async with secured(trusted) as (up, server), proxy(server.port, asked) as port:
            monkeypatch.setenv("https_proxy", f"http://a:b@127.0.0.1:{port}")
            assert [await ask(up, f"https://{NAME}") for _ in range(2)] == [b"1", b"1"]
            await up.close()
            assert [seen.path for seen in server.seen] == ["/v1/x", "/v1/x"]
            assert "proxy-authorization" not in server.seen[0].headers

    run(ask_twice())

    [connect] = asked
    assert connect.startswith(b"CONNECT api.example.com:443 HTTP/1.1\r\nhost: api.example.com:443")
    assert b"proxy-authorization: Basic YTpi\r\n" in connect


async def test_a_proxy_that_refuses_is_no_connection(
    up: HttpUpstream, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("*", reply(status=407))
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{server.port}")

    with pytest.raises(UpstreamError) as refused:
        await ask(up, f"https://{NAME}")

    assert refused.value.failure is Failure.CONNECT
    assert [seen.method for seen in server.seen] == ["CONNECT"]
