"""Threat 19: an endpoint that sends without end, or what nobody can read, costs a bounded amount of
memory and time, and its caller gets a clean error."""

import gzip
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from security.memory import MIB, memory_mib
from servers import plain
from servers.gateway import Gateway, gateway
from servers.scripted import Script, Scripted, head, reply, scripted, stream
from servers.setup import Setup

ROOM_MIB = 80
"""An event may have 16 MiB, and an answer in one piece 64: see docs/limits.md."""

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}
CHUNKED = {"transfer-encoding": "chunked"}
OK = b"HTTP/1.1 200 OK\r\n"
BLOCK = b"x" * 65_536
CHUNK = b"10000\r\n" + BLOCK + b"\r\n"


class Forever:
    """These bytes, and then one piece again and again; as often as one asks."""

    def __init__(self, piece: bytes, *before: bytes) -> None:
        self._piece, self._before = piece, before

    def __iter__(self) -> Iterator[bytes]:
        return chain(self._before, repeat(self._piece))


def chunks(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


MALICE: dict[str, Script] = {
    "a header without end": Forever(BLOCK, OK + b"x: "),
    "headers without end": Forever(b"x-a: b\r\n" * 4096, OK),
    "an answer without end": Forever(BLOCK, head(200, JSON)),
    "an answer of a gibibyte, it says": (head(200, JSON | {"content-length": str(1 << 30)}), b"{"),
    "chunks without end": Forever(CHUNK, head(200, JSON | CHUNKED)),
    "a line of events without end": Forever(CHUNK, head(200, EVENTS | CHUNKED), chunks(b"data: ")),
    "comments without end": Forever(chunks(b": ping\n\n" * 512), head(200, EVENTS | CHUNKED)),
    "a chunk of a size that is none": (head(200, JSON | CHUNKED), b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk of minus one": (head(200, JSON | CHUNKED), b"-1\r\n{}\r\n0\r\n\r\n"),
    "a chunk of a size without end": Forever(b"f" * 65_536, head(200, JSON | CHUNKED)),
    "a bomb that unpacks itself": reply(
        gzip.compress(b"0" * (64 * MIB)), headers={"content-encoding": "gzip"}
    ),
    "a redirect": reply(status=302, headers={"location": "http://127.0.0.1:1/"}),
    "deep lists": reply(b'{"choices":' + b"[" * 1_000_000),
    "a huge number": reply(b'{"choices":[],"usage":{"prompt_tokens":' + b"9" * 1_000_000 + b"}}"),
    "an error without end": Forever(BLOCK, head(500, JSON)),
    "two answers": (*reply(b"{}"), *reply(b"{}")),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n",),
    "HTTP of another time": (b"HTTP/0.9 200 OK\r\n\r\n{}",),
    "a status that is none": (b"HTTP/1.1 99999 OK\r\ncontent-length: 2\r\n\r\n{}",),
    "a line break in a header": (OK + b"x: a\rb: c\r\ncontent-length: 2\r\n\r\n{}",),
    "deep events": stream(b"data: " + b'{"choices":' + b"[" * 1_000_000 + b"\n\n"),
}


@pytest.fixture(scope="module")
def up() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture(scope="module")
def served(up: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("malice")
    setup = Setup()
    patience = {"timeouts": {"connect": "1s", "first_token": "500ms", "stall": "500ms"}}
    for number, script in enumerate(MALICE.values()):
        for form in ("whole", "stream"):
            up.on(f"{form}-{number}", script)
            setup.endpoint(f"{form}-{number}", up.address, "openai_chat", patience, max_output=64)
    with gateway(folder, setup.text(), setup.secrets) as running:
        yield running


@pytest.mark.parametrize(
    ("malice", "form"),
    [(malice, "whole") for malice in MALICE]
    + [(malice, "stream") for malice in MALICE if "event" in malice or "end" in malice],
)
def test_no_endpoint_holds_the_gateway_up(served: Gateway, malice: str, form: str) -> None:
    before_mib = memory_mib(served, "VmRSS")
    model = f"{form}-{list(MALICE).index(malice)}"
    got = plain.ask(served.address, model, stream=form == "stream", max_tokens=64)
    grown_mib = memory_mib(served, "VmHWM") - before_mib

    assert 400 <= got.status < 600
    assert got.json["error"]["code"] != "internal_error"
    assert grown_mib < ROOM_MIB
    assert plain.request("GET", f"{served.address}/healthz").status == 200
