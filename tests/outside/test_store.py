"""The store: what is on disk when, who may read it, and what a failing disk does."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from fairlead.outside import database, pepper, store
from fairlead.outside.group import LOTS, Group
from fairlead.outside.schema import LEDGER, MIGRATIONS, Migration
from fairlead.outside.store import Store
from fairlead.types.errors import OurError, Overloaded

ADD = "INSERT OR IGNORE INTO spend VALUES (?, ?, ?)"
COUNT = "SELECT count(*) FROM spend"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "fairlead.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Store]:
    made = Store(path, asyncio.get_running_loop())
    yield made
    await made.close()


def count(opened: Store) -> int:
    return int(opened.read(COUNT)[0][0])


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    with closing(database.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# Files and schema.


async def test_only_the_owner_may_read_it(opened: Store, path: Path) -> None:
    await opened.append_durable(ADD, ("k", "day:x", 1))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(
        ["fairlead.db", "fairlead.db-wal", "fairlead.db-shm", "fairlead.db.lock"], 0o600
    )


def test_what_others_could_read_they_no_longer_can(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    Store(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my shopping list " * 99)

    with pytest.raises(OurError, match=f"^the records cannot be used: {path}: "):
        Store(path)


def test_a_second_open_changes_nothing(path: Path) -> None:
    Store(path)
    rows = [tuple(row) for row in Store(path).read("SELECT number, checksum FROM migrations")]

    assert rows == [(step.number, step.checksum) for step in MIGRATIONS]


@pytest.mark.parametrize(
    ("known", "complaint"),
    [
        pytest.param(
            (),
            "schema 1, made by a newer version of Fairlead; this one knows 0 ",
            id="a newer database",
        ),
        pytest.param(
            (Migration(1, "ledger", ("SELECT 1",)),),
            "step 1 of its schema is not the one known here",
            id="an edited step",
        ),
    ],
)
def test_a_foreign_schema_is_refused(
    path: Path, known: tuple[Migration, ...], complaint: str
) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        database.migrate(db, (LEDGER,))

        with pytest.raises(OurError, match=complaint):
            database.migrate(db, known)


def test_what_is_refused_is_named(path: Path) -> None:
    Store(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO migrations VALUES (99, 'later', '')")

    with pytest.raises(OurError, match=f"^{path}: it has schema 99"):
        Store(path)


def test_a_failing_step_leaves_no_trace() -> None:
    broken = Migration(1, "broken", ("CREATE TABLE a (b)", "CREATE TABLE a (b)"))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            database.migrate(db, (broken,))

        assert db.execute("SELECT * FROM sqlite_schema").fetchall() == []


async def test_there_is_one_server(opened: Store, path: Path) -> None:
    with pytest.raises(OurError, match="another server is using"):
        Store(path, asyncio.get_running_loop())


async def test_a_closed_store_can_be_opened_again(path: Path) -> None:
    for _ in range(2):
        await Store(path, asyncio.get_running_loop()).close()


# Rows.


async def test_rows_that_may_wait_are_made_in_lots(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "TOGETHER", 3)
    monkeypatch.setattr(store, "LINGER_S", 60.0)
    made: list[int] = []

    def row(number: int) -> tuple[str, str, int]:
        made.append(number)
        return (f"k{number}", "day:x", number)

    for number in range(2):
        opened.append_later(ADD, partial(row, number))
    await opened.append_durable(ADD, ("urgent", "day:x", 1))
    assert (made, count(opened)) == ([], 1)

    opened.append_later(ADD, partial(row, 2))
    assert made == [0, 1, 2]

    opened.append_later(ADD, partial(row, 3))
    await opened.flush()
    assert (made, count(opened)) == ([0, 1, 2, 3], 5)


async def test_what_is_awaited_is_on_disk(opened: Store) -> None:
    await opened.append_durable(ADD, ("k", "day:x", 1))

    assert count(opened) == 1


async def test_a_row_joins_the_group_of_one_that_is_awaited(path: Path) -> None:
    groups: list[int] = []
    opened = Store(
        path, asyncio.get_running_loop(), on_commit=lambda seconds, rows, ok: groups.append(rows)
    )
    opened.append(ADD, ("k", "day:x", 1))
    first = opened.append_durable(ADD, ("k", "day:y", 1))
    await asyncio.gather(first, opened.append_durable(ADD, ("k", "day:z", 1)))
    await opened.close()

    assert groups == [3]


async def test_a_row_that_nobody_awaits_is_stored_too(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LINGER_S", 0.0)
    committed = asyncio.Event()
    opened.on_commit = lambda seconds, rows, ok: committed.set()
    opened.append(ADD, ("k", "day:x", 1))
    await asyncio.wait_for(committed.wait(), 5)

    assert count(opened) == 1


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 2 * sum(LOTS) + 1])
async def test_lots_of_every_size_hold_each_row_once(opened: Store, rows: int) -> None:
    for number in range(rows):
        opened.append(ADD, ("k", f"day:{number}", number))
    await opened.flush()
    total = opened.read("SELECT count(*), sum(nano) FROM spend")[0]

    assert tuple(total) == (rows, rows * (rows - 1) // 2)


async def test_close_stores_what_is_left(path: Path) -> None:
    opened = Store(path, asyncio.get_running_loop())
    opened.append(ADD, ("k", "day:x", 1))
    await opened.close()

    assert count(opened) == 1
    with pytest.raises(Overloaded, match="closed"):
        opened.append(ADD, ("k", "day:y", 1))


async def test_one_cancelled_waiter_does_not_disturb_another(opened: Store) -> None:
    left = opened.append_durable(ADD, ("k", "day:x", 1))
    stays = opened.append_durable(ADD, ("k", "day:y", 1))
    left.cancel()
    await stays

    assert count(opened) == 2


async def test_the_queue_is_bounded(path: Path) -> None:
    opened = Store(path, asyncio.get_running_loop(), max_rows=2)
    opened.append(ADD, ("k", "day:1", 1))
    opened.append(ADD, ("k", "day:2", 1))
    with pytest.raises(Overloaded, match="2 records wait"):
        opened.append(ADD, ("k", "day:3", 1))
    await opened.append_durable(ADD, ("k", "day:4", 1))
    opened.append(ADD, ("k", "day:5", 1))
    await opened.close()

    assert count(opened) == 4
    assert opened.rows_waiting == 0


# Failures.


async def test_a_locked_disk_fails_the_waiter_and_keeps_the_row(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)
    opened = Store(path, asyncio.get_running_loop())
    await opened.flush()  # its thread has the database open
    with locked(path):
        with pytest.raises(Overloaded, match="cannot be stored now: database is locked"):
            await opened.append_durable(ADD, ("k", "day:x", 1))
        assert opened.rows_waiting == 1
        with pytest.raises(Overloaded, match="cannot be stored now: database is locked") as wrong:
            opened.check()

    await opened.append_durable(ADD, ("k", "day:y", 1))

    opened.check()
    assert wrong.value.retry_after_s == 1
    assert count(opened) == 2
    assert opened.rows_waiting == 0
    await opened.close()


async def test_a_full_disk_fails_the_waiter_and_keeps_the_row(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[sqlite3.Connection] = []

    def connect(path: Path) -> sqlite3.Connection:
        connections.append(connect_to_write(path))
        return connections[-1]

    connect_to_write = database.connect
    monkeypatch.setattr(database, "connect", connect)
    opened = Store(path, asyncio.get_running_loop())
    await opened.append_durable(ADD, ("k", "day:x", 1))
    writer = connections[-1]
    writer.execute("PRAGMA max_page_count = 1")  # as many as there are now
    with pytest.raises(Overloaded, match="cannot be stored now: database or disk is full"):
        await opened.append_durable(ADD, ("k" * 100_000, "day:y", 1))
    writer.execute("PRAGMA max_page_count = 1000000")
    await opened.flush()

    assert count(opened) == 2
    await opened.close()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(2**70, id="too large for SQLite"),
        pytest.param("\ud800", id="not text that UTF-8 can hold"),
        pytest.param("many", id="of the wrong type"),
    ],
)
async def test_a_row_no_table_takes_fails_alone(opened: Store, value: int | str) -> None:
    good = opened.append_durable(ADD, ("k", "day:x", 1))
    bad = opened.append_durable(ADD, ("k", "day:y", value))
    other = opened.append_durable(ADD, ("k", "day:z", 1))
    results = await asyncio.gather(good, bad, other, return_exceptions=True)

    assert [type(result) for result in results] == [type(None), Overloaded, type(None)]
    assert count(opened) == 2
    assert opened.rows_waiting == 0


async def test_groups_that_join_keep_who_waits_for_what() -> None:
    loop = asyncio.get_running_loop()
    first, later = Group(), Group()
    first.add(ADD, ("a",))
    waits = loop.create_future()
    later.add("other", ("b",))
    later.waiters.append((waits, ADD, later.add(ADD, ("c",))))
    first.join(later)

    assert first.rows == {ADD: [("a",), ("c",)], "other": [("b",)]}
    assert first.waiters == [(waits, ADD, 1)]
    assert first.count == 3


# At once, for commands.


def test_without_a_loop_it_reads_and_writes_at_once(path: Path) -> None:
    opened = Store(path)

    assert opened.write(ADD, ("k", "day:x", 1)) == 1
    assert opened.write(ADD, ("k", "day:x", 1)) == 0
    assert opened.read("SELECT nano FROM spend WHERE key_id = :key", {"key": "k"})[0]["nano"] == 1
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened.read("DELETE FROM spend")
    with pytest.raises(Overloaded, match="closed"):
        opened.append(ADD, ("k", "day:y", 1))


INTENT = "INSERT INTO intent VALUES (?, 'r', 'k', 'e', 'c', 'v', 1, ?, 0)"
SETTLE = (
    "INSERT INTO settle (attempt_id, key_id, day, nano, basis, at_ms)"
    " VALUES (?, 'k', '2026-11-24', 1, 'provider_usage', ?)"
)


def test_prune_forgets_what_is_old_and_settled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PRUNE_ROWS", 2)
    opened = Store(path)
    for attempt, at_ms, settled in [
        *[(f"old {number}", 10, True) for number in range(5)],
        ("old and open", 10, False),
        ("new", 20, True),
    ]:
        opened.write(INTENT, (attempt, at_ms))
        if settled:
            opened.write(SETTLE, (attempt, at_ms))
    deleted = opened.prune(20)
    intents = [row[0] for row in opened.read("SELECT attempt_id FROM intent ORDER BY 1")]
    settles = [row[0] for row in opened.read("SELECT attempt_id FROM settle ORDER BY 1")]

    assert deleted == 10
    assert intents == ["new", "old and open"]
    assert settles == ["new"]
    assert [row["nano"] for row in opened.read("SELECT nano FROM spend")] == [6, 6]


# The pepper.


def test_the_pepper_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "pepper"
    made = pepper.load(path)

    assert len(made) == 32
    assert pepper.load(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["pepper"]


@pytest.mark.parametrize(
    ("mode", "content", "complaint"),
    [
        pytest.param(0o644, b"x" * 32, "may be read by others", id="readable by others"),
        pytest.param(0o600, b"x" * 31, "damaged: 31 bytes", id="cut short"),
    ],
)
def test_a_doubtful_pepper_is_refused(
    tmp_path: Path, mode: int, content: bytes, complaint: str
) -> None:
    path = tmp_path / "pepper"
    path.write_bytes(content)
    path.chmod(mode)

    with pytest.raises(OurError, match=complaint):
        pepper.load(path)


def test_a_pepper_that_keys_were_made_with_is_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "pepper"

    with pytest.raises(OurError, match="pepper is missing"):
        pepper.load(path, in_use=True)

    assert not path.exists()
