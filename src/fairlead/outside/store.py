"""The embedded store: one writer thread, rows committed in groups. Knows no table of any room.

The loop gathers rows. A row that somebody waits for is handed to the writer at the end of the
loop's current round, together with all gathered by then; others wait up to LINGER_S for company.
While the writer commits, the next group grows: the busier, the larger the groups.
"""

import os
import sqlite3
from asyncio import AbstractEventLoop, Future, to_thread
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter

from fairlead.outside import database
from fairlead.outside.group import Group, Params, Value, commit
from fairlead.types.errors import Overloaded

LINGER_S = 0.05
TOGETHER = 64
"""Rows made in one go: in a row they take half as long as one by one, between two requests."""
RETRY_S = 1.0
PRUNE_ROWS = 2000

PRUNED = (
    (
        "SELECT request_id FROM exchange WHERE at_ms < ? LIMIT ?",
        "DELETE FROM exchange WHERE request_id = ?",
    ),
    (
        "SELECT attempt_id FROM intent JOIN settle USING (attempt_id)"
        " WHERE intent.at_ms < ? LIMIT ?",
        "DELETE FROM intent WHERE attempt_id = ?",
    ),
    (
        "SELECT settle.attempt_id FROM settle LEFT JOIN intent USING (attempt_id)"
        " WHERE intent.attempt_id IS NULL AND settle.at_ms < ? LIMIT ?",
        "DELETE FROM settle WHERE attempt_id = ?",
    ),
)
"""In steps, so that the writer gets in between. An intent goes before its settle: a settle alone
is history, an intent alone would be settled again."""


class Store:
    """With a loop it is the server's, and the only one; without, it only reads and writes at
    once. ``read``, ``write`` and ``prune`` may be called from any thread, the rest from the loop's.
    """

    def __init__(
        self,
        path: Path,
        loop: AbstractEventLoop | None = None,
        *,
        lock: int | None = None,
        max_rows: int = 50_000,
        on_commit: Callable[[float, int, bool], None] | None = None,
    ) -> None:
        """``on_commit`` is told of each group, on the loop: seconds, rows, whether all were
        stored. ``lock`` is the database's, from the server before. Without, raises OurError when
        another server has the database."""
        database.create(path)
        self.path = path
        self.on_commit = on_commit
        self._max_rows = max_rows
        self._waiting = 0
        self._wrong = ""
        """Why the last rows could not be stored; they are tried again."""
        self._group = Group()
        self._unmade: list[tuple[str, Callable[[], Params | None]]] = []
        self._urgent = self._lingering = False
        self._queue: SimpleQueue[Group | None] = SimpleQueue()
        self._loop = loop
        self.lock: int | None = None
        if loop is not None:
            self.lock = database.lock(path) if lock is None else lock
            # A daemon: a process that dies without close must not wait for ever on its queue.
            self._thread = Thread(target=self._write_groups, args=(loop,), daemon=True)
            self._thread.start()

    @property
    def rows_waiting(self) -> int:
        return self._waiting

    def check(self) -> None:
        """Raises Overloaded while the disk takes nothing: what would have to be stored had better
        not begin."""
        if self._wrong:
            raise Overloaded(f"records cannot be stored now: {self._wrong}", retry_after_s=1)

    def append(self, statement: str, params: Params) -> None:
        """Store a row within LINGER_S. Raises Overloaded when too many wait.

        The statement ends in ``VALUES (?, ...)`` and bears repetition (``INSERT OR IGNORE``).
        Rows of different statements may change places within a group.
        """
        self._make_room()
        self._group.add(statement, params)

    def append_later(self, statement: str, make: Callable[[], Params | None]) -> None:
        """As ``append``, but the row is made together with others. ``make`` must not raise, and
        may think better of it: None. Raises Overloaded."""
        self._make_room()
        self._unmade.append((statement, make))
        if len(self._unmade) >= TOGETHER:
            self._make_rows()

    def append_durable(self, statement: str, params: Params) -> "Future[None]":
        """Store a row now. The future resolves once it is on disk, or holds Overloaded.

        Never refuses for want of room: who waits limits himself, and a settled amount must not
        get lost. A row that failed for a full or locked disk is kept and tried again.
        """
        future: Future[None] = self._running().create_future()
        self._waiting += 1
        self._group.waiters.append((future, statement, self._group.add(statement, params)))
        self._hurry()
        return future

    def flush(self) -> "Future[None]":
        """Resolves once everything appended so far is on disk."""
        future: Future[None] = self._running().create_future()
        self._make_rows()
        self._group.waiters.append((future, "", 0))
        self._hurry()
        return future

    def read(self, sql: str, params: Params | Mapping[str, Value] = ()) -> list[sqlite3.Row]:
        """Blocks, on a connection of its own that cannot write."""
        with closing(database.connect_to_read(self.path)) as connection:
            return connection.execute(sql, params).fetchall()

    def write(self, sql: str, params: Params = ()) -> int:
        """Execute at once and durably, past the queue; returns how many rows changed. Blocks: for
        commands and the start. Raises sqlite3.IntegrityError."""
        with closing(database.connect(self.path)) as connection:
            return connection.execute(sql, params).rowcount

    def prune(self, before_ms: int) -> int:
        """Forget exchanges and settled attempts from before then; returns how many rows. What
        each key spent in a day or month stays. Blocks: not for the loop's thread."""
        deleted = 0
        with closing(database.connect(self.path)) as connection:
            for select, delete in PRUNED:
                while rows := connection.execute(select, (before_ms, PRUNE_ROWS)).fetchall():
                    connection.execute("BEGIN IMMEDIATE")
                    deleted += connection.executemany(delete, rows).rowcount
                    connection.execute("COMMIT")
        return deleted

    async def close(self) -> None:
        """Store what is left, then let go of the database. Later appends raise Overloaded."""
        if self._loop is None:
            return
        self._make_rows()
        self._hand_over()
        self._loop = None
        self._queue.put(None)
        await to_thread(self._thread.join)
        self.unlock()

    def unlock(self) -> None:
        """Another server has the lock as well, or may have it. What we still have to store is
        stored beside its rows."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def is_alone(self) -> bool:
        """Whether nobody else has the lock. One that we were given is the giver's as well for as
        long as that lives, so this takes it anew; False: it is not ours any more."""
        self.unlock()
        try:
            self.lock = database.lock(self.path)
        except database.InUse:
            return False
        return True

    def _make_room(self) -> None:
        """For a row that nobody waits for."""
        if self._waiting >= self._max_rows:
            raise Overloaded(f"{self._waiting} records wait to be stored")
        loop = self._running()
        self._waiting += 1
        if not self._lingering:
            self._lingering = True
            loop.call_later(LINGER_S, self._linger_over)

    def _running(self) -> AbstractEventLoop:
        if self._loop is None:
            raise Overloaded("the store is closed")
        return self._loop

    def _hurry(self) -> None:
        if not self._urgent:
            self._urgent = True
            self._running().call_soon(self._hand_over)

    def _linger_over(self) -> None:
        self._lingering = False
        self._make_rows()
        self._hand_over()

    def _make_rows(self) -> None:
        unmade, self._unmade = self._unmade, []
        for statement, make in unmade:
            row = make()
            if row is None:
                self._waiting -= 1
            else:
                self._group.add(statement, row)

    def _hand_over(self) -> None:
        self._urgent = False
        if self._group.rows or self._group.waiters:
            self._queue.put(self._group)
            self._group = Group()

    def _tell(self, group: Group, wrong: str, seconds: float) -> None:
        """Back on the loop: the group was committed, or not."""
        if group.count:
            self._wrong = wrong
        if not wrong:
            self._waiting -= group.count
        if self.on_commit is not None and group.count:
            self.on_commit(seconds, group.count, not wrong and not group.refused)
        for future, statement, index in group.waiters:
            if future.done():  # who waited was cancelled
                continue
            if wrong:
                _fail(future, f"records cannot be stored now: {wrong}")
            elif group.refused and (statement, index) in group.refused:
                _fail(future, "this record cannot be stored")
            else:
                future.set_result(None)

    # Below: the writer's thread.

    def _write_groups(self, loop: AbstractEventLoop) -> None:
        def tell(group: Group, wrong: str, seconds: float) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._tell, group, wrong, seconds)

        kept, open_ = Group(), True
        with closing(database.connect(self.path)) as connection:
            while open_:
                kept, open_ = self._write_next(connection, kept, tell)

    def _write_next(
        self,
        connection: sqlite3.Connection,
        kept: Group,
        tell: Callable[[Group, str, float], None],
    ) -> tuple[Group, bool]:
        """Commit what was handed over, behind what was ``kept``. What is to be kept now, and
        whether more may come. A step of its own, so that no thread is needed to take it."""
        group, open_ = self._next_group(kept)
        began = perf_counter()
        wrong = commit(connection, group)
        tell(group, wrong, perf_counter() - began)
        return group.unwaited() if wrong else Group(), open_

    def _next_group(self, group: Group) -> tuple[Group, bool]:
        """All that was handed over, behind what ``group`` could not store before. False: the
        last one."""
        try:
            handed = self._queue.get(timeout=RETRY_S if group.rows else None)
            while handed is not None:
                group.join(handed)
                handed = self._queue.get_nowait()
        except Empty:
            return group, True
        return group, False


def _fail(future: "Future[None]", message: str) -> None:
    future.set_exception(Overloaded(message))
    future.exception()  # seen: a caller who left must not fill the loop's log
