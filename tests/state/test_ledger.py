"""The ledger: what may be spent, what was, and what a death in between leaves."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts import DAY_MS, NOON_MS, attempt, attempted
from fairlead.outside.store import Store
from fairlead.state.ledger import AT_ONCE, SETTLED, Hold, Ledger, Wanted
from fairlead.state.windows import windows_at
from fairlead.types.chat import Usage
from fairlead.types.decision import Caller, Limits
from fairlead.types.errors import OurError, OverBudget, Overloaded

MONTH_END_MS = 1_796_083_200_000
"""2026-12-01 00:00 UTC."""

FREE = Caller("free", "free")


def caller(day: int | None = None, month: int | None = None) -> Caller:
    return Caller("k1", "team", limits=Limits(budget_day_nano_usd=day, budget_month_nano_usd=month))


TEAM = caller(day=100)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    made = Ledger(store)
    made.recover(NOON_MS)
    return made


def hold(
    ledger: Ledger, by: Caller, worst: int | None, now_ms: int = NOON_MS, name: str = "a"
) -> Hold:
    return ledger.hold(name, "r1", by, attempt(worst), now_ms)


def spend(store: Store) -> dict[tuple[str, str], int]:
    rows = store.read('SELECT key_id, "window", nano FROM spend')
    return {(row[0], row[1]): row[2] for row in rows}


# What may be spent.


@pytest.mark.parametrize(
    ("limits", "worst", "left"),
    [
        pytest.param(caller(day=100), 100, 0, id="exactly the budget fits"),
        pytest.param(caller(day=100, month=1000), 60, 40, id="the day is the tightest"),
        pytest.param(caller(day=1000, month=100), 60, 40, id="the month is the tightest"),
        pytest.param(caller(day=0), 0, 0, id="what is free fits an empty budget"),
        pytest.param(FREE, 60, None, id="no budget"),
    ],
)
async def test_a_hold_reserves_the_worst_cost(
    ledger: Ledger, limits: Caller, worst: int, left: int | None
) -> None:
    hold(ledger, limits, worst)

    assert ledger.affordable_nano_usd(limits, NOON_MS) == left


@pytest.mark.parametrize(
    ("limits", "worst", "message", "retry_after_s"),
    [
        pytest.param(
            caller(day=100, month=1000),
            101,
            "the day's budget of this key has $0.0000001 left and the request may cost"
            " $0.000000101; it resets at 2026-11-25 00:00 UTC",
            43_200,
            id="the day",
        ),
        pytest.param(
            caller(day=1000, month=100),
            101,
            "the month's budget of this key has $0.0000001 left and the request may cost"
            " $0.000000101; it resets at 2026-12-01 00:00 UTC",
            (MONTH_END_MS - NOON_MS) / 1000,
            id="the month",
        ),
        pytest.param(
            caller(day=100, month=100),
            101,
            "the month's budget of this key has $0.0000001 left and the request may cost"
            " $0.000000101; it resets at 2026-12-01 00:00 UTC",
            (MONTH_END_MS - NOON_MS) / 1000,
            id="both: the one that resets last",
        ),
        pytest.param(
            caller(day=0),
            1,
            "the day's budget of this key has $0 left and the request may cost $0.000000001;"
            " it resets at 2026-11-25 00:00 UTC",
            43_200,
            id="a budget of nothing",
        ),
        pytest.param(
            caller(day=100),
            None,
            "this key has a budget, and the price of the model is unknown",
            None,
            id="an unknown price is not free",
        ),
        pytest.param(
            caller(day=100),
            10**30,
            "the day's budget of this key has $0.0000001 left and the request may cost"
            " $1000000000000000000000; it resets at 2026-11-25 00:00 UTC",
            43_200,
            id="an absurd request",
        ),
    ],
)
async def test_over_budget_reserves_nothing(
    ledger: Ledger, limits: Caller, worst: int | None, message: str, retry_after_s: float | None
) -> None:
    before = ledger.affordable_nano_usd(limits, NOON_MS)
    with pytest.raises(OverBudget) as refusal:
        hold(ledger, limits, worst)

    assert refusal.value.message == message
    assert refusal.value.retry_after_s == retry_after_s
    assert not refusal.value.retryable
    assert ledger.affordable_nano_usd(limits, NOON_MS) == before
    assert ledger.open_holds == 0


async def test_who_is_refused_hears_of_what_is_set_aside(ledger: Ledger) -> None:
    held = hold(ledger, TEAM, 90)
    meanwhile, afterwards = OverBudget("no"), OverBudget("no")
    ledger.tell_of_holds(meanwhile, TEAM, NOON_MS)
    await ledger.settle(held, attempted(cost_nano_usd=90), NOON_MS)
    ledger.tell_of_holds(afterwards, TEAM, NOON_MS)

    assert "0.00000009 USD are set aside for requests that run" in meanwhile.message
    assert (meanwhile.retryable, afterwards.retryable) == (True, False)
    assert afterwards.message == "no"


async def test_of_400_at_once_exactly_those_the_budget_affords(
    ledger: Ledger, store: Store
) -> None:
    limited, admitted = caller(day=37 * 100), []

    async def ask(number: int) -> None:
        await asyncio.sleep(0)
        try:
            holding = hold(ledger, limited, 100, name=f"a{number}")
        except OverBudget:
            return
        admitted.append(number)
        await holding.durable
        await ledger.settle(holding, attempted(cost_nano_usd=100), NOON_MS)

    await asyncio.gather(*(ask(number) for number in range(400)))

    assert len(admitted) == 37
    assert spend(store) == {("k1", "day:2026-11-24"): 3700, ("k1", "month:2026-11"): 3700}


async def test_one_key_does_not_spend_anothers_budget(ledger: Ledger) -> None:
    other = Caller("k2", "other", limits=Limits(budget_day_nano_usd=100))
    hold(ledger, caller(day=100), 100)

    assert ledger.affordable_nano_usd(other, NOON_MS) == 100


# Windows.


async def test_a_new_day_has_a_new_budget_and_the_same_month(ledger: Ledger) -> None:
    limited = caller(day=100, month=150)
    await ledger.settle(hold(ledger, limited, 100), attempted(cost_nano_usd=100), NOON_MS)

    assert ledger.affordable_nano_usd(limited, NOON_MS) == 0
    assert ledger.affordable_nano_usd(limited, NOON_MS + DAY_MS) == 50
    assert ledger.affordable_nano_usd(limited, MONTH_END_MS) == 100
    assert ledger.today(MONTH_END_MS) == "2026-12-01"


async def test_an_answer_across_midnight_is_charged_to_the_day_that_admitted_it(
    ledger: Ledger, store: Store
) -> None:
    limited = caller(day=100, month=150)
    held = hold(ledger, limited, 100)
    tomorrow_ms = NOON_MS + DAY_MS

    assert ledger.affordable_nano_usd(limited, tomorrow_ms) == 50
    await ledger.settle(held, attempted(cost_nano_usd=30), tomorrow_ms)
    assert ledger.affordable_nano_usd(limited, tomorrow_ms) == 100
    assert ledger.affordable_nano_usd(limited, NOON_MS) == 70
    assert spend(store) == {("k1", "day:2026-11-24"): 30, ("k1", "month:2026-11"): 30}


async def test_a_clock_that_steps_over_midnight_and_back_forgets_nothing(ledger: Ledger) -> None:
    limited = caller(day=100)
    ledger.settle(hold(ledger, limited, 100), attempted(cost_nano_usd=60), NOON_MS)
    hold(ledger, limited, 10, name="b")
    ledger.today(NOON_MS + DAY_MS)

    assert ledger.affordable_nano_usd(limited, NOON_MS) == 30


async def test_what_is_held_stays_held_wherever_the_clock_goes(ledger: Ledger) -> None:
    limited = caller(day=100)
    held = hold(ledger, limited, 70)
    for days in (1, 2, 3):
        ledger.today(NOON_MS + days * DAY_MS)

    assert ledger.affordable_nano_usd(limited, NOON_MS) == 30
    ledger.settle(held, attempted(cost_nano_usd=60), NOON_MS)
    for days in (1, 2, 3):
        ledger.today(NOON_MS + days * DAY_MS)
    assert ledger.affordable_nano_usd(limited, NOON_MS) == 40, "not on disk yet"


@given(st.integers(0, 4_000_000_000_000))
def test_windows_hold_their_instant(now_ms: int) -> None:
    windows = windows_at(now_ms)

    assert windows.from_ms <= now_ms < windows.until_ms <= windows.month_until_ms
    assert windows.until_ms - windows.from_ms == DAY_MS
    assert windows_at(windows.until_ms).from_ms == windows.until_ms
    assert windows_at(windows.month_until_ms - 1).month == windows.month
    assert windows_at(windows.month_until_ms).month != windows.month


# What was spent.


@pytest.mark.parametrize(
    ("cost", "left", "row"),
    [
        pytest.param(60, 40, 60, id="less than reserved: the rest is given back"),
        pytest.param(0, 100, 0, id="nothing"),
        pytest.param(130, 0, 130, id="more than reserved: recorded as it is"),
        pytest.param(None, 0, 100, id="unknown: the reserve is charged"),
    ],
)
async def test_a_settle_replaces_the_reserve_by_the_cost(
    ledger: Ledger, store: Store, cost: int | None, left: int, row: int
) -> None:
    limited = caller(day=100)
    await ledger.settle(hold(ledger, limited, 100), attempted(cost_nano_usd=cost), NOON_MS)

    assert ledger.affordable_nano_usd(limited, NOON_MS) == left
    assert [tuple(row) for row in store.read("SELECT nano FROM settle")] == [(row,)]
    assert spend(store)["k1", "day:2026-11-24"] == row


async def test_debt_lasts_until_its_window_ends(ledger: Ledger) -> None:
    limited = caller(day=100)
    await ledger.settle(hold(ledger, limited, 100), attempted(cost_nano_usd=130), NOON_MS)
    with pytest.raises(OverBudget, match="has \\$0 left"):
        hold(ledger, limited, 1)

    hold(ledger, limited, 100, NOON_MS + DAY_MS)


async def test_what_is_on_record(ledger: Ledger, store: Store) -> None:
    usage = Usage(10, 50, cached_read_tokens=3, cached_write_tokens=2, reasoning_tokens=7)
    held = hold(ledger, FREE, 100)
    await held.durable
    await ledger.settle(held, attempted(usage=usage), NOON_MS + 5)
    intent = dict(store.read("SELECT * FROM intent")[0])
    settle = dict(store.read("SELECT * FROM settle")[0])

    assert intent == {
        "attempt_id": "a",
        "request_id": "r1",
        "key_id": "free",
        "endpoint": "acme/small",
        "credential": "env:A",
        "price_version": "list 7",
        "reserved_nano": 100,
        "at_ms": NOON_MS,
        "lease_until_ms": NOON_MS + 3_600_000,
    }
    assert settle == {
        "attempt_id": "a",
        "key_id": "free",
        "day": "2026-11-24",
        "nano": 60,
        "input_tokens": 10,
        "output_tokens": 50,
        "cached_read_tokens": 3,
        "cached_write_tokens": 2,
        "reasoning_tokens": 7,
        "basis": "provider_usage",
        "at_ms": NOON_MS + 5,
    }


async def test_an_intent_is_on_disk_once_it_is_durable(ledger: Ledger, store: Store) -> None:
    await hold(ledger, caller(day=100), 100).durable

    assert len(store.read("SELECT * FROM intent")) == 1


async def test_a_second_settle_changes_nothing_and_is_counted(ledger: Ledger, store: Store) -> None:
    limited = caller(day=100)
    held = hold(ledger, limited, 100)
    ledger.settle(held, attempted(cost_nano_usd=60), NOON_MS)
    await ledger.settle(held, attempted(cost_nano_usd=90), NOON_MS)

    assert ledger.repeated_settles == 1
    assert ledger.affordable_nano_usd(limited, NOON_MS) == 40
    assert spend(store)["k1", "day:2026-11-24"] == 60


async def test_an_attempt_is_held_once(ledger: Ledger) -> None:
    hold(ledger, FREE, 100)
    with pytest.raises(OurError, match="already open"):
        hold(ledger, FREE, 100)


async def test_lies_about_tokens_are_recorded_as_large(ledger: Ledger, store: Store) -> None:
    for number in range(2):
        held = hold(ledger, FREE, 10**40, name=f"a{number}")
        fact = attempted(usage=Usage(10**30, 1), cost_nano_usd=10**40)
        await ledger.settle(held, fact, NOON_MS)
    row = store.read("SELECT sum(nano), max(input_tokens), max(output_tokens) FROM settle")[0]

    assert tuple(row) == (2 * 2**53, 2**53, 1)


async def test_a_full_store_refuses_before_it_reserves(tmp_path: Path) -> None:
    store = Store(tmp_path / "fairlead.db", asyncio.get_running_loop(), max_rows=0)
    ledger = Ledger(store)
    with pytest.raises(Overloaded):
        hold(ledger, FREE, 100)

    assert ledger.open_holds == 0
    await store.close()


async def test_where_nothing_was_reserved_an_unknown_cost_is_no_amount(
    ledger: Ledger, store: Store
) -> None:
    await ledger.settle(hold(ledger, FREE, None), attempted(cost_nano_usd=None), NOON_MS)

    assert [tuple(row) for row in store.read("SELECT nano FROM settle")] == [(None,)]


# A death in between.


async def test_the_next_start_settles_orphans_at_their_reserve(store: Store) -> None:
    limited, before = caller(day=1000), Ledger(store)
    await before.settle(hold(before, limited, 50, name="done"), attempted(), NOON_MS)
    hold(before, limited, 70, name="orphan")
    hold(before, FREE, None, name="unpriced")
    await store.flush()
    ledger = Ledger(store)
    recovered = ledger.recover(NOON_MS + 5)
    query = "SELECT attempt_id, nano, basis, at_ms FROM settle ORDER BY nano NULLS FIRST"
    rows = [tuple(row) for row in store.read(query)]

    assert recovered == 2
    assert rows == [
        ("unpriced", None, "price_unknown", NOON_MS + 5),
        ("done", 60, "provider_usage", NOON_MS),
        ("orphan", 70, "lease_expired_max", NOON_MS + 5),
    ]
    assert ledger.affordable_nano_usd(limited, NOON_MS) == 1000 - 60 - 70
    assert ledger.recover(NOON_MS + 6) == 0
    assert ledger.affordable_nano_usd(limited, NOON_MS) == 1000 - 60 - 70


async def test_a_settle_that_comes_after_all_changes_nothing(store: Store) -> None:
    before, limited = Ledger(store), caller(day=1000)
    held = hold(before, limited, 70)
    await store.flush()
    Ledger(store).recover(NOON_MS)
    await before.settle(held, attempted(cost_nano_usd=60), NOON_MS)

    assert [tuple(row) for row in store.read("SELECT nano FROM settle")] == [(70,)]
    assert spend(store)["k1", "day:2026-11-24"] == 70


UNEQUAL = """
SELECT * FROM
  (SELECT key_id, 'day:' || day AS "window", sum(nano) AS settled FROM settle GROUP BY 1, 2
   UNION ALL SELECT key_id, 'month:' || substr(day, 1, 7), sum(nano) FROM settle GROUP BY 1, 2)
  FULL JOIN spend USING (key_id, "window")
WHERE settled IS NOT nano
"""
OPEN = "SELECT count(*) FROM intent LEFT JOIN settle USING (attempt_id) WHERE basis IS NULL"


def test_ten_deaths_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.db"
    acknowledged: dict[str, tuple[str, int]] = {}
    victim = [sys.executable, str(Path(__file__).with_name("ledger_victim.py")), str(path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    for life in range(10):
        with subprocess.Popen(
            [*victim, str(life)], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(50 + 37 * life % 100)]
            process.kill()
            lines += process.stdout.read().splitlines(keepends=True)
        for line in lines:
            name, key, cost = line.decode().split()
            acknowledged[name] = (key, int(cost))
    store = Store(path)
    left_open = store.read(OPEN)[0][0]
    orphans = Ledger(store).recover(NOON_MS)
    rows = store.read("SELECT attempt_id, key_id, nano, basis FROM settle")
    settled = {row[0]: (row[1], row[2]) for row in rows if row[3] == "provider_usage"}
    expired = {row[2] for row in rows if row[3] == "lease_expired_max"}

    assert len(acknowledged) >= 500
    assert {name: settled.get(name) for name in acknowledged} == acknowledged
    assert [tuple(row) for row in store.read(UNEQUAL)] == []
    assert orphans == left_open
    assert expired == {1000}
    assert store.read(OPEN)[0][0] == 0


# Two processes, while one takes over from the other.


class Serving:
    """The ledger that serves, as the one that has handed over asks it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.noted: list[str] = []

    def note(self, attempt_id: str) -> None:
        self.noted.append(attempt_id)

    async def ask(self, wanted: Wanted) -> None:
        self.ledger.grant(wanted, NOON_MS)


async def handed_over(old: Ledger, store: Store) -> tuple[Ledger, Serving]:
    """A second ledger on the same database, which serves from now on."""
    new = Ledger(store)
    serving = Serving(new)
    old.lend(serving)
    await store.flush()
    new.recover(NOON_MS, old.open_attempts, dead=())
    return new, serving


def follow(ledger: Ledger, store: Store) -> None:
    ledger.follow(store.read(SETTLED, (json.dumps(ledger.inherited),)))


def left(ledger: Ledger, of: Caller) -> int | None:
    return ledger.affordable_nano_usd(of, NOON_MS)


async def test_what_the_old_one_holds_is_reserved_in_the_new_one(
    ledger: Ledger, store: Store
) -> None:
    held = hold(ledger, TEAM, 60)
    await ledger.settle(hold(ledger, TEAM, 30, name="b"), attempted(cost_nano_usd=5), NOON_MS)

    new, _ = await handed_over(ledger, store)
    assert left(new, TEAM) == 100 - 5 - 60
    with pytest.raises(OverBudget):
        hold(new, TEAM, 36, name="c")

    await ledger.settle(held, attempted(cost_nano_usd=20), NOON_MS)
    assert left(new, TEAM) == 35, "until it has been read"
    for _ in range(2):
        follow(new, store)
        assert left(new, TEAM) == 100 - 5 - 20
    assert new.inherited == ()


async def test_the_new_one_settles_nothing_that_the_old_one_still_has(
    ledger: Ledger, store: Store
) -> None:
    held = hold(ledger, TEAM, 60)
    await handed_over(ledger, store)

    assert store.read("SELECT * FROM settle") == []
    await ledger.settle(held, attempted(cost_nano_usd=20), NOON_MS)
    assert spend(store) == {("k1", "day:2026-11-24"): 20, ("k1", "month:2026-11"): 20}


async def test_a_start_settles_what_nobody_has(ledger: Ledger, store: Store) -> None:
    """The one that served was killed, while the one before it still finished its requests."""
    hold(ledger, TEAM, 60, name="still runs")
    hold(ledger, TEAM, 30, name="orphan")
    await store.flush()

    new = Ledger(store)
    assert new.recover(NOON_MS, ["still runs"]) == 1

    assert left(new, TEAM) == 100 - 60 - 30
    assert new.inherited == ("still runs",)
    assert [row[0] for row in store.read("SELECT attempt_id FROM settle")] == ["orphan"]


@pytest.mark.parametrize(
    ("worst", "spent_since", "granted"),
    [
        pytest.param(40, 60, True, id="exactly what is left"),
        pytest.param(41, 60, False, id="more than is left"),
        pytest.param(None, 0, False, id="an unknown price"),
    ],
)
async def test_a_late_attempt_is_granted_by_the_one_that_serves(
    ledger: Ledger, store: Store, worst: int | None, spent_since: int, granted: bool
) -> None:
    new, serving = await handed_over(ledger, store)
    await new.settle(hold(new, TEAM, 99, name="n"), attempted(cost_nano_usd=spent_since), NOON_MS)

    late = hold(ledger, TEAM, worst, name="late")
    assert serving.noted == ["late"], "before it is on disk"
    if granted:
        await late.durable
        assert left(new, TEAM) == 0
        await ledger.settle(late, attempted(cost_nano_usd=10), NOON_MS)
    else:
        with pytest.raises(OverBudget):
            await late.durable
        await ledger.settle(late, attempted(cost_nano_usd=0, usage=None), NOON_MS)

    follow(new, store)
    assert left(new, TEAM) == 100 - spent_since - 10 * granted
    assert new.inherited == ()


async def test_callers_without_a_budget_wait_for_the_grant_as_well(
    ledger: Ledger, store: Store
) -> None:
    """Else the cost could be on disk before the new one has read what is spent."""
    new, _ = await handed_over(ledger, store)

    late = hold(ledger, FREE, None, name="late")
    assert late.durable is not AT_ONCE
    await late.durable

    assert new.inherited == ("late",)


async def test_a_grant_that_the_start_has_read_from_disk_counts_once(
    ledger: Ledger, store: Store
) -> None:
    """Asked of one process, answered by the next: a third has taken over in between."""
    await handed_over(ledger, store)
    late = hold(ledger, TEAM, 60, name="late")
    await late.durable
    third = Ledger(store)
    third.recover(NOON_MS, ["late"], dead=())

    third.grant(Wanted("late", "k1", 60, budget_day_nano_usd=100), NOON_MS)
    assert left(third, TEAM) == 40
    hold(third, TEAM, 40, name="x")
    third.grant(Wanted("late", "k1", 60, budget_day_nano_usd=100), NOON_MS)
    with pytest.raises(OverBudget):
        third.grant(Wanted("late", "k1", 60, budget_day_nano_usd=99), NOON_MS)


async def test_what_a_killed_process_had_not_been_granted_yet_costs_nothing(
    ledger: Ledger, store: Store
) -> None:
    new, serving = await handed_over(ledger, store)
    asked = asyncio.Event()

    async def ask(wanted: Wanted) -> None:
        asked.set()
        await asyncio.Event().wait()  # the process is killed before it is answered

    serving.ask = ask  # type: ignore[method-assign]
    waits = hold(ledger, TEAM, 60).durable
    await asyncio.wait_for(asked.wait(), 5.0)

    assert new.bury(serving.noted, NOON_MS) == 0
    follow(new, store)
    assert store.read("SELECT basis, nano FROM settle")[0][:] == ("rejected_zero", 0)
    assert left(new, TEAM) == TEAM.limits.budget_day_nano_usd
    asyncio.ensure_future(waits).cancel()


async def test_what_was_asked_for_before_midnight_is_granted_by_that_days_budget(
    ledger: Ledger, store: Store
) -> None:
    ledger.lend(Serving(Ledger(store)))
    hold(ledger, TEAM, 80, name="on disk")
    await store.flush()
    new = Ledger(store)
    new.recover(NOON_MS, ("on disk",), dead=())
    new.grant(Wanted("other", "k1", 30, at_ms=NOON_MS), NOON_MS)
    tomorrow_ms = NOON_MS + DAY_MS

    for name, worst in (("on disk", 80), ("not on disk", 1)):
        with pytest.raises(OverBudget):
            new.grant(Wanted(name, "k1", worst, 100, at_ms=NOON_MS), tomorrow_ms)
    new.grant(Wanted("of tomorrow", "k1", 100, 100, at_ms=tomorrow_ms), tomorrow_ms)


async def test_who_serves_again_does_not_inherit_from_itself(ledger: Ledger, store: Store) -> None:
    """The other one died before it served, and our own wish came back to us."""
    ledger.lend(Serving(Ledger(store)))
    held = hold(ledger, TEAM, 60)
    ledger.lend(None)
    ledger.grant(Wanted("a", "k1", 60, 100, at_ms=NOON_MS), NOON_MS)

    assert ledger.inherited == ()
    assert left(ledger, TEAM) == 40
    with pytest.raises(OverBudget):
        ledger.grant(Wanted("a", "k1", 60, 50, at_ms=NOON_MS), NOON_MS)
    await held.durable


async def test_what_a_process_leaves_that_was_killed_while_it_drained(
    ledger: Ledger, store: Store
) -> None:
    wide = caller(day=1000)
    await ledger.settle(hold(ledger, wide, 10, name="before"), attempted(), NOON_MS)
    settled = hold(ledger, wide, 20, name="settled")
    hold(ledger, wide, 30, name="left open")
    new, _ = await handed_over(ledger, store)
    new.grant(Wanted("never on disk", "k1", 7, budget_day_nano_usd=1000), NOON_MS)
    await ledger.settle(settled, attempted(cost_nano_usd=15), NOON_MS)

    names = ["settled", "left open", "never on disk"]
    assert [new.bury(names, NOON_MS), new.bury(names, NOON_MS)] == [1, 0]
    follow(new, store)
    assert list(new.inherited) == ["never on disk"]
    new.follow([("never on disk", 0)])

    assert list(new.inherited) == []
    assert left(new, wide) == 1000 - 60 - 15 - 30
    assert spend(store)[("k1", "day:2026-11-24")] == 60 + 15 + 30
