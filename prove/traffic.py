"""An upstream and callers on bare sockets, in one loop of their own: a client library would be the
bottleneck of what it measures."""

import asyncio
import json
import re
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import cast

from servers.gateway import Gateway

LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
MODEL = re.compile(rb'"model": ?"([^"]*)"')
CHAT = "/v1/chat/completions"
PATIENCE_S = 30.0
WHOLE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE)
) + WHOLE


def request(
    model: str, messages: Sequence[Mapping[str, str]], key: str = "", **more: object
) -> bytes:
    body = json.dumps({"model": model, "messages": messages, **more}).encode()
    credential = f"authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"{credential}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Framed(asyncio.Protocol):
    """Cuts what arrives into messages with a length."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(self._data, 0, end)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._data) < size:
                return
            message, self._data = self._data[:size], self._data[size:]
            self.message(message, end)

    def message(self, message: bytes, end: int) -> None:
        raise NotImplementedError


class Endpoint(Framed):
    """An upstream that answers each request after ``delay_s``."""

    def __init__(self, upstream: "Upstream") -> None:
        super().__init__()
        self._upstream = upstream

    def message(self, message: bytes, end: int) -> None:
        found = MODEL.search(message, end)
        self._upstream.models[found[1].decode() if found else ""] += 1
        if self._upstream.delay_s:
            loop = asyncio.get_running_loop()
            loop.call_later(self._upstream.delay_s, self.transport.write, ANSWER)
        else:
            self.transport.write(ANSWER)


@dataclass
class Upstream:
    delay_s: float = 0.0
    models: Counter[str] = field(default_factory=Counter)
    """How often each was asked for."""
    address: str = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.get_running_loop().create_server(
            lambda: Endpoint(self), "127.0.0.1", 0, backlog=4096
        )
        self.address = "http://{}:{}".format(*server.sockets[0].getsockname())
        return server


@dataclass
class Heard:
    """What callers were told, and how long it took since they meant to ask."""

    served: list[tuple[float, float]] = field(default_factory=list)
    """When it came, and how long it took."""
    shed: list[tuple[float, float]] = field(default_factory=list)
    shed_without_retry_after: int = 0
    other: Counter[int] = field(default_factory=Counter)
    """Any other status; 0: the connection broke."""

    def slowest_ms(self, share: float, among: Sequence[tuple[float, float]] | None = None) -> float:
        times = sorted(took_s for _, took_s in (self.served if among is None else among))
        return round(times[int(len(times) * share)] * 1000, 1) if times else 0.0


class Caller(Framed):
    def __init__(self, callers: "Callers") -> None:
        super().__init__()
        self._callers = callers
        self._meant_s: float | None = None

    def ask(self, data: bytes, meant_s: float) -> None:
        self._meant_s = meant_s
        self.transport.write(data)

    def message(self, message: bytes, end: int) -> None:
        heard, now_s = self._callers.heard, monotonic()
        status, meant_s = int(message[9:12]), self._meant_s or now_s
        if status == 200:
            heard.served.append((now_s, now_s - meant_s))
        elif status == 503:
            heard.shed.append((now_s, now_s - meant_s))
            heard.shed_without_retry_after += b"\r\nretry-after: " not in message[:end].lower()
        else:
            heard.other[status] += 1
        self._meant_s = None
        self._callers.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._meant_s is not None:
            self._callers.heard.other[0] += 1
        self._callers.lost(self)


class Callers:
    """Connections that stay, and requests that are asked on them."""

    def __init__(self, port: int, asked: bytes, dice: Random) -> None:
        self._port = port
        self._asked = asked
        self._dice = dice
        self._idle: deque[Caller] = deque()
        self._waiting: deque[float] = deque()
        """Asked in time, but no connection was free: what it takes is counted from then."""
        self._again = False
        self._open = 0
        self.heard = Heard()

    async def connect(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, caller = await loop.create_connection(lambda: Caller(self), "127.0.0.1", self._port)
            self._open += 1
            caller.ask(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", monotonic())
        await self._all_free()

    def free(self, caller: Caller) -> None:
        if self._waiting:
            caller.ask(self._asked, self._waiting.popleft())
        elif self._again:
            # On each connection in turn, as later: one that was not used lately costs more.
            self._idle.append(caller)
            self._idle.popleft().ask(self._asked, monotonic())
        else:
            self._idle.append(caller)

    def lost(self, caller: Caller) -> None:
        self._open -= 1
        with suppress(ValueError):
            self._idle.remove(caller)

    async def in_turn(self, count: int, seconds: float) -> Heard:
        """So many, each of whom asks again as soon as it is answered."""
        self.heard, self._again = Heard(), True
        for _ in range(count):
            self._idle.popleft().ask(self._asked, monotonic())
        await asyncio.sleep(seconds)
        self._again = False
        await self._all_free()
        return self.heard

    async def at_will(self, per_s: float, seconds: float, until_shed_s: float = 0.0) -> Heard:
        """At random times, whatever became of those before. Where nobody was shed in that time,
        they go on until somebody is, but for so long at the most."""
        self.heard = Heard()
        next_s = began_s = monotonic()
        while next_s - began_s < (seconds if self.heard.shed else max(seconds, until_shed_s)):
            while next_s <= monotonic():
                if self._idle:
                    self._idle.popleft().ask(self._asked, next_s)
                else:
                    self._waiting.append(next_s)
                next_s += self._dice.expovariate(per_s)
            await asyncio.sleep(0.001)
        return self.heard

    async def _all_free(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self._idle) < self._open:  # noqa: ASYNC110 - each tells by itself
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Once all have been answered."""
        await self._all_free()
        for caller in self._idle:
            caller.transport.abort()


@asynccontextmanager
async def serving(gateway: AbstractContextManager[Gateway]) -> AsyncIterator[Gateway]:
    """Its upstream is in this loop, which must not stand still while it starts and stops."""
    running = await asyncio.to_thread(gateway.__enter__)
    try:
        yield running
    finally:
        await asyncio.to_thread(gateway.__exit__, *sys.exc_info())
