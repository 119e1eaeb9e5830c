"""A model that will retire: how many of its requests have moved, which, and when they come back."""

from typing import Any

import pytest
from msgspec.structs import replace

from decide.pool import ANYONE, MID, SMALL, ask, catalog, endpoint, model, view
from fairlead.decide import consider, decide
from fairlead.decide.lifecycle import moved_share
from fairlead.types.catalog import Model, Route, Rule, Shift, Weights
from fairlead.types.decision import Caller, Plan, Vitals

DAY_MS = 86_400_000
RETIRES_MS = 1_790_380_800_000
"""2026-09-26, midnight in UTC."""
SHIFT = Shift(canary=0.05, over_s=8 * 86_400.0)
OLD_MODEL = model("old", retires="2026-09-26", successor="mid", shift=SHIFT, strength=0.9)
OLD = endpoint("acme", OLD_MODEL)
KEYS = {"old": ("acme/old", ""), "mid": ("acme/mid", "")}


@pytest.mark.parametrize(
    ("days_before", "share"),
    [
        pytest.param(100, 0, id="long before"),
        pytest.param(8.01, 0, id="just before it begins"),
        pytest.param(8, 0.05, id="a few at first"),
        pytest.param(6, 0.05, id="for a quarter of the time"),
        pytest.param(5, 0.05 + 0.95 / 6, id="then more"),
        pytest.param(3, 0.525, id="half of the rest half-way"),
        pytest.param(0, 1, id="all on the day"),
        pytest.param(-10, 1, id="and after it"),
    ],
)
def test_how_many_have_moved(days_before: float, share: float) -> None:
    at_ms = RETIRES_MS - int(days_before * DAY_MS)

    assert moved_share(OLD_MODEL, at_ms) == pytest.approx(share)


@pytest.mark.parametrize(
    "unmoved",
    [
        pytest.param(replace(OLD_MODEL, shift=None), id="no shift"),
        pytest.param(replace(OLD_MODEL, retires=""), id="no day"),
        pytest.param(replace(OLD_MODEL, successor=""), id="no successor"),
    ],
)
def test_nothing_moves_without(unmoved: Model) -> None:
    assert moved_share(unmoved, RETIRES_MS) == 0


def asked(dice: float = 0.0, days_before: float = 3, name: str = "old", **facts: Any) -> Plan:
    routes = facts.pop("routes", ())
    everything = catalog(*facts.pop("endpoints", (OLD, MID, SMALL)), routes=routes)
    at_ms = RETIRES_MS - int(days_before * DAY_MS)
    now = view(catalog=everything, dice=dice, at_ms=at_ms, today="2026-09-20", **facts)
    return decide(ask(model=name), facts.pop("caller", ANYONE), now)


def order(plan: Plan) -> list[str]:
    return [one.endpoint.name for one in plan.attempts]


LISTED = Route("listed", (Rule(ordered=True, models=("old", "mid")),))
RANKED = Route("ranked", (Rule(models=("old", "mid"), weights=Weights(1, 0, 0)),))


@pytest.mark.parametrize("name", ["old", "listed", "ranked"])
def test_the_dice_draw_that_many(name: str) -> None:
    plans = [asked(turn / 4_001, name=name, routes=(LISTED, RANKED)) for turn in range(4_000)]
    moved = [plan for plan in plans if order(plan) == ["acme/mid", "acme/old"]]
    stayed = [plan for plan in plans if order(plan) == ["acme/old", "acme/mid"]]

    assert len(moved) == pytest.approx(4_000 * 0.525, abs=80)
    assert len(moved) + len(stayed) == 4_000
    told = "mid succeeds old, which retires on 2026-09-26; "
    share = "52% of its requests go to mid by now"
    assert all(plan.reason.endswith(told + share) for plan in moved)
    assert all(plan.reason.endswith(f"; {share}") for plan in stayed)
    assert not any("retires" in plan.reason for plan in stayed)
    assert not any(one.stands_in for plan in plans for one in plan.attempts)


def test_the_same_view_gives_the_same_plan() -> None:
    assert all(asked(turn / 50) == asked(turn / 50) for turn in range(50))


MOVED = 0.0
"""Dice that move a request as soon as any has moved."""


@pytest.mark.parametrize(
    ("vitals", "first", "told"),
    [
        pytest.param({}, "acme/mid", "go to mid by now", id="it answers"),
        pytest.param({"mid": Vitals(success=0.81)}, "acme/mid", "by now", id="well enough"),
        pytest.param({"mid": Vitals(success=0.79)}, "acme/old", "2026-09-26, but fails", id="poor"),
        pytest.param({"mid": Vitals("open")}, "acme/old", "2026-09-26, but fails", id="it is down"),
        pytest.param({"mid": Vitals("half_open")}, "acme/mid", "by now", id="on trial"),
        pytest.param(
            {"mid": Vitals(gate_until_s=2_000.0)},
            "acme/old",
            "only candidate left",
            id="it is busy",
        ),
        pytest.param({"old": Vitals("open")}, "acme/mid", "", id="the old one is down"),
        pytest.param(
            {"old": Vitals(retired=True)}, "acme/mid", "", id="the old one is gone already"
        ),
    ],
)
def test_a_successor_that_fails_loses_them_at_once(
    vitals: dict[str, Vitals], first: str, told: str
) -> None:
    plan = asked(MOVED, vitals={KEYS[name]: of for name, of in vitals.items()})

    assert order(plan)[0] == first
    assert told in plan.reason


def test_just_back_from_an_outage_it_gets_its_share_of_them() -> None:
    drawn = [asked(turn / 1_000, days_before=0, shares={KEYS["mid"]: 0.2}) for turn in range(1_000)]

    assert sum(order(plan)[0] == "acme/mid" for plan in drawn) == pytest.approx(200, abs=20)


@pytest.mark.parametrize(
    ("days_before", "stands_in"),
    [pytest.param(9, True, id="before"), pytest.param(7, False, id="once it has begun")],
)
def test_the_successor_takes_over_from_one_that_fails(days_before: float, stands_in: bool) -> None:
    last = asked(0.9, days_before=days_before).attempts[-1]

    assert (last.endpoint.name, last.stands_in) == ("acme/mid", stands_in)


def test_nothing_moves_to_what_the_key_may_not_use() -> None:
    narrow = Caller("k", "k", models=("old",))
    now = view(OLD, MID, at_ms=RETIRES_MS - DAY_MS, today="2026-09-25")
    considered = consider(ask(model="old"), narrow, now)

    assert [one.endpoint.name for one in considered.attempts] == ["acme/old"]


def test_nothing_moves_away_from_an_endpoint_that_was_asked_for_by_name() -> None:
    assert order(asked(MOVED, name="acme/old")) == ["acme/old"]


def test_on_the_day_only_the_successor_is_left() -> None:
    now = view(OLD, MID, at_ms=RETIRES_MS, today="2026-09-26")
    plan = decide(ask(model="old"), ANYONE, now)

    assert order(plan) == ["acme/mid"]
