"""Clients who are slow on purpose: each holds what it has got for as long as the gateway lets it,
and then comes again."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from prove.traffic import CHAT, request

HEAD = f"POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\n".encode()
BODY = request("m", [{"role": "user", "content": "x" * 2000}])
STREAMED = request("endless", [{"role": "user", "content": "Hello."}], stream=True)
EVERY_S = 0.5
"""Between two bytes of who dribbles."""
RAMP_S = 10.0
KERNEL_S = 20.0
"""Until the kernel's buffers are full, and a reader who reads nothing is noticed."""
ESTABLISHED = 1
"""In the first byte of Linux' ``tcp_info``."""
SMALL_BUFFER = 16 << 10


@dataclass(frozen=True)
class Kind:
    first: bytes
    dribbled: bytes
    """Sent byte by byte."""
    within_s: float
    """From connecting until the gateway is to have closed, by its limits."""
    reads: bool = True


def kinds(limits: Mapping[str, float], grace_s: float | None) -> dict[str, Kind]:
    """``grace_s``: from then on a body must come at a kilobyte a second; None: not to be tried."""
    head_s = limits["header_timeout_s"]
    dribbled = {} if grace_s is None else {"slow body": Kind(BODY[:-1990], BODY[-1990:-1], grace_s)}
    return {
        **dribbled,
        "silent": Kind(b"", b"", head_s),
        "slow head": Kind(HEAD, b"x-a: " + b"a" * 500, head_s),
        "half a head": Kind(HEAD, b"", head_s),
        "half a body": Kind(BODY[:-1000], b"", min(limits["body_idle_s"], grace_s or 10.0)),
        "no reader": Kind(STREAMED, b"", limits["write_idle_s"] * 2 + KERNEL_S, reads=False),
    }


@dataclass
class Slow:
    """All of them. ``late`` are those whom the gateway held for too long."""

    port: int
    kinds: Mapping[str, Kind]
    slack_s: float
    came: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    held_s: dict[str, float] = field(default_factory=dict)
    """The longest, by kind."""

    async def attack(self, count: int, seconds: float) -> None:
        """So many at any time; then those who are left are waited for. They come one after the
        other: if all came at once, it would be this process that is slow."""
        names = list(self.kinds)
        end_s, apart_s = monotonic() + seconds, min(RAMP_S, seconds / 4) / count
        await asyncio.gather(
            *(
                self._again(names[number % len(names)], number * apart_s, end_s)
                for number in range(count)
            )
        )

    async def _again(self, name: str, after_s: float, end_s: float) -> None:
        await asyncio.sleep(after_s)
        while monotonic() < end_s:
            await self._once(name, self.kinds[name])

    async def _once(self, name: str, kind: Kind) -> None:
        here = socket.socket()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        here.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(here, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=here, limit=1)
        began_s = monotonic()
        self.came[name] += 1
        writer.write(kind.first)
        closed = asyncio.ensure_future(self._closed(reader, writer, kind))
        try:
            for byte in kind.dribbled:
                if (await asyncio.wait((closed,), timeout=EVERY_S))[0]:
                    break
                writer.write(bytes((byte,)))
            await asyncio.wait((closed,), timeout=kind.within_s + self.slack_s)
        finally:
            if not closed.done():
                closed.cancel()
            writer.transport.abort()
        held_s = monotonic() - began_s
        self.held_s[name] = round(max(self.held_s.get(name, 0.0), held_s), 1)
        self.closed[name] += closed.done()
        self.late[name] += held_s > kind.within_s + self.slack_s

    async def _closed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: Kind
    ) -> None:
        """Until the gateway has had enough."""
        with suppress(ConnectionError):
            if kind.reads:
                # An answer is as good as an end: nothing is served any more.
                await reader.read(1)
                return
            ours = writer.transport.get_extra_info("socket")
            # Only the kernel knows: to see the end one would have to read.
            while _state(ours) == ESTABLISHED:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


def _state(ours: socket.socket) -> int:
    return ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


class Endless:
    """The endpoint of who does not read: 16 kB every ``every_s``, for as long as somebody
    listens."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self.address = ""
        self.spoken: list[int] = []
        """Bytes, by stream, until it was cut or blocked for good."""
        self.open = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024)
        self.address = "http://{}:{}".format(*server.sockets[0].getsockname())
        return server

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        choice = {"index": 0, "delta": {"content": "x" * 16_000}, "finish_reason": None}
        event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "endless"}
        data = b"data: " + json.dumps({**event, "choices": [choice]}).encode() + b"\n\n"
        piece = b"%x\r\n%b\r\n" % (len(data), data)
        spoken, self.open = 0, self.open + 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            while not writer.transport.is_closing():
                writer.write(piece)
                await writer.drain()
                spoken += len(piece)
                await asyncio.sleep(self._every_s)
        self.open -= 1
        self.spoken.append(spoken)
        writer.close()
