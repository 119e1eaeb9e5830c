"""Streams that count: each event is a number, and who reads them knows whether one is missing."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from prove.traffic import request

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PATIENCE_S = 20.0


def _event(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "numbers"}
    data = b"data: " + json.dumps({**body, "choices": [choice]}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Streams:
    """The endpoint, and those who read from it through the gateway."""

    every_s: float = 0.25
    address: str = ""
    sent: list[int] = field(default_factory=list)
    """How many numbers each stream had in the end."""
    first_s: list[float] = field(default_factory=list)
    """How long each of those who read waited for its first number."""
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: list["asyncio.Task[list[str]]"] = field(default_factory=list)

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024)
        self.address = "http://{}:{}".format(*server.sockets[0].getsockname())
        return server

    async def begin(self, port: int, count: int, key: str = "", gap_s: float = 0.0) -> None:
        """One each ``gap_s``. Returns once each has its first number."""
        first = [asyncio.Event() for _ in range(count)]
        next_s = monotonic()
        for each in first:
            self._reading.append(asyncio.ensure_future(self._read(port, key, each)))
            next_s += gap_s
            await asyncio.sleep(next_s - monotonic())
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(each.wait() for each in first))

    async def end(self) -> tuple[int, int]:
        """How many numbers were sent, and how many were lost, doubled or out of their order."""
        self._over.set()
        async with asyncio.timeout(PATIENCE_S):
            read = await asyncio.gather(*self._reading)
        wrong = 0
        for numbers, sent in zip(sorted(read, key=len), sorted(self.sent), strict=True):
            right = [str(number) for number in range(sent)]
            wrong += sum(a != b for a, b in zip(numbers, right, strict=False))
            wrong += abs(len(numbers) - len(right))
        return sum(self.sent), wrong

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            writer.write(HEAD + _event({"role": "assistant", "content": ""}))
            number = 0
            while not self._over.is_set():
                writer.write(_event({"content": f"{number} "}))
                number += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), self.every_s)
            done = b"data: [DONE]\n\n"
            writer.write(_event({}, "stop") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))
            await writer.drain()
            self.sent.append(number)
        writer.close()

    async def _read(self, port: int, key: str, first: asyncio.Event) -> list[str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        messages = [{"role": "user", "content": "Count."}]
        asked_s = monotonic()
        writer.write(request("numbers", messages, key, stream=True))
        text, done = "", False
        while not done:
            line = await reader.readline()
            done = not line or line == b"data: [DONE]\n"
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
                if text and not first.is_set():
                    self.first_s.append(monotonic() - asked_s)
                    first.set()
        writer.close()
        return text.split()
