"""The socket in the data folder by which one process takes over from another. Knows no ledger.

    the next one        the one that serves
    TakeOver    ->
                <-      Offer, with its lock and its listening sockets
    Ready       ->      (all is loaded: from now on it asks for money)
                <-      Yours, once all that it holds is on disk
    Serving     ->      (listens no more, finishes what it has)

Either may die at any point: until ``Serving`` the one that serves goes on doing so, and if that one
is dead the next one does. Later the one that has handed over asks whoever serves by then: Borrow,
and Lent or Refused.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from fairlead.types.errors import OurError

MOST_BYTES = 65_536
MOST_SOCKETS = 64
PATH_BYTES = 100
"""The system takes about so many for the address of a socket."""
FOLDERS = Path("/proc/self/fd")
PATIENCE_S = 30.0
MODE = 0o600
FAILED = "the process that serves this folder does not hand over: {}"


class TakeOver(Struct, frozen=True, tag=True):
    pass


class Offer(Struct, frozen=True, tag=True):
    """The lock and the sockets come with it."""

    process: int
    host: str
    port: int
    """What it was told to listen on."""


class Ready(Struct, frozen=True, tag=True):
    pass


class Yours(Struct, frozen=True, tag=True):
    limits: list[tuple[str, str, int, int]]
    """As ``state.limits.Level``: what each key has used of its minute."""


class Serving(Struct, frozen=True, tag=True):
    pass


class Borrow(Struct, frozen=True, tag=True):
    """As ``state.ledger.Wanted``."""

    attempt_id: str
    key_id: str
    worst_nano_usd: int | None
    budget_day_nano_usd: int | None
    budget_month_nano_usd: int | None
    at_ms: int | None = None


class Lent(Struct, frozen=True, tag=True):
    pass


class Refused(Struct, frozen=True, tag=True):
    why: str
    retry_after_s: float | None


Message = TakeOver | Offer | Ready | Yours | Serving | Borrow | Lent | Refused
Said = TypeVar("Said", bound=Message)


class Gone(OurError):
    """The other one ended in the middle of it."""


class NotNow(OurError):
    """The other one does not want to."""


encode = msgspec.json.Encoder().encode


class Talk:
    """A conversation, as the one that serves has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def hear(self, patience_s: float = PATIENCE_S) -> Message | None:
        """None: the other one is gone, says nothing for too long, or makes no sense. It can say
        nothing more then, so that it knows as well as we do whether it was heard."""
        try:
            try:
                async with asyncio.timeout(patience_s):
                    line = await self._reader.readline()
            except TimeoutError:
                with suppress(OSError), self._socket() as connection:  # the other one has left
                    connection.shutdown(socket.SHUT_RD)
                # What it said in time: our own process may have been stopped meanwhile.
                line = await self._reader.readline()
            return decoded(line)
        except (OSError, ValueError, msgspec.DecodeError):
            return None

    async def say(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Raises OSError."""
        line = encode(message) + b"\n"
        if self._writer.is_closing():
            raise ConnectionResetError
        if descriptors:
            # Nothing waits to be written, so the socket takes a line at once.
            with self._socket() as connection:
                socket.send_fds(connection, [line], list(descriptors))
        else:
            self._writer.write(line)
            async with asyncio.timeout(PATIENCE_S):
                await self._writer.drain()

    def _socket(self) -> socket.socket:
        """The same one once more; the loop's own cannot do all."""
        return socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno()))


class Door:
    """Where the next process knocks."""

    def __init__(self, path: Path, meet: Callable[[Talk], Awaitable[None]]) -> None:
        self._path = path
        self._meet = meet
        self._server: asyncio.AbstractServer | None = None
        self._inode = 0
        self._closed = False
        self._talks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """In the place of the door of the process before, in one step; and again in the place of
        one who took ours and died. Raises OSError."""
        if self._closed:
            return
        made = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        made.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        bound.setblocking(False)
        with _short(made) as address:
            bound.bind(address)
        made.chmod(MODE)
        self._inode = made.stat().st_ino
        before, self._server = self._server, await asyncio.start_unix_server(self._met, sock=bound)
        made.rename(self._path)
        if before is not None:
            before.close()

    async def close(self) -> None:
        """Take it away, unless it is another's by now."""
        self._closed = True
        if self._server is None:
            return
        self._server.close()
        for talk in tuple(self._talks):
            talk.cancel()
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            await self._meet(Talk(reader, writer))
        finally:
            self._talks.discard(task)
            writer.close()


async def asked(path: Path, wish: Borrow) -> Message | None:
    """What the process that serves answers. None: nobody, for now."""
    try:
        with _short(path) as address:
            reader, writer = await asyncio.open_unix_connection(address)
        with closing(writer):
            talk = Talk(reader, writer)
            await talk.say(wish)
            return await talk.hear()
    except OSError:
        return None


class Link:
    """The conversation as the next process has it. Each call blocks."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(PATIENCE_S)
        self._descriptors: list[int] = []
        self._rest = b""

    @classmethod
    def to(cls, path: Path) -> "Link | None":
        """None: nobody serves this folder."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(path) as address:
                connection.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise OSError(error.errno, error.strerror, str(path)) from error
        return cls(connection)

    def take_over(self) -> Offer:
        self.say(TakeOver())
        return self.hear(Offer)

    def taken(self) -> tuple[int, list[socket.socket]]:
        """The lock and the sockets, which are the caller's from now on. Raises OurError."""
        if not self._descriptors:
            raise OurError(FAILED.format("it sent no sockets"))
        (lock, *sockets), self._descriptors = self._descriptors, []
        return lock, [socket.socket(fileno=each) for each in sockets]

    def say(self, message: Message) -> None:
        """Raises Gone: then it was not heard, and never will be."""
        try:
            self._connection.sendall(encode(message) + b"\n")
        except OSError as error:
            raise _gone(error) from error

    def hear(self, kind: type[Said]) -> Said:
        """Raises NotNow, Gone, and OurError for another message."""
        try:
            while b"\n" not in self._rest:
                data, descriptors, _, _ = socket.recv_fds(
                    self._connection, MOST_BYTES, MOST_SOCKETS
                )
                self._descriptors += descriptors
                if not data:
                    raise Gone(FAILED.format("it broke off"))
                self._rest += data
            line, _, self._rest = self._rest.partition(b"\n")
            message = decoded(line)
        except OSError as error:
            raise _gone(error) from error
        except (ValueError, msgspec.DecodeError) as error:
            raise OurError(FAILED.format(f"it makes no sense: {error}")) from error
        if isinstance(message, Refused):
            raise NotNow(FAILED.format(message.why))
        if not isinstance(message, kind):
            raise OurError(FAILED.format(f"it says {type(message).__name__}"))
        return message

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # for who listens in another thread
        self._connection.close()
        for each in self._descriptors:
            os.close(each)
        self._descriptors = []


def _gone(error: OSError) -> Gone:
    silent = isinstance(error, TimeoutError)
    return Gone(FAILED.format("it says nothing" if silent else "it broke off"))


def decoded(line: bytes) -> Message:
    """Raises DecodeError."""
    message: Message = msgspec.json.decode(line, type=Message)
    return message


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address for a socket in a folder, however deep that is."""
    if len(os.fsencode(path)) < PATH_BYTES or not FOLDERS.exists():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(FOLDERS / str(folder) / path.name)
    finally:
        os.close(folder)
