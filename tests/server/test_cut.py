"""Who is cut off at a stop in the very moment in which the time for something is up hears why."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import pytest

from fairlead.server.protocol import Protocol
from servers import canned
from servers.inprocess import Served, at, serving
from servers.scripted import Gate, Script, Scripted, stream

HALF: Script = (*stream(*canned.OPENAI["text"].frames[:3])[:-1], Gate())
"""Of a stream; then nothing for a long time."""


async def stopped(served: Served) -> None:
    """A timer cancels what runs, and before that hears of it so does the stop."""
    cut, recordings = Protocol.cut, served.listener._replays._recordings

    def just_then(connection: Protocol, why: str) -> None:
        assert connection._task_handler is not None
        for task in [each.task for each in recordings] or (connection._task_handler,):
            task.cancel()
        cut(connection, why)

    with patch.object(Protocol, "cut", just_then):
        await served.listener.stop(0.0)


@pytest.mark.parametrize("key", [{}, {"idempotency-key": "order-7"}])
async def test_an_answer_in_one_piece(up: Scripted, tmp_path: Path, key: Mapping[str, str]) -> None:
    up.on("a", (Gate(),))

    async with serving(tmp_path, up, at(up, "a")) as served:
        asked = asyncio.create_task(served.ask("a", headers=key))
        await asyncio.to_thread(up.wait_for, "a")
        await stopped(served)
        got = await asked

    assert (got.status, got.json["error"]["code"]) == (503, "shutting_down")
    [told] = served.exchanged()
    assert (told.outcome, told.code) == ("failed", "shutting_down")


async def test_a_stream(up: Scripted, tmp_path: Path) -> None:
    up.on("a", HALF)
    asked = json.dumps(
        {"model": "a", "stream": True, "messages": [{"role": "user", "content": "Hello."}]}
    ).encode()

    async with serving(tmp_path, up, at(up, "a")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(served.head(asked) + asked)
        began = await reader.readuntil(b"data: ")
        await stopped(served)
        rest = await reader.read()
        writer.close()

    assert began.startswith(b"HTTP/1.1 200")
    last = rest.rpartition(b"data: ")[2].partition(b"\r\n")[0]
    assert json.loads(last)["error"]["code"] == "shutting_down"


async def test_a_body_on_its_way(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(served.head(b"{}")[:-2] + b"expect: 100-continue\r\n\r\n{")
        await reader.readuntil(b"100 Continue\r\n\r\n")
        await stopped(served)
        got = await reader.read()
        writer.close()

    assert got.startswith(b"HTTP/1.1 503")
    assert b"shutting_down" in got
