"""Books that do not balance are seen: what is changed behind the ledger's back is found."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from prove.books import Books

from facts import NOON_MS, attempt, attempted, exchanged
from fairlead.outside.journal import Journal
from fairlead.outside.store import Store
from fairlead.state.ledger import Ledger
from fairlead.types.decision import Caller, Limits

TEAM = Caller("k1", "team", limits=Limits(budget_day_nano_usd=1000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with an attempt that is settled and one that is not, and the journal beside it."""
    database = tmp_path / "fairlead.db"

    async def fill() -> None:
        store = Store(database, asyncio.get_running_loop())
        ledger = Ledger(store)
        ledger.recover(NOON_MS)
        held = [
            ledger.hold(f"{name}.1", name, TEAM, attempt(100), NOON_MS) for name in ("r1", "r2")
        ]
        await ledger.settle(held[0], attempted(cost_nano_usd=60), NOON_MS)
        await held[1].durable
        Journal(store)(exchanged(cost_nano_usd=60))
        await store.flush()
        await store.close()

    asyncio.run(fill())
    return database


def change(path: Path, sql: str) -> Books:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute(sql).rowcount == 1
        database.commit()
    return Books(path)


def test_sound_books_balance(path: Path) -> None:
    books = Books(path)

    assert (books.balances_that_differ(), books.journal_differs_nano_usd()) == (0, 0)
    assert books.open_intents() == 1
    assert books.spent_nano_usd("k1") == books.spent_nano_usd("k1", "month") == 60
    found = books.by_request()
    assert {name: [row.nano_usd for row in rows] for name, rows in found.items()} == {
        "r1": [60],
        "r2": [None],
    }


@pytest.mark.parametrize(
    ("sql", "differ"),
    [
        ("UPDATE spend SET nano = nano + 1 WHERE \"window\" LIKE 'day:%'", 1),
        ("DELETE FROM spend WHERE \"window\" LIKE 'month:%'", 1),
        ("UPDATE settle SET nano = nano - 1", 2),
        ("DELETE FROM settle", 2),
        ("INSERT INTO spend VALUES ('k2', 'day:2026-11-24', 5)", 1),
    ],
)
def test_a_balance_that_is_not_the_sum_of_what_was_settled(
    path: Path, sql: str, differ: int
) -> None:
    assert change(path, sql).balances_that_differ() == differ


def test_a_journal_that_says_another_sum(path: Path) -> None:
    books = change(path, "UPDATE exchange SET cost_nano = 45")

    assert books.journal_differs_nano_usd() == 15


def test_a_settlement_that_is_lost_leaves_its_intent_open(path: Path) -> None:
    assert change(path, "DELETE FROM settle").open_intents() == 2
