"""State as a whole: the View that a decision gets, and what moves it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from facts import NOON_MS, attempt, attempted, endpoint, exchanged
from fairlead.outside.store import Store
from fairlead.state import State
from fairlead.state.keys import LOCAL, Keys
from fairlead.types.catalog import Catalog
from fairlead.types.decision import Caller, Limits, View

CATALOG = Catalog(endpoints=(endpoint(),))
LIMITED = Caller("k1", "team", limits=Limits(budget_day_nano_usd=100))


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    store = Store(tmp_path / "fairlead.db", asyncio.get_running_loop())
    yield State(CATALOG, store, Keys(b"pepper"), lambda: 0.25)
    await store.close()


async def test_a_view_of_a_fresh_state(state: State) -> None:
    assert state.view(LOCAL, 5.0, NOON_MS) == View(
        now_s=5.0, today="2026-11-24", dice=0.25, catalog=CATALOG, at_ms=NOON_MS
    )


async def test_a_view_stays_as_it_was(state: State) -> None:
    before = state.view(LIMITED, 5.0, NOON_MS)
    state.ledger.hold("a", "r", LIMITED, attempt(60), NOON_MS)
    state.observe(attempted(failure="rate_limit", retry_after_s=9.0), 5.0)
    state.observe(exchanged(), 5.0)
    state.learned.observe("small", 400, 100)
    after = state.view(LIMITED, 5.0, NOON_MS)

    assert (before.vitals, before.chars_per_token, before.affordable_nano_usd) == ({}, {}, 100)
    assert after.vitals["acme/small", "env:A"].gate_until_s == 14.0
    assert after.chars_per_token == {"small": 4.0}
    assert after.affordable_nano_usd == 40


async def test_a_new_catalogue_is_seen_by_all(state: State) -> None:
    state.observe(attempted(), 5.0)
    state.swap(Catalog(generation=1))
    view = state.view(LOCAL, 5.0, NOON_MS)

    assert (view.catalog.generation, view.vitals) == (1, {})
