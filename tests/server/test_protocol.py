"""What is not HTTP, or two kinds of it at once, is refused on the spot and never served."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import pytest

from fairlead.server.limits import Limits
from servers import canned
from servers.inprocess import Served, at, serving
from servers.scripted import Scripted

ASK = b'{"model":"a","messages":[{"role":"user","content":"Hello."}]}'
SMUGGLED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture
async def up() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        server.on("a", canned.OPENAI["text"])
        yield server


@pytest.fixture
async def served(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    quick = Limits(keep_alive_s=0.1, linger_s=0.05)
    async with serving(tmp_path, up, at(up, "a"), limits=quick) as running:
        yield running


def post(*fields: bytes, body: bytes = b"") -> bytes:
    head = (b"POST /v1/chat/completions HTTP/1.1", b"host: 127.0.0.1", *fields)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


BROKEN: Mapping[str, tuple[bytes, int]] = {
    "a length and chunks": (
        post(
            b"content-length: 4",
            b"transfer-encoding: chunked",
            body=b"0\r\n\r\n" + post(b"content-length: %d" % len(ASK), body=ASK),
        ),
        400,
    ),
    "two lengths": (post(b"content-length: 4", b"content-length: 5", body=b"{}{}{"), 400),
    "a length that is none": (post(b"content-length: +4", body=b"{}{}"), 400),
    "a negative length": (post(b"content-length: -1"), 400),
    "chunks under another name": (
        post(b"transfer-encoding: xchunked", body=b"0\r\n\r\n"),
        400,
    ),
    "chunks that are not last": (
        post(b"transfer-encoding: chunked, identity", body=b"0\r\n\r\n"),
        400,
    ),
    "a bad chunk": (post(b"transfer-encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"), 400),
    "a space before the colon": (post(b"content-length : 2", body=b"{}"), 400),
    "a folded header": (post(b"x-a: 1\r\n  2", b"content-length: 0"), 400),
    "a bare line feed": (SMUGGLED.replace(b"\r\n", b"\n") + b"\n", 400),
    "a NUL in a header": (post(b"x-a: 1\x002", b"content-length: 0"), 400),
    "no host": (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 400),
    "two hosts": (post(b"host: other", b"content-length: 0"), 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 90, 400),
    "nonsense": (b"hello\r\n\r\n", 400),
    "another protocol": (b"GET / ICE/1.0\r\n\r\n", 400),
    "a long address": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 431),
    "a long header": (post(b"x-a: " + b"a" * 20_000, b"content-length: 0"), 431),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_is_not_http_is_refused_and_the_connection_closed(
    served: Served, case: str
) -> None:
    sent, status = BROKEN[case]

    answer = await served.raw(sent)

    head, _, body = answer.partition(b"\r\n\r\n")
    # In HTTP/1.0 a connection that is not asked to stay is closed.
    assert head.startswith(b"HTTP/1.0 %d " % status)
    assert answer.count(b"HTTP/1.") == 1
    error = msgspec.json.decode(body)["error"]
    assert error["message"] in ("not valid HTTP", "headers too large")
    assert b"x-fairlead-request-id: " in head
    assert served.up.seen == []


@pytest.mark.parametrize(
    "line",
    [
        b"OPTIONS * HTTP/1.1",
        b"CONNECT example.com:443 HTTP/1.1",
        b"GET http://example.com/v1/chat/completions HTTP/1.1",
        b"GET //example.com/healthz HTTP/1.1",
        b"TRACE /healthz HTTP/1.1",
        b"GET /v1/../healthz HTTP/1.1",
        b"GET /%2e%2e/%00 HTTP/1.1",
    ],
)
async def test_odd_targets_are_only_not_found(served: Served, line: bytes) -> None:
    answer = await served.raw(line + b"\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")

    assert int(answer.split(b" ")[1]) in (400, 404, 405)
    assert b"aiohttp" not in answer


async def test_requests_in_a_row_are_answered_in_their_order(served: Served) -> None:
    one = post(b"content-length: %d" % len(ASK), body=ASK)
    two = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"

    answer = await served.raw(one + one + two)

    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.endswith(b'{"status":"ok"}')
    assert len(served.up.seen) == 2


async def test_a_head_that_does_not_come_is_not_waited_for_for_ever(served: Served) -> None:
    assert await served.raw(b"POST /v1/chat/comp") == b""


async def test_an_idle_connection_is_closed(served: Served) -> None:
    answer = await served.raw(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")

    assert answer.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("path", "place"), [("/v1/chat/completions", ("code",)), ("/v1/messages", ("type",))]
)
async def test_a_bug_of_ours_is_told_in_the_callers_dialect_and_logged_under_its_id(
    served: Served, path: str, place: tuple[str], caplog: pytest.LogCaptureFixture
) -> None:
    served.state.registry.catalog = None  # type: ignore[assignment]
    asked = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}]}

    got = await served.request("POST", path, asked)

    assert (got.status, got.headers["x-should-retry"]) == (500, "false")
    assert got.json["error"][place[0]] in ("internal_error", "api_error")
    assert "Traceback" not in got.body.decode()
    assert got.headers["x-fairlead-request-id"] in caplog.text
    assert "Traceback" in caplog.text
    assert served.listener.in_flight == 0
