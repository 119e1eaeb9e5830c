"""A wire without a network: the real server's protocol at one end, a simulated client at the other.

What a server writes is at its client's at once, as far as the wire holds; a client that takes its
time makes the server wait. Whoever closes is heard of by the other one.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

FOREVER_S = 1e99
MUCH_BYTES = 1 << 20
"""What the kernels of both ends hold, and more than any answer here."""


class Socket:
    """As far as a server asks its socket for something."""

    family = 0

    def setsockopt(self, *option: object) -> None:
        """There is no kernel to be told."""

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1


class Site:
    """In the place of an ``asyncio.Server``."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        self.sockets = (Socket(),)
        self.closed_s = FOREVER_S
        self.stood = (0.0, 0.0)
        """From when until when the process stood still, the last time before it closed."""
        self._protocol = protocol

    def close(self) -> None:
        self.closed_s = min(self.closed_s, asyncio.get_running_loop().time())

    def stands(self, from_s: float, until_s: float) -> None:
        if self.closed_s == FOREVER_S:
            self.stood = (from_s, until_s)

    def connect(self, holds: int = MUCH_BYTES) -> "Wire":
        """In the tasks that the server makes for it, the caller's context is in force. Raises
        ConnectionRefusedError."""
        if self.closed_s < FOREVER_S:
            raise ConnectionRefusedError
        wire = Wire(self._protocol(), holds)
        wire.protocol.connection_made(wire)
        return wire


class Wire(asyncio.Transport):
    """The server's end. The client has ``send``, ``read`` and ``leave``."""

    def __init__(self, protocol: asyncio.Protocol, holds: int) -> None:
        super().__init__({"socket": Socket(), "peername": ("127.0.0.1", 2)})
        self.protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._holds = holds
        self._unread = b""
        self._grown = asyncio.Event()
        self._closing = self._paused = self._lost = self._reset = False

    # The server's.

    def write(self, data: Any) -> None:
        if self._closing:
            return
        self._unread += data
        self._grown.set()
        if len(self._unread) > self._holds and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return max(0, len(self._unread) - self._holds)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Once all is written."""
        if not self._closing:
            self._closing = True
            if not self._paused:
                self._ends()

    def abort(self) -> None:
        self._closing = self._reset = True
        self._ends()

    def pause_reading(self) -> None:
        """No request here is so long that it would matter."""

    def resume_reading(self) -> None: ...

    # The client's.

    def send(self, data: bytes) -> None:
        if not self._closing:
            self.protocol.data_received(data)

    async def read(self) -> bytes:
        """What has come by now; nothing at the end. Raises ConnectionResetError."""
        while not (self._unread or self._lost):
            self._grown.clear()
            await self._grown.wait()
        if self._reset:
            raise ConnectionResetError
        data, self._unread = self._unread, b""
        if self._paused:
            self._loop.call_soon(self._resume)
        return data

    def leave(self) -> None:
        self._closing = True
        self._ends()

    def _resume(self) -> None:
        """Nobody is told to pause twice, however much was written since."""
        if self._paused and len(self._unread) <= self._holds:
            self._paused = False
            self.protocol.resume_writing()
            if self._closing:
                self._ends()

    def _ends(self) -> None:
        if not self._lost:
            self._lost = True
            self._grown.set()
            self._loop.call_soon(self.protocol.connection_lost, None)


class Response(Struct):
    """What a client has had of an answer so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    """All of it is there, by its own framing."""
    _raw: bytes = b""

    def feed(self, data: bytes) -> None:
        self._raw += data
        if not self.status:
            head, found, rest = self._raw.partition(b"\r\n\r\n")
            if not found:
                return
            self._raw = rest
            first, *lines = head.decode().split("\r\n")
            self.status = int(first.split(" ")[1])
            pairs = (line.partition(": ") for line in lines)
            self.headers = {name.lower(): value for name, _, value in pairs}
        if "content-length" in self.headers:
            self.body = self._raw
            self.whole = len(self.body) == int(self.headers["content-length"])
        else:
            self._chunks()

    def _chunks(self) -> None:
        """RFC 9112 section 7.1."""
        while not self.whole:
            size, found, rest = self._raw.partition(b"\r\n")
            length = int(size, 16) if found else 0
            if not found or len(rest) < length + 2:
                return
            self.body += rest[:length]
            self._raw = rest[length + 2 :]
            self.whole = not length


def written(path: str, headers: Mapping[str, str], body: bytes) -> tuple[bytes, bytes]:
    """A request's head and its body."""
    fields = {
        "host": "127.0.0.1:1",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *[f"{name}: {value}" for name, value in fields.items()]]
    return "\r\n".join((*lines, "", "")).encode(), body
