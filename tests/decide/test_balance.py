"""Twins: who comes first by load, and that nobody else moves."""

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from decide.pool import ANYONE, FLAGSHIP, MID, SMALL, ask, attempt, keyed, view
from fairlead.decide import decide
from fairlead.decide.balance import balanced
from fairlead.types.catalog import Endpoint
from fairlead.types.decision import Attempt


def twin(provider: str, **facts: object) -> Endpoint:
    return replace(MID, name=f"{provider}/mid", provider=provider, **facts)


A, B, C, D = (twin(name) for name in "abcd")


def order(attempts: tuple[Attempt, ...]) -> list[str]:
    return ["#".join(filter(None, one.key)) for one in attempts]


def loaded(**loads: float) -> Mapping[tuple[str, str], float]:
    return {(f"{name}/mid", ""): load for name, load in loads.items()}


def first_of(
    *twins: Endpoint, loads: Mapping[tuple[str, str], float], throws: int = 1_200
) -> Counter[str]:
    attempts = [attempt(one) for one in twins]
    return Counter(
        balanced(attempts, loads, turn / throws)[0].endpoint.provider for turn in range(throws)
    )


@pytest.mark.parametrize("dice", [0.0, 0.3, 0.5, 0.999])
def test_of_two_the_less_busy(dice: float) -> None:
    attempts = [attempt(A), attempt(B)]

    assert order(balanced(attempts, loaded(a=1, b=2), dice)) == ["a/mid", "b/mid"]
    assert order(balanced(attempts, loaded(a=2, b=1), dice)) == ["b/mid", "a/mid"]


def test_of_two_as_busy_either() -> None:
    assert first_of(A, B, loads=loaded(a=1, b=1)) == {"a": 600, "b": 600}


def test_of_many_the_less_busy_of_two_drawn() -> None:
    """The busiest is never chosen, and the least busy is not chosen by all."""
    found = first_of(A, B, C, D, loads=loaded(a=1, b=2, c=3, d=4))

    assert found == pytest.approx({"a": 600, "b": 400, "c": 200}, abs=5)


def test_the_others_follow_from_the_least_busy_on() -> None:
    attempts = [attempt(one) for one in (A, B, C, D)]
    loads = loaded(a=4, b=3, c=2, d=1)

    assert order(balanced(attempts, loads, 0.0)) == ["b/mid", "d/mid", "c/mid", "a/mid"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(B, zone="local"), id="another zone"),
        pytest.param(replace(B, model=replace(B.model, name="mid-2")), id="another model"),
    ],
)
def test_only_twins_share(other: Endpoint) -> None:
    assert order(balanced([attempt(A), attempt(other)], loaded(a=2, b=1), 0.0))[0] == "a/mid"


@pytest.mark.parametrize("cost", [999, None])
def test_a_dearer_one_is_no_twin(cost: int | None) -> None:
    attempts = [attempt(A), attempt(B, expected_cost_nano_usd=cost)]

    assert order(balanced(attempts, loaded(a=2, b=1), 0.0)) == ["a/mid", "b/mid"]


def test_nobody_else_moves() -> None:
    attempts = [attempt(one) for one in (FLAGSHIP, A, SMALL, B)]
    expected = ["acme/flagship", "b/mid", "bolt/small", "a/mid"]

    assert order(balanced(attempts, loaded(a=2, b=1), 0.0)) == expected


def test_credentials_stay_in_order() -> None:
    two = keyed(A, "k2", "k1")
    attempts = [*(attempt(two, secret) for secret in two.secrets), attempt(B)]
    loads = {("a/mid", "k2"): 2.0, ("a/mid", "k1"): 0.0, ("b/mid", ""): 1.0}

    assert order(balanced(attempts, loads, 0.0)) == ["b/mid", "a/mid#k2", "a/mid#k1"]


@given(st.lists(st.floats(0, 9), min_size=4, max_size=4), st.floats(0, 0.999999))
def test_whatever_the_loads_all_are_there(loads: list[float], dice: float) -> None:
    attempts = [attempt(one) for one in (A, FLAGSHIP, B, C, D)]
    found = balanced(attempts, loaded(**dict(zip("abcd", loads, strict=True))), dice)

    assert sorted(order(found)) == sorted(order(tuple(attempts)))
    assert found[1].endpoint == FLAGSHIP


def test_a_faster_twin_does_not_take_everything_by_its_rank() -> None:
    fast, slow = twin("a", expected_first_token_ms=100.0), twin("b", expected_first_token_ms=900.0)
    busy = view(fast, slow, loads=loaded(a=900, b=500))

    assert order(decide(ask(), ANYONE, busy).attempts) == ["b/mid", "a/mid"]
