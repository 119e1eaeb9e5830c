"""The ledger against a list of attempts, with a real database below it: whatever is held, settled,
settled again or left open by a death, and wherever the clock goes, memory and disk say what the
list says."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from facts import DAY_MS, attempt, attempted
from fairlead.outside.store import Store
from fairlead.state.ledger import MAX_INTEGER, Hold, Ledger
from fairlead.types.decision import Caller, Limits
from fairlead.types.errors import OverBudget

T = TypeVar("T")

START_MS = 1_796_081_400_000
"""2026-11-30 23:30 UTC: a day and a month are about to end."""
HOUR_MS = 3_600_000

KEYS = ("k1", "k2")
BUDGETS = st.sampled_from([None, 300, 5000, 10**12, 0])
COSTS = st.sampled_from([1, 60, 100, 0, None, 10**20])


@dataclass
class Kept:
    """An attempt, as the list has it."""

    id: str
    key: str
    at_ms: int
    worst: int | None
    cost: int | None = None
    is_open: bool = True
    hold: Hold | None = None

    @property
    def windows(self) -> tuple[str, str]:
        day = datetime.fromtimestamp(self.at_ms / 1000, UTC).date().isoformat()
        return f"day:{day}", f"month:{day[:7]}"

    def settle(self, cost: int | None) -> None:
        """An unknown cost is the reserve, where there is one."""
        self.is_open, self.cost = False, (self.worst or None) if cost is None else cost


class Reference(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.now_ms = self.latest_ms = START_MS
        self.attempts: list[Kept] = []
        self.settlements: list[Awaitable[None]] = []
        self.budgets: dict[str, tuple[int | None, int | None]] = {
            "k1": (300, 5000),
            "k2": (None, 300),
        }
        self.start()

    def start(self) -> None:
        self.store = self.run(self.opened())
        self.ledger = Ledger(self.store)

    async def opened(self) -> Store:
        return Store(Path(self.folder.name) / "fairlead.db", asyncio.get_running_loop())

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    def caller(self, key: str) -> Caller:
        day, month = self.budgets[key]
        limits = Limits(budget_day_nano_usd=day, budget_month_nano_usd=month)
        return Caller(key, key, limits=limits)

    def used(self, key: str, window: str) -> int:
        """Spent and reserved."""
        mine = [of for of in self.attempts if of.key == key and window in of.windows]
        return sum((of.worst if of.is_open else of.cost) or 0 for of in mine)

    def left(self, key: str) -> list[int]:
        now = Kept("", key, self.now_ms, 0).windows
        pairs = zip(now, self.budgets[key], strict=True)
        return [limit - self.used(key, window) for window, limit in pairs if limit is not None]

    @rule(minutes=st.integers(1, 600))
    def wait(self, minutes: int) -> None:
        self.go_to(self.now_ms + minutes * 60_000)

    @rule()
    def wait_for_the_last_minute_of_the_day(self) -> None:
        self.go_to(self.now_ms + DAY_MS - (self.now_ms + 60_000) % DAY_MS)

    @rule()
    def the_clock_jumps_ahead(self) -> None:
        self.go_to(self.now_ms + HOUR_MS)

    @rule()
    def the_clock_jumps_back(self) -> None:
        """Never by more than an hour in all: that is a correction, more is another life."""
        self.go_to(max(self.latest_ms, self.now_ms) - HOUR_MS)

    def go_to(self, now_ms: int) -> None:
        self.now_ms, self.latest_ms = now_ms, max(self.latest_ms, now_ms)

    @rule(key=st.sampled_from(KEYS), day=BUDGETS, month=BUDGETS)
    def budget(self, key: str, day: int | None, month: int | None) -> None:
        self.budgets[key] = day, month

    @rule(key=st.sampled_from(KEYS), worst=COSTS, times=st.integers(1, 4))
    def hold(self, key: str, worst: int | None, times: int) -> None:
        for _ in range(times):
            kept = Kept(f"a{len(self.attempts)}", key, self.now_ms, worst)
            left = self.left(key)
            fits = not left or (worst is not None and worst <= min(left))
            try:
                kept.hold = self.ledger.hold(
                    kept.id, "r1", self.caller(key), attempt(worst), self.now_ms
                )
            except OverBudget:
                assert not fits
            else:
                assert fits
                self.attempts.append(kept)

    @rule(key=st.sampled_from(KEYS), worst=COSTS)
    def hold_and_step_over_midnight_and_back(self, key: str, worst: int | None) -> None:
        self.wait_for_the_last_minute_of_the_day()
        self.hold(key, worst, 1)
        self.the_clock_jumps_ahead()
        self.memory_agrees()
        self.the_clock_jumps_back()

    @precondition(lambda self: any(kept.is_open for kept in self.attempts))
    @rule(which=st.integers(0, 10), cost=COSTS)
    def settle(self, which: int, cost: int | None) -> None:
        open_ = [kept for kept in self.attempts if kept.is_open]
        kept = open_[which % len(open_)]
        kept.settle(cost)
        self.charge(kept, cost)

    @precondition(lambda self: any(kept.hold and not kept.is_open for kept in self.attempts))
    @rule(which=st.integers(0, 10), cost=COSTS)
    def settle_again(self, which: int, cost: int | None) -> None:
        before = self.ledger.repeated_settles
        settled = [kept for kept in self.attempts if kept.hold and not kept.is_open]
        self.charge(settled[which % len(settled)], cost)
        assert self.ledger.repeated_settles == before + 1

    def charge(self, kept: Kept, cost: int | None) -> None:
        assert kept.hold is not None
        hold, fact = kept.hold, attempted(cost_nano_usd=cost)

        async def settle() -> None:
            self.settlements.append(self.ledger.settle(hold, fact, self.now_ms))

        self.run(settle())

    @rule()
    def die(self) -> None:
        """What was left open costs what it had reserved; what is on disk is all there is."""
        self.check_disk()
        self.run(self.store.close())
        self.start()
        orphans = [kept for kept in self.attempts if kept.is_open]
        assert self.ledger.recover(self.now_ms) == len(orphans)
        for kept in orphans:
            kept.is_open, kept.cost = False, kept.worst
        for kept in self.attempts:
            # Of amounts beyond 2^53 the disk knows that they were large.
            kept.hold, kept.cost = None, on_disk(kept.cost)

    @invariant()
    def memory_agrees(self) -> None:
        for key in KEYS:
            left, caller = self.left(key), self.caller(key)
            expected = max(0, min(left)) if left else None
            assert self.ledger.affordable_nano_usd(caller, self.now_ms) == expected
        assert self.ledger.open_holds == sum(kept.is_open for kept in self.attempts)

    def check_disk(self) -> None:
        self.run(asyncio.wait_for(self.flushed(), 30))
        spend, settled = Counter[tuple[str, str]](), {}
        for kept in self.attempts:
            if not kept.is_open:
                settled[kept.id] = on_disk(kept.cost)
                for window in kept.windows:
                    spend[kept.key, window] += settled[kept.id] or 0
        rows = self.store.read('SELECT key_id, "window", nano FROM spend')
        assert {(row[0], row[1]): row[2] for row in rows} == spend
        rows = self.store.read("SELECT attempt_id, nano FROM settle")
        assert {row[0]: row[1] for row in rows} == settled
        assert {row[0] for row in self.store.read("SELECT attempt_id FROM intent")} == {
            kept.id for kept in self.attempts
        }

    async def flushed(self) -> None:
        await self.store.flush()
        for settlement in self.settlements:
            await settlement
        self.settlements.clear()

    def teardown(self) -> None:
        try:
            self.check_disk()
        finally:
            self.run(self.store.close())
            self.loop.close()
            self.folder.cleanup()


def on_disk(cost: int | None) -> int | None:
    return None if cost is None else min(cost, MAX_INTEGER)


TestReference = Reference.TestCase
TestReference.settings = settings(max_examples=settings().max_examples // 2)
