"""Streams that count: a number that is lost on its way, doubled or altered counts as wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import pytest
from prove.streams import Streams

COUNT = 3
ENOUGH = 6
"""Events of each stream, before all are told to end."""
Change = Callable[[int, bytes], bytes]


@asynccontextmanager
async def between(port: int, change: Change, passed: asyncio.Semaphore) -> AsyncIterator[int]:
    """A port that leads there; each event that comes back is changed by its place."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        with closing(writer), closing(back):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"content-length: ")[2].split()[0])
            back.write(head + await reader.readexactly(length))
            place = 0
            while event := await there.readuntil(b"\n\n\r\n"):
                writer.write(change(place, event))
                passed.release()
                place += 1
                if b"[DONE]" in event:
                    return

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("change", "is_wrong"),
    [
        (lambda place, event: event, False),
        (lambda place, event: b"" if place == 3 else event, True),
        (lambda place, event: event if place < 3 or b"[DONE]" in event else b"", True),
        (lambda place, event: event * 2 if place == 3 else event, True),
        (lambda place, event: event.replace(b'"2 "', b'"7 "'), True),
    ],
    ids=["as it is", "lost", "cut short", "doubled", "altered"],
)
async def test_what_becomes_of_a_number_is_seen(change: Change, is_wrong: bool) -> None:
    numbers, passed = Streams(every_s=0.001), asyncio.Semaphore(0)
    async with await numbers.start() as server:
        port = server.sockets[0].getsockname()[1]
        async with between(port, change, passed) as door:
            await numbers.begin(door, COUNT)
            async with asyncio.timeout(5.0):
                for _ in range(COUNT * ENOUGH):
                    await passed.acquire()
            sent, wrong = await numbers.end()

    assert sent >= COUNT
    assert (wrong > 0) == is_wrong
