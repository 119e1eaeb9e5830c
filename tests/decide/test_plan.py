"""The plan's bounds, its one line of reason, and the baseline that savings count against."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from decide.pool import (
    ANYONE,
    EMBEDDER,
    FLAGSHIP,
    LOCAL,
    MARKET,
    MID,
    SMALL,
    ask,
    catalog,
    changed,
    priced,
    view,
)
from fairlead.decide import decide
from fairlead.decide.plan import baseline_nano_usd
from fairlead.types.catalog import Catalog, Endpoint, Price, Route, Rule, Weights
from fairlead.types.chat import Narrowing, Usage
from fairlead.types.decision import Plan


def planned(*endpoints: Endpoint, text: str = "Extract the date", **facts: Any) -> Plan:
    route = Route(name="auto", **({"rules": (Rule(),)} | facts))
    return decide(ask(text), ANYONE, view(catalog=catalog(*endpoints, routes=(route,))))


@pytest.mark.parametrize(
    ("route_s", "asked_s", "expected"),
    [(600.0, None, 600.0), (600.0, 30.0, 30.0), (20.0, 30.0, 20.0)],
    ids=["the-routes", "a-shorter-wish", "a-longer-wish-widens-nothing"],
)
def test_deadline(route_s: float, asked_s: float | None, expected: float) -> None:
    routes = (Route(name="auto", rules=(Rule(),), deadline_s=route_s),)
    request = ask(narrowing=Narrowing(deadline_s=asked_s))

    plan = decide(request, ANYONE, view(catalog=catalog(MID, routes=routes)))

    assert plan.deadline_s == expected


@pytest.mark.parametrize(("given", "expected"), [(3, 3), (1, 1), (0, 1)])
def test_attempts_are_bounded_but_there_is_one(given: int, expected: int) -> None:
    assert planned(MID, SMALL, max_attempts=given).max_attempts == expected


FAST = (Rule(weights=Weights(quality=0, cost=0, speed=1)),)
CHEAP = (Rule(weights=Weights(quality=0, cost=1, speed=0)),)
BEST = (Rule(weights=Weights(quality=1, cost=0, speed=0)),)
LISTED = (Rule(ordered=True, models=("small", "flagship")),)
AS_CHEAP = changed(FLAGSHIP, prices=MID.model.prices)
DEAR = changed(SMALL, prices=FLAGSHIP.model.prices)
THREE_QUARTERS = changed(MID, prices=priced(150, 750))


@pytest.mark.parametrize(
    ("endpoints", "text", "rules", "expected"),
    [
        pytest.param(
            (FLAGSHIP,), "hello", BEST, "flagship: chat, easy; the only candidate left", id="only"
        ),
        pytest.param(
            (FLAGSHIP, SMALL),
            "Prove the theorem",
            BEST,
            "flagship: mathematics, hard; best expected quality (0.82)",
            id="best",
        ),
        pytest.param(
            (FLAGSHIP, SMALL),
            "Write a Python function",
            LISTED,
            "small: code, medium; first on the route's list that can answer",
            id="listed",
        ),
        pytest.param(
            (FLAGSHIP, SMALL),
            "Extract the date",
            CHEAP,
            "small: extract, easy; good enough (0.99) at 1/12 of the cost of flagship",
            id="cheaper",
        ),
        pytest.param(
            (FLAGSHIP, LOCAL),
            "Extract the date",
            CHEAP,
            "tiny: extract, easy; good enough (0.91) and free, where flagship would cost"
            " 0.001045 USD",
            id="free",
        ),
        pytest.param(
            (MID, changed(FLAGSHIP, prices=SMALL.model.prices)),
            "Extract the date",
            FAST,
            "mid: extract, easy; good enough (1.00) and 1.9 times as fast as flagship",
            id="faster",
        ),
        pytest.param(
            (MID, DEAR),
            "Extract the date",
            FAST,
            "small: extract, easy; good enough (0.99) and 2.4 times as fast as mid",
            id="dearer-but-faster",
        ),
        pytest.param(
            (AS_CHEAP, THREE_QUARTERS),
            "Extract the date",
            CHEAP,
            "mid: extract, easy; good enough (1.00) at 75% of the cost of flagship",
            id="a-little-cheaper",
        ),
    ],
)
def test_reason(
    endpoints: tuple[Endpoint, ...], text: str, rules: tuple[Rule, ...], expected: str
) -> None:
    assert planned(*endpoints, text=text, rules=rules).reason == expected


def test_reason_when_the_best_is_just_back_from_an_outage() -> None:
    slower = replace(MID, expected_first_token_ms=9_000.0)
    now = view(AS_CHEAP, slower, shares={("acme/flagship", ""): 0.1}, dice=0.75 / 4_096)

    told = decide(ask(), ANYONE, now).reason

    assert told == "mid: chat, easy; good enough (1.00); acme/flagship is just back from an outage"


@pytest.mark.parametrize(
    ("everything", "expected"),
    [
        pytest.param(catalog(*MARKET), 255_000 + 5_000_000, id="the-strongest"),
        pytest.param(catalog(*MARKET, baseline="mid"), 102_000 + 2_000_000, id="the-named"),
        pytest.param(catalog(*MARKET, baseline="gone"), 5_255_000, id="the-named-is-not-there"),
        pytest.param(
            catalog(changed(FLAGSHIP, prices=()), MID), 2_102_000, id="the-strongest-with-a-price"
        ),
        pytest.param(catalog(changed(MID, prices=())), None, id="no-price-at-all"),
        pytest.param(
            catalog(changed(MID, prices=(Price(effective_until="2020-01-01"),))),
            None,
            id="no-price-any-more",
        ),
    ],
)
def test_baseline(everything: Catalog, expected: int | None) -> None:
    # 51 tokens in, 200 out.
    assert decide(ask("x" * 186), ANYONE, view(catalog=everything)).baseline_nano_usd == expected


def test_embeddings_have_a_baseline_of_their_own() -> None:
    request = ask(model="vectors", operation="embed", messages=(), inputs=("x" * 396,))

    plan = decide(request, ANYONE, view(catalog=catalog(FLAGSHIP, EMBEDDER, baseline="flagship")))

    assert plan.baseline_nano_usd == 100 * 20


@pytest.mark.parametrize(
    ("usage", "facts", "expected"),
    [
        pytest.param(None, {}, 5_255_000, id="nothing-used-yet"),
        pytest.param(Usage(51, 200), {}, 5_255_000, id="as-planned"),
        pytest.param(Usage(102, 400), {}, 10_510_000, id="twice-as-much"),
        pytest.param(Usage(0, 0), {}, 0, id="nothing"),
        pytest.param(Usage(51, 200), {"baseline_nano_usd": None}, None, id="unknown"),
    ],
)
def test_the_baseline_of_what_was_used(
    usage: Usage | None, facts: Mapping[str, Any], expected: int | None
) -> None:
    plan = replace(decide(ask("x" * 186), ANYONE, view()), **facts)

    assert baseline_nano_usd(plan, usage, "2026-06-01") == expected
