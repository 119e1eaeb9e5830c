"""The machine that the gateway runs on: its two clocks, its disk, and the moment it dies.

The disk is a real SQLite database in memory: what was committed is there after a crash, and what
was not is not. The store's writer is the real one, a step at a time, on the loop instead of in a
thread; the names through which modules reach the world are replaced for as long as one simulates.
"""

import asyncio
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import Empty
from typing import Any

from fairlead.outside import store as real_store
from fairlead.outside.database import InUse, migrate
from fairlead.outside.group import Group
from fairlead.outside.schema import MIGRATIONS
from prove.simulation.chance import Chance
from prove.simulation.loop import VirtualLoop

FULL = 13
"""SQLITE_FULL (sqlite.org/rescode.html): may pass."""
KEPT = ("migrations", "counter")


class Crash(SystemExit):
    """The process dies here. A SystemExit, because asyncio lets only those through."""


class Disk:
    """One database for all runs, emptied for each: prepared statements stay prepared."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        migrate(self.connection, MIGRATIONS)
        tables = self.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        self._tables = [name for (name,) in tables.fetchall() if name not in KEPT]
        self.chance = Chance(0)
        self.full_until_s = 0.0
        self.fails_at = -1
        self.commits = 0
        self.crash_at_commit = 0
        self.crash_before = False

    def format(self, chance: Chance) -> None:
        for table in self._tables:
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the schema's own names
        self.chance = chance
        self.full_until_s = 0.0
        self.fails_at = -1
        self.commits = self.crash_at_commit = 0

    def rows(self, sql: str, params: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.connection.execute(sql, params).fetchall()]


class Connection:
    """What the store gets to see of the disk; a full one refuses, at any point of a transaction."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        self._connection = machine.disk.connection

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, params: Any = ()) -> sqlite3.Cursor:
        disk = self._machine.disk
        if sql == "BEGIN IMMEDIATE":
            full = self._machine.now_s() < disk.full_until_s
            disk.fails_at = disk.chance.whole(0, 2) if full else -1
        if disk.fails_at == 0 or (sql == "COMMIT" and disk.fails_at > 0):
            disk.fails_at = -1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = FULL
            raise error
        disk.fails_at -= disk.fails_at > 0
        return self._connection.execute(sql, params)

    def close(self) -> None:
        """The disk stays."""


class Handed:
    """The queue between loop and writer; nobody waits at it, so it says when something comes."""

    def __init__(self) -> None:
        self.groups: deque[Group | None] = deque()
        self.on_put: Callable[[], None] = lambda: None

    def put(self, group: Group | None) -> None:
        self.groups.append(group)
        self.on_put()

    def get(self, timeout: float | None = None) -> Group | None:
        return self.get_nowait()

    def get_nowait(self) -> Group | None:
        if not self.groups:
            raise Empty
        return self.groups.popleft()


class Writer:
    """In the place of the writer's thread: the real steps, each when the disk is so far."""

    def __init__(self, machine: "Machine", store: real_store.Store) -> None:
        self._machine = machine
        self._loop = machine.loop
        self._store = store
        self._connection: Any = Connection(machine)
        queue: Any = store._queue
        self._handed: Handed = queue
        self._handed.on_put = self._wake
        self._kept = Group()
        self._timer: Any = None
        self._retrying = False
        self._told: deque[tuple[Group, str, float]] = deque()
        self._ended = self._loop.create_future()
        self.dead = False

    def start(self) -> None:
        """A thread would."""

    def join(self) -> "asyncio.Future[None]":
        return self._ended

    def _wake(self) -> None:
        if self.dead:
            return
        if self._timer is not None and self._retrying:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._retrying = False
            self._timer = self._loop.call_later(self._machine.disk_delay_s(), self._step)

    def _step(self) -> None:
        self._timer = None
        if self.dead:
            return
        self._machine.committing(before=True)
        self._kept, goes_on = self._store._write_next(self._connection, self._kept, self._tell)
        self._machine.committing(before=False)
        if not goes_on:
            self._ended.set_result(None)
        elif self._handed.groups:
            self._wake()
        elif self._kept.rows:
            self._retrying = True
            self._timer = self._loop.call_later(real_store.RETRY_S, self._step)

    def _tell(self, group: Group, wrong: str, seconds: float) -> None:
        self._told.append((group, wrong, seconds))
        self._loop.call_later(self._machine.disk_delay_s(), self._deliver)

    def _deliver(self) -> None:
        """In the order of the commits, however late each timer fires."""
        group, wrong, seconds = self._told.popleft()
        if not self.dead:
            self._store._tell(group, wrong, seconds)


class Machine:
    """One for all runs: modules keep what they were given, and find the run's loop through it."""

    loop: VirtualLoop

    def __init__(self) -> None:
        self.disk = Disk()
        self.chance = Chance(0)
        self.wall_s = 0.0
        """Unix time minus monotonic time: it jumps when somebody sets the clock."""
        self.slow_disk_s = 0.001
        self.stuck_until_s = 0.0
        self.writer: Writer | None = None
        self.is_locked: Callable[[], bool] = lambda: False

    def boot(self, chance: Chance) -> None:
        self.chance = chance
        self.disk.format(chance)
        self.stuck_until_s = 0.0
        self.is_locked = lambda: False

    def now_s(self) -> float:
        return self.loop.time()

    def unix_s(self) -> float:
        return self.loop.time() + self.wall_s

    def now_ms(self) -> int:
        return int(self.unix_s() * 1000)

    def disk_delay_s(self) -> float:
        waits_s = max(0.0, self.stuck_until_s - self.now_s())
        return waits_s + self.chance.random() * self.slow_disk_s

    def committing(self, before: bool) -> None:
        disk = self.disk
        if before:
            disk.commits += 1
        if disk.commits == disk.crash_at_commit and disk.crash_before is before:
            raise Crash

    async def to_thread(self, blocking: Callable[..., Any], *args: Any) -> Any:
        """What blocks, in a thread of its own."""
        await asyncio.sleep(self.disk_delay_s())
        result = blocking(*args)
        if isinstance(result, asyncio.Future):
            return await result
        await asyncio.sleep(0)
        return result

    def thread(self, target: Any, args: tuple[object, ...], daemon: bool) -> Writer:
        """In the place of ``threading.Thread`` in the store."""
        self.writer = Writer(self, target.__self__)
        return self.writer

    # In the place of ``outside.database`` in the store.

    def create(self, path: object) -> None:
        pass

    InUse = InUse

    def lock(self, path: object) -> int:
        if self.is_locked():
            raise InUse("another process has the lock")
        return -1

    def close(self, descriptor: int) -> None:
        """In the place of ``os.close``: of the lock."""

    def connect(self, path: object) -> Connection:
        return Connection(self)

    connect_to_read = connect


@contextmanager
def in_place_of_the_world(machine: Machine) -> Iterator[None]:
    """Clocks of every module of the gateway, and what the store reaches the system with."""
    clocks: Mapping[object, object] = {
        time.monotonic: machine.now_s,
        time.perf_counter: machine.now_s,
        time.time: machine.unix_s,
    }
    replaced: list[tuple[Any, str, object]] = []

    def replace(module: Any, name: str, by: object) -> None:
        replaced.append((module, name, getattr(module, name)))
        setattr(module, name, by)

    for path, each in list(sys.modules.items()):
        if path.startswith("fairlead."):
            for name, value in list(vars(each).items()):
                if callable(value) and isinstance(value, type(time.time)) and value in clocks:
                    replace(each, name, clocks[value])
    replace(real_store, "Thread", machine.thread)
    replace(real_store, "SimpleQueue", Handed)
    replace(real_store, "database", machine)
    replace(real_store, "os", machine)
    replace(real_store, "to_thread", machine.to_thread)
    try:
        yield
    finally:
        for changed, name, value in replaced:
            setattr(changed, name, value)
