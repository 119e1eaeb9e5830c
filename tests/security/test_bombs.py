"""Threats 16 and 20: bodies that are to blow something up, in a real gateway, and numbers that are
to get around a budget."""

import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import pytest

from security.memory import MIB, memory_mib
from servers import canned, plain
from servers.gateway import Gateway, gateway
from servers.scripted import Scripted, scripted
from servers.setup import Setup

ROOM_MIB = 50
"""What a body may take in the gateway's memory while it is looked at, beyond itself: once in the
pieces that it came in, and once whole."""

HI = '{"role":"user","content":"Hi"}'


def said(member: str, model: str = "a") -> bytes:
    return f'{{"model":"{model}","messages":[{HI}],{member}}}'.encode()


def colliding(count: int) -> str:
    """Names that are one bucket to a hash that knows no salt."""
    return ",".join(f'"{number << 61}":0' for number in range(count))


BOMBS: dict[str, bytes] = {
    "deep lists": said('"x":' + "[" * 10_000 + "]" * 10_000),
    "deep objects": said('"metadata":' + '{"a":' * 10_000 + "1" + "}" * 10_000),
    "deep and unfinished": said('"x":' + "[" * 1_000_000),
    "deep in a schema": said(
        '"tools":[{"type":"function","function":{"name":"f","parameters":'
        + '{"properties":' * 10_000
        + "{}"
        + "}" * 10_000
        + "}}]"
    ),
    "huge integer": said('"max_tokens":' + "9" * 100_000),
    "huge integer aside": said('"x":' + "9" * 1_000_000),
    "huge fraction": said('"temperature":0.' + "1" * 1_000_000),
    "huge exponent": said('"temperature":1e' + "9" * 1000),
    "many members": said(",".join(f'"m{number}":0' for number in range(200_000))),
    "the same member": said(",".join(['"user":"x"'] * 200_000)),
    "colliding members": said(f'"metadata":{{{colliding(100_000)}}}'),
    "many messages": f'{{"model":"a","messages":[{",".join([HI] * 1_000_000)}]}}'.encode(),
    "many parts": (
        '{"model":"a","messages":[{"role":"user","content":['
        + ",".join(['{"type":"text","text":"a"}'] * 200_000)
        + "]}]}"
    ).encode(),
    "many tools": said(
        '"tools":[' + ",".join(['{"type":"function","function":{"name":"f"}}'] * 100_000) + "]"
    ),
    "many stops": said('"stop":[' + ",".join(['"a"'] * 500_000) + "]"),
    "one long word": said(f'"user":"{"a" * (8 * MIB)}"'),
    "one long text": json.dumps(
        {"model": "a", "messages": [{"role": "user", "content": "word " * 2_000_000}]}
    ).encode(),
    "escapes": said('"user":"' + "\\u0041" * MIB + '"'),
    "as many messages as may be": (
        f'{{"model":"a","messages":[{",".join([HI] * 49_000)}]}}'.encode()
    ),
    "as many members as may be": said(",".join(f'"m{number}":0' for number in range(190_000))),
    "as many lists as may be": said('"metadata":{"a":[' + ",".join(["[]"] * 990_000) + "]}"),
    "nothing but blanks": b" " * (16 * MIB),
    "nothing but zeros": b"\x00" * (4 * MIB),
    "too large": b" " * (33 * MIB),
}


@pytest.fixture(scope="module")
def up() -> Iterator[Scripted]:
    with scripted() as server:
        server.on("a", canned.OPENAI["text"])
        yield server


@pytest.fixture(scope="module")
def served(up: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("bombs")
    setup = Setup().endpoint("a", up.address, "openai_chat")
    with gateway(folder, setup.text(), setup.secrets) as running:
        yield running


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/route"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_no_body_blows_the_gateway_up(served: Gateway, bomb: str, path: str) -> None:
    before_mib = memory_mib(served, "VmRSS")
    got = plain.request("POST", served.address + path, BOMBS[bomb])
    grown_mib = memory_mib(served, "VmHWM") - before_mib
    assert grown_mib < ROOM_MIB + 2 * len(BOMBS[bomb]) / MIB

    assert got.status in (200, 400, 413)
    assert got.status == 200 or got.json["error"]["type"]
    assert plain.request("GET", f"{served.address}/healthz").status == 200


MANY, EACH = 40, 8 * MIB
FIT = 8
"""Of the many, into the memory that they may have."""


def connected(served: Gateway) -> socket.socket:
    address = urlsplit(served.address)
    return socket.create_connection((str(address.hostname), address.port or 0), timeout=20)


def held(served: Gateway) -> int:
    got = plain.request("GET", f"{served.address}/metrics").body.decode()
    [line] = [line for line in got.split("\n") if line.startswith("fairlead_body_memory_bytes ")]
    return int(float(line.split()[1]))


def wait_until_held(served: Gateway, size: int) -> None:
    until_s = monotonic() + 20
    while (now := held(served)) != size:
        assert monotonic() < until_s, f"{now:,} bytes are held, and not {size:,}"


def test_many_bodies_at_once_do_not_either(up: Scripted, tmp_path: Path) -> None:
    """All but the last byte of each; whoever is refused could have sent that one as well."""
    setup = Setup().endpoint("a", up.address, "openai_chat")
    config = setup.text(limits={"max_body_memory": f"{FIT * EACH // MIB}MiB"})
    part = b" " * (EACH - 1)
    with gateway(tmp_path, config, setup.secrets) as served, ExitStack() as stack:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {urlsplit(served.address).netloc}\r\n"
        begun = f"{head}content-length: {EACH}\r\n\r\n".encode() + part
        before_mib = memory_mib(served, "VmRSS")
        waiting = []
        for _ in range(MANY):
            waiting.append(stack.enter_context(connected(served)))
            waiting[-1].sendall(begun)
        told: list[bytes] = []
        while len(told) < MANY - FIT:
            ready, _, _ = select.select(waiting, [], [], 20)
            assert ready
            told += [each.recv(1 << 16)[:12] for each in ready]
            waiting = [each for each in waiting if each not in ready]
        wait_until_held(served, FIT * len(part))
        grown_mib = memory_mib(served, "VmHWM") - before_mib

        waiting[0].sendall(b" ")
        assert waiting[0].recv(12) == b"HTTP/1.1 400"
        stack.enter_context(another := connected(served)).sendall(begun)
        wait_until_held(served, FIT * len(part))
        for each in (*waiting, another):
            each.close()
        wait_until_held(served, 0)

    assert told == [b"HTTP/1.1 503"] * (MANY - FIT)
    assert grown_mib < ROOM_MIB + (FIT * EACH) / MIB
