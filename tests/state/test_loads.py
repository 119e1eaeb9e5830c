"""How busy twins are, and what becomes of their traffic by it."""

import heapq
from random import Random

import pytest
from msgspec.structs import replace

from facts import attempt, attempted, endpoint
from fairlead.decide.balance import balanced
from fairlead.state.health import Health
from fairlead.state.loads import FAILED_MS, Load, twins
from fairlead.types.catalog import Catalog, Endpoint

NOW_S = 1000.0


def load(*first_ms: float, in_hand: int = 0, leaps: bool = True, step_s: float = 0.0) -> Load:
    """After so many answers."""
    of = Load(usual_ms=800.0)
    for number, ms in enumerate(first_ms):
        of.saw(ms, NOW_S + step_s * number, leaps)
    of.in_hand = in_hand
    return of


@pytest.mark.parametrize(
    ("of", "busy"),
    [
        pytest.param(load(), 1, id="never seen: one may try it"),
        pytest.param(load(in_hand=1), 1600, id="never seen, and tried now"),
        pytest.param(load(200), 200, id="idle"),
        pytest.param(load(200, in_hand=3), 800, id="three in hand, and one more"),
        pytest.param(load(200, 900), 900, id="up at once"),
        pytest.param(load(900, 200), 900, id="not down at once"),
        pytest.param(load(900, 200, step_s=10), 457.5, id="down with time"),
        pytest.param(load(200, 900, leaps=False), 200, id="a whole answer says less"),
        pytest.param(load(200, 900, leaps=False, step_s=10), 642.5, id="but it says something"),
        pytest.param(load(0), 1, id="never nothing"),
    ],
)
def test_how_busy(of: Load, busy: float) -> None:
    assert of.now(NOW_S + (10 if busy in (457.5, 642.5) else 0)) == pytest.approx(busy, abs=0.1)


def test_what_was_not_seen_for_long_fades() -> None:
    of = load(900)

    assert of.now(NOW_S + 10) == pytest.approx(331.1, abs=0.1)
    assert of.now(NOW_S + 1000) == 1


def test_what_was_seen_in_an_outage_is_forgotten() -> None:
    of = load(FAILED_MS)
    of.forget()

    assert of.now(NOW_S) == 1


ONE, TWO = endpoint("a/small"), endpoint("b/small", ("env:B", "env:C"))


@pytest.mark.parametrize(
    ("other", "are_twins"),
    [
        pytest.param(TWO, True, id="the same at another provider"),
        pytest.param(replace(TWO, zone="local"), False, id="in another zone"),
        pytest.param(
            replace(TWO, model=replace(TWO.model, prices=())), False, id="at another price"
        ),
        pytest.param(replace(TWO, model=replace(TWO.model, name="x")), False, id="another model"),
    ],
)
def test_who_are_twins(other: Endpoint, are_twins: bool) -> None:
    expected = {("a/small", "env:A"), ("b/small", "env:B"), ("b/small", "env:C")}

    assert set(twins([ONE, other])) == (expected if are_twins else set())


# Health keeps them.

KEYS = ("a/small", "env:A"), ("b/small", "env:A")
TWINS = endpoint("a/small"), endpoint("b/small")


def health() -> Health:
    return Health(Catalog(endpoints=TWINS), lambda: 0.5)


def of_a(**changes: object) -> dict[str, object]:
    return {"endpoint": "a/small", **changes}


@pytest.mark.parametrize(
    ("changes", "busy"),
    [
        pytest.param({"first_token_ms": 300.0}, 300, id="it answered"),
        pytest.param({"first_token_ms": 1090.0}, 1090, id="in one piece"),
        pytest.param({"first_token_ms": None}, 1100, id="in one piece, as it came"),
        pytest.param({"failure": "connect", "first_token_ms": None}, 10_000, id="it failed"),
        pytest.param({"failure": "rate_limit", "first_token_ms": None}, 1, id="it was busy"),
        pytest.param({"failure": "cancelled", "first_token_ms": None}, 1, id="the caller left"),
        pytest.param({"failure": "cancelled", "id": ""}, 1, id="nobody could pay"),
    ],
)
def test_an_attempt_is_in_hand_until_it_ends(changes: dict[str, object], busy: float) -> None:
    told = health()
    told.begin(KEYS[0], NOW_S)
    told.begin(KEYS[1], NOW_S)
    assert told.loads(NOW_S) == {KEYS[0]: 1600, KEYS[1]: 1600}
    told.observe(attempted(**of_a(**changes)), NOW_S)

    assert told.loads(NOW_S) == pytest.approx({KEYS[0]: busy, KEYS[1]: 1600})


def test_one_that_is_kept_back_is_in_hand_no_longer() -> None:
    told = health()
    for _ in range(5):
        told.observe(attempted(**of_a(failure="connect", total_ms=1.0)), NOW_S)
    before = told.loads(NOW_S)[KEYS[0]]
    assert not told.begin(KEYS[0], NOW_S)
    assert told.loads(NOW_S)[KEYS[0]] == 2 * before
    told.observe(attempted(**of_a(id="", failure="overloaded")), NOW_S)

    assert told.loads(NOW_S)[KEYS[0]] == before


def test_on_trial_it_is_to_be_tried_and_then_it_starts_afresh() -> None:
    told = health()
    for _ in range(5):
        told.observe(attempted(**of_a(failure="connect", total_ms=1.0)), NOW_S)

    assert told.loads(NOW_S + 4)[KEYS[0]] > 5_000
    assert told.loads(NOW_S + 5)[KEYS[0]] == 0
    told.begin(KEYS[0], NOW_S + 5)
    told.observe(attempted(**of_a(total_ms=100.0, first_token_ms=50.0)), NOW_S + 5)
    assert told.loads(NOW_S + 5)[KEYS[0]] == 50


def test_without_twins_nothing_is_kept() -> None:
    told = Health(Catalog(endpoints=TWINS[:1]), lambda: 0.5)
    told.begin(KEYS[0], NOW_S)

    assert told.loads(NOW_S) == {}


def test_a_new_catalogue_keeps_those_that_stay() -> None:
    told = health()
    told.begin(KEYS[0], NOW_S)
    told.swap(Catalog(endpoints=(*TWINS, endpoint("c/small"))))

    assert told.loads(NOW_S) == {KEYS[0]: 1600, KEYS[1]: 1, ("c/small", "env:A"): 1}


# What becomes of traffic.


def shares(per_s: float, streams: bool, **first_ms: float) -> dict[str, float]:
    """How the requests of two minutes are spread over twins that take so long to begin, and four
    times as long to end; one that takes no time fails."""
    dice, now_s, served = Random(7), NOW_S, dict.fromkeys(first_ms, 0)
    twin_of = {name: endpoint(f"{name}/small") for name in first_ms}
    told = Health(Catalog(endpoints=tuple(twin_of.values())), dice.random)
    ends: list[tuple[float, str]] = []
    while now_s < NOW_S + 120:
        now_s += dice.expovariate(per_s)
        while ends and ends[0][0] <= now_s:
            end_s, name = heapq.heappop(ends)
            ms = first_ms[name]
            changes = {"first_token_ms": ms if streams else None, "total_ms": ms * 4}
            told.observe(attempted(endpoint=f"{name}/small", **changes), end_s)
        states = told.vitals(now_s)
        up = [
            replace(attempt(), endpoint=one)
            for one in twin_of.values()
            if (one.name, "env:A") not in states or states[one.name, "env:A"].state != "open"
        ]
        for tried in balanced(up, told.loads(now_s), dice.random()):
            name = tried.endpoint.name[0]
            if not told.begin(tried.key, now_s):
                continue
            served[name] += 1
            if first_ms[name]:
                heapq.heappush(ends, (now_s + first_ms[name] * 4 / 1000, name))
                break
            told.observe(attempted(endpoint=tried.endpoint.name, failure="connect"), now_s)
    whole = sum(served.values())
    return {name: count / whole for name, count in served.items()}


@pytest.mark.parametrize("streams", [True, False], ids=["streams", "whole"])
@pytest.mark.parametrize("per_s", [1, 20, 100])
def test_a_twin_that_is_slow_gets_less_and_is_not_given_up(per_s: float, streams: bool) -> None:
    found = shares(per_s, streams, a=100, b=300)

    assert 0.01 < found["b"] < 0.35


@pytest.mark.parametrize("per_s", [1, 20, 100])
def test_twins_as_fast_get_as_much(per_s: float) -> None:
    found = shares(per_s, True, a=100, b=100)

    assert found["a"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("per_s", [20, 100])
def test_a_dead_twin_gets_next_to_nothing_however_fast_it_fails(per_s: float) -> None:
    found = shares(per_s, True, a=100, b=0, c=100)

    assert found["b"] < 0.02
    assert found["a"] == pytest.approx(found["c"], abs=0.1)
