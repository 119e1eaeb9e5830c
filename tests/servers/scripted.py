"""A scripted upstream on 127.0.0.1: it says exactly the bytes a test tells it to. No dialect.

A *script* is what goes on the wire, step by step: bytes are written, a ``Gate`` is waited for, an
``End`` breaks the connection. Time is therefore in the test's hands: it opens gates, nothing
sleeps. The server runs on a loop of its own, so synchronous clients may talk to it.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain, repeat
from ssl import SSLContext
from typing import Any, cast

JSON = "application/json"
SSE = "text/event-stream"
LONGEST_WAIT_S = 10.0


class End(Enum):
    CLOSE = "close"
    RESET = "reset"


class Gate:
    """A point that a script does not pass until the test opens it, from whatever thread."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()
        self.at_s = 0.0
        """When it was opened, monotonic."""

    def open(self) -> None:
        if not self._opened.done():
            self.at_s = time.monotonic()
            self._opened.set_result(None)

    def wait(self, timeout_s: float = LONGEST_WAIT_S) -> None:
        """Block the calling thread. Raises TimeoutError."""
        self._opened.result(timeout_s)

    async def opened(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._opened))

    @property
    def is_open(self) -> bool:
        return self._opened.done()


Step = bytes | Gate | End
Script = Iterable[Step]
"""Must be iterable more than once: the last script of a model is played again and again."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    at_s: float
    """Monotonic."""
    left: Gate = field(default_factory=Gate)
    """Opens if the client goes before the script has ended."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def model(self) -> str:
        with suppress(ValueError, TypeError, AttributeError):
            return str(self.json.get("model", ""))
        return ""


Answer = Script | Callable[[Seen], Script]


# ---------------------------------------------------------------- scripts


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} Scripted",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def reply(
    body: bytes | Any = b"",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = JSON,
) -> tuple[Step, ...]:
    """A whole answer; what is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-type": content_type, "content-length": str(len(data)), **(headers or {})}
    return (head(status, fields), data) if data else (head(status, fields),)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*pieces: Step, headers: Mapping[str, str] | None = None) -> tuple[Step, ...]:
    """An SSE answer in chunked encoding: each piece of bytes is one chunk, written at once."""
    fields = {"content-type": SSE, "transfer-encoding": "chunked", **(headers or {})}
    steps = (chunk(piece) if isinstance(piece, bytes) else piece for piece in pieces)
    return (head(200, fields), *steps, b"0\r\n\r\n")


def silent() -> tuple[Step, ...]:
    """Take the request and never answer."""
    return (Gate(),)


def cut(script: Script, after: int, end: End = End.CLOSE) -> tuple[Step, ...]:
    """The first ``after`` bytes of a script, then the connection breaks."""
    kept: list[Step] = []
    left = after
    for step in script:
        if isinstance(step, bytes):
            kept.append(step[:left])
            left -= len(step)
        else:
            kept.append(step)
        if left <= 0:
            break
    return (*kept, end)


def split(data: bytes, size: int = 1) -> tuple[bytes, ...]:
    return tuple(data[at : at + size] for at in range(0, len(data), size))


class Endless:
    """A stream that begins properly and repeats one piece for ever."""

    def __init__(self, piece: bytes, *before: bytes) -> None:
        self._piece = piece
        self._before = before

    def __iter__(self) -> Iterator[Step]:
        opening = stream(*self._before)[:-1]
        return chain(opening, repeat(chunk(self._piece)))


# ---------------------------------------------------------------- the server


class Scripted:
    """Scripts by model name. A model's scripts are played in order, the last one for ever."""

    def __init__(self, tls: SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.address = ""
        """``http://127.0.0.1:PORT``, once it listens."""
        self.port = 0
        self._answers: dict[str, list[Answer]] = {}
        self._arrived = threading.Condition()
        self._tls = tls
        self._playing: set[asyncio.Task[None]] = set()
        self.open: set[asyncio.Transport] = set()

    @property
    def playing(self) -> int:
        """How many answers are not at their end, with a client still there."""
        return len(self._playing)

    def on(self, model: str, *answers: Answer) -> None:
        """Say what requests for ``model`` get; ``*`` is for every other one."""
        self._answers[model] = list(answers)

    def asked(self, model: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.model == model]

    def wait_for(self, model: str, count: int = 1) -> Seen:
        """Block until ``model`` was asked ``count`` times. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(
                lambda: len(self.asked(model)) >= count, timeout=LONGEST_WAIT_S
            ):
                raise TimeoutError(f"{model} was asked {len(self.asked(model))} times")
        return self.asked(model)[count - 1]

    def forget(self) -> None:
        self.seen.clear()

    def script_for(self, seen: Seen) -> Script:
        answers = self._answers.get(seen.model) or self._answers.get("*")
        if not answers:
            return reply({"error": {"message": f"no script for {seen.model!r}"}}, status=418)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer(seen) if callable(answer) else answer

    def arrived(self, seen: Seen) -> None:
        with self._arrived:
            self.seen.append(seen)
            self._arrived.notify_all()

    async def __aenter__(self) -> "Scripted":
        await self.come_up()
        self.address = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"
        return self

    async def come_up(self) -> None:
        """Listen; after ``go_down``, where it listened before."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self, self._playing), "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def go_down(self) -> None:
        """Refuse connections, and break off those that there are. Only on its own loop."""
        self._server.close()
        for transport in tuple(self.open):
            transport.abort()

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in tuple(self._playing):
            task.cancel()
        for transport in tuple(self.open):
            transport.abort()
        await asyncio.gather(*self._playing, return_exceptions=True)
        await asyncio.sleep(0)  # for the transports to close


class _Connection(asyncio.Protocol):
    """One connection: requests are read whole, one after the other, and answered by script."""

    def __init__(self, server: Scripted, playing: set[asyncio.Task[None]]) -> None:
        self._server = server
        self._playing = playing
        self._buffer = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None
        self._current: Seen | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's TLS is none by its type
        self._server.open.add(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._take_request()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self._transport)
        self._writable.set()
        if self._current is not None:
            self._current.left.open()
        if self._task is not None:
            self._task.cancel()

    def _take_request(self) -> None:
        if self._current is not None or b"\r\n\r\n" not in self._buffer:
            return
        top, _, rest = self._buffer.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = first.split(" ", 2)
        self._current = Seen(method, path, headers, rest[:length], time.monotonic())
        self._server.arrived(self._current)
        self._task = asyncio.ensure_future(self._play(self._server.script_for(self._current)))
        self._playing.add(self._task)
        self._task.add_done_callback(self._playing.discard)

    async def _play(self, script: Script) -> None:
        for step in script:
            if isinstance(step, bytes):
                self._transport.write(step)
                await self._writable.wait()
                await asyncio.sleep(0)  # one write, one packet: the next step is not merged in
            elif isinstance(step, Gate):
                await step.opened()
            else:
                self._break(step)
                return
        self._current = None
        self._take_request()

    def _break(self, end: End) -> None:
        self._current = None
        if end is End.RESET:
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()


@contextmanager
def scripted() -> Iterator[Scripted]:
    """A Scripted on a thread of its own, for tests that block."""
    server = Scripted()
    ready: Future[asyncio.AbstractEventLoop] = Future()
    stop = Gate()

    async def serve() -> None:
        async with server:
            ready.set_result(asyncio.get_running_loop())
            await stop.opened()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="scripted-upstream")
    thread.start()
    try:
        ready.result(LONGEST_WAIT_S)
        yield server
    finally:
        stop.open()
        thread.join(LONGEST_WAIT_S)
