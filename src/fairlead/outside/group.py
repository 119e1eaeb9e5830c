"""Rows that are committed together, and how. Knows no thread and no loop.

Each call into SQLite gives up the interpreter's lock and must win it back from a busy loop, for up
to 5 ms each time. So rows of one statement go in as few calls as possible: measured under a busy
loop, 64 requests' rows took 200 ms one by one and 27 ms in lots.
"""

import sqlite3
from asyncio import Future
from collections.abc import Callable
from functools import cache
from itertools import chain

Value = str | int | float | bytes | None
Params = tuple[Value, ...]

LOTS = (64, 32, 16, 8, 4, 2, 1)
"""Rows to a statement: few sizes, so that each is prepared once and kept by the connection."""

# Primary result codes for a state of the machine that may pass: busy, locked, no memory,
# read-only, I/O error, full, cannot open (sqlite.org/rescode.html).
PASSING = frozenset({5, 6, 7, 8, 10, 13, 14})


class Group:
    """``rows`` by statement, and who waits: a future for row number ``index`` of a statement."""

    __slots__ = ("count", "refused", "rows", "waiters")

    def __init__(self) -> None:
        self.rows: dict[str, list[Params]] = {}
        self.waiters: list[tuple[Future[None], str, int]] = []
        self.refused: set[tuple[str, int]] = set()
        self.count = 0

    def add(self, statement: str, params: Params) -> int:
        """Returns the row's index among those of its statement."""
        self.count += 1
        rows = self.rows.get(statement)
        if rows is None:
            self.rows[statement] = [params]
            return 0
        rows.append(params)
        return len(rows) - 1

    def join(self, later: "Group") -> None:
        """Take in the rows and waiters of a later group, behind our own."""
        before = {statement: len(rows) for statement, rows in self.rows.items()}
        for statement, rows in later.rows.items():
            self.rows.setdefault(statement, []).extend(rows)
        for future, statement, index in later.waiters:
            self.waiters.append((future, statement, index + before.get(statement, 0)))
        self.count += later.count

    def unwaited(self) -> "Group":
        """The same rows, with nobody waiting."""
        group = Group()
        group.rows, group.count = self.rows, self.count
        return group


def commit(connection: sqlite3.Connection, group: Group) -> str:
    """Store the group in one transaction. Returns what is wrong when the machine cannot store it
    now, else "". Rows that no table takes are left out and named in ``refused``."""
    if not group.rows:
        return ""
    try:
        _transact(connection, group, _insert_in_lots)
    except (sqlite3.Error, OverflowError, ValueError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSING:
            return str(error)
    else:
        return ""
    try:
        _transact(connection, group, _insert_singly)
    except sqlite3.Error as error:
        return str(error)
    return ""


def _transact(
    connection: sqlite3.Connection,
    group: Group,
    insert: Callable[[sqlite3.Connection, Group], None],
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        insert(connection, group)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _insert_in_lots(connection: sqlite3.Connection, group: Group) -> None:
    for statement, rows in group.rows.items():
        start, left = 0, len(rows)
        while left:
            lot = next(size for size in LOTS if size <= left)
            values = list(chain.from_iterable(rows[start : start + lot]))
            connection.execute(_of_rows(statement, lot), values)
            start, left = start + lot, left - lot


@cache
def _of_rows(statement: str, lot: int) -> str:
    """``INSERT ... VALUES (?, ?)`` for so many rows."""
    _, _, row = statement.partition("VALUES ")
    if not row or not set(row) <= set("(?, )"):
        raise ValueError(f"a statement must end in its VALUES (?, ...): {statement}")
    return statement + f", {row}" * (lot - 1)


def _insert_singly(connection: sqlite3.Connection, group: Group) -> None:
    for statement, rows in group.rows.items():
        for index, params in enumerate(rows):
            try:
                connection.execute(statement, params)
            except (sqlite3.Error, OverflowError, ValueError) as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSING:
                    raise
                group.refused.add((statement, index))
