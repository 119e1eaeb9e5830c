"""The scripted upstream keeps its word, byte by byte: what stands on it can be believed."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from servers.scripted import (
    End,
    Endless,
    Gate,
    Scripted,
    cut,
    reply,
    scripted,
    silent,
    split,
    stream,
)


@pytest.fixture(name="up")
def _up() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


def ask(up: Scripted, model: str) -> socket.socket:
    body = json.dumps({"model": model}).encode()
    host, port = up.address.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), timeout=5)
    client.sendall(
        b"POST /x HTTP/1.1\r\nHost: u\r\nX-A: 1\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    client.sendall(body)
    return client


def read(client: socket.socket, until: bytes, more: int = 0) -> bytes:
    """What comes up to ``until`` and at least ``more`` bytes after it."""
    got = b""
    while len((got + b"\0").partition(until)[2]) <= more and (data := client.recv(65536)):
        got += data
    return got


def test_a_request_is_recorded_whole(up: Scripted) -> None:
    up.on("a", reply({"ok": True}))

    with ask(up, "a") as client:
        answer = read(client, b"}")

    assert answer.startswith(b"HTTP/1.1 200 Scripted\r\n")
    assert answer.endswith(b'\r\n\r\n{"ok": true}')
    (seen,) = up.seen
    assert (seen.method, seen.path, seen.headers["x-a"], seen.json) == (
        "POST",
        "/x",
        "1",
        {"model": "a"},
    )
    assert not seen.left.is_open


def test_scripts_are_played_in_order_and_the_last_for_ever(up: Scripted) -> None:
    up.on("a", reply(b"1."), reply(b"2."))

    bodies = []
    for _ in range(3):
        with ask(up, "a") as client:
            bodies.append(read(client, b"\r\n\r\n", 2)[-2:])

    assert bodies == [b"1.", b"2.", b"2."]


def test_a_gate_holds_the_rest_back(up: Scripted) -> None:
    gate = Gate()
    up.on("a", stream(b"data: 1\n\n", gate, b"data: 2\n\n"))

    with ask(up, "a") as client:
        first = read(client, b"1\n\n\r\n")
        gate.open()
        second = read(client, b"0\r\n\r\n")

    assert first.endswith(b"9\r\ndata: 1\n\n\r\n")
    assert second == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"


def test_a_client_that_goes_is_noticed(up: Scripted) -> None:
    up.on("a", silent())

    with ask(up, "a"):
        seen = up.wait_for("a")
    seen.left.wait()

    assert seen.left.is_open


@pytest.mark.parametrize("end", End, ids=lambda end: str(end.value))
def test_a_cut_comes_after_exactly_so_many_bytes(up: Scripted, end: End) -> None:
    whole = b"".join(step for step in reply(b"0123456789") if isinstance(step, bytes))
    up.on("a", cut(reply(b"0123456789"), len(whole) - 4, end))

    got = b""
    with ask(up, "a") as client:
        try:
            while data := client.recv(65536):
                got += data
        except ConnectionResetError:
            assert end is End.RESET

    assert got == whole[:-4]


def test_the_endless_one_stops_when_nobody_reads(up: Scripted) -> None:
    up.on("a", Endless(b"data: x\n\n"))

    with ask(up, "a") as client:
        got = read(client, b"data: x\n\n\r\n9\r\ndata: x\n\n\r\n")
    seen = up.wait_for("a")
    seen.left.wait()

    assert got.startswith(b"HTTP/1.1 200")


def test_split_loses_nothing() -> None:
    assert split(b"abcde", 2) == (b"ab", b"cd", b"e")


async def test_it_goes_down_and_comes_up_where_it_was() -> None:
    async with Scripted() as up:
        up.on("a", reply({"ok": True}))
        port = up.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        up.go_down()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        await up.come_up()

        with await asyncio.to_thread(ask, up, "a") as client:
            assert b'{"ok": true}' in await asyncio.to_thread(read, client, b"}")
        assert up.port == port
        writer.close()
