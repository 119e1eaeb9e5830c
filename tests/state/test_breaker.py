"""The breaker: when it opens, whom it lets through, when it closes."""

import pytest

from fairlead.state.breaker import (
    JITTER,
    LONGEST_OPEN_S,
    PROBE_LEASE_S,
    RAMP_S,
    SPELL_S,
    Breaker,
)

MIDDLE = 0.5
"""Dice that add no jitter."""


def fed(outcomes: str, step_s: float = 0.0) -> tuple[Breaker, float]:
    """A breaker after good (+) and bad (-) outcomes, and the time then."""
    breaker, now_s = Breaker(), 100.0
    for outcome in outcomes:
        if outcome == "+":
            breaker.good(now_s, now_s)
        else:
            breaker.bad(now_s, now_s, MIDDLE)
        now_s += step_s
    return breaker, now_s


@pytest.mark.parametrize(
    ("outcomes", "step_s", "state"),
    [
        pytest.param("", 0, "closed", id="nothing known"),
        pytest.param("----", 0, "closed", id="four in a row"),
        pytest.param("-----", 0, "open", id="five in a row"),
        pytest.param("-----", 60, "half_open", id="five in a row, however slowly"),
        pytest.param("----+----", 0, "closed", id="a good one breaks the row, nine are too few"),
        pytest.param("--++--+++-", 0, "open", id="half of ten"),
        pytest.param("++++--++++", 0, "closed", id="four fifths of ten"),
        pytest.param("++++--++++++++-", 0, "closed", id="twelve of fifteen"),
        pytest.param("++++--++--", 0, "open", id="six of ten"),
        pytest.param("+-+-+-+++-", 3, "open", id="six of ten within 30 s"),
        pytest.param("+-+-+-+++-", 4, "closed", id="six of ten within more"),
    ],
)
def test_when_it_opens(outcomes: str, step_s: float, state: str) -> None:
    breaker, now_s = fed(outcomes, step_s)

    assert breaker.state(now_s) == state


@pytest.mark.parametrize(
    ("dice", "open_s"),
    [
        pytest.param(0.0, [4, 8, 8, 8], id="the shortest"),
        pytest.param(0.5, [5, 10, 10, 10], id="the middle"),
        pytest.param(1.0, [6, 12, 12, 12], id="the longest"),
    ],
)
def test_how_long_it_stays_open(dice: float, open_s: list[float]) -> None:
    breaker, now_s, lasted = Breaker(), 100.0, []
    for _ in range(5):
        breaker.bad(now_s, now_s, dice)
    for _ in range(4):
        change_s = breaker.changes_s(now_s)
        lasted.append(change_s - now_s)
        now_s = change_s
        assert breaker.state(now_s - 0.001) == "open"
        assert breaker.begin(now_s)
        breaker.bad(now_s, now_s, dice)

    assert lasted == pytest.approx(open_s)


def reopened(breaker: Breaker, now_s: float, up_s: float, failed_probes: int = 0) -> float:
    """It opens, fails so many probes, passes the next, is up for a while and opens again; when."""
    for _ in range(failed_probes):
        now_s = breaker.changes_s(now_s)
        breaker.begin(now_s)
        breaker.bad(now_s, now_s, MIDDLE)
    now_s = breaker.changes_s(now_s)
    breaker.begin(now_s)
    breaker.good(now_s, now_s)
    now_s += up_s
    while breaker.is_closed:
        breaker.bad(now_s, now_s, MIDDLE)
    return now_s


@pytest.mark.parametrize(
    ("up_s", "failed_probes", "open_s"),
    [
        pytest.param([2.5] * 6, 0, [5, 5, 5, 10, 20, 20, 20], id="up for moments"),
        pytest.param([8.0] * 6, 0, [5, 5, 5, 10, 20, 20, 20], id="up for seconds"),
        pytest.param([2.5] * 6, 1, [5, 5, 5, 10, 20, 10, 20], id="every other probe fails"),
        pytest.param([35.0] * 6, 0, [5] * 7, id="up for as long as a spell lasts"),
        pytest.param([2.5] * 4 + [65.0] * 3, 0, [5, 5, 5, 10, 20, 5, 5, 5], id="and then well"),
        pytest.param([10.0] * 6, 7, [5] * 7, id="down for a minute, and again, and again"),
    ],
)
def test_one_that_flaps_stays_open_for_longer(
    up_s: list[float], failed_probes: int, open_s: list[float]
) -> None:
    breaker, now_s = fed("-----")
    lasted = [breaker.changes_s(now_s) - now_s]
    for for_s in up_s:
        now_s = reopened(breaker, now_s, for_s, failed_probes)
        lasted.append(breaker.changes_s(now_s) - now_s)

    assert lasted == pytest.approx(open_s)


def test_one_that_flapped_and_is_down_for_long_does_not_flap() -> None:
    breaker, now_s = fed("-----")
    for _ in range(6):
        now_s = reopened(breaker, now_s, 2.5)
    lasted = []
    for _ in range(6):
        change_s = breaker.changes_s(now_s)
        lasted.append(change_s - now_s)
        breaker.bad(change_s, now_s := change_s, MIDDLE)

    assert lasted == pytest.approx([20, 20, 10, 10, 10, 10])


@pytest.mark.parametrize(
    ("relapses", "up_s", "failures"),
    [
        pytest.param(0, 0.0, 5, id="the first time"),
        pytest.param(1, 0.0, 2, id="just back from a relapse"),
        pytest.param(1, RAMP_S, 5, id="it had all its requests again"),
    ],
)
def test_how_many_failures_in_a_row_open_it_again(
    relapses: int, up_s: float, failures: int
) -> None:
    breaker, now_s = fed("-----")
    for _ in range(relapses):
        now_s = reopened(breaker, now_s, 2.5)
    now_s = breaker.changes_s(now_s)
    breaker.good(now_s, now_s)
    now_s, made = now_s + up_s, 0
    while breaker.is_closed:
        breaker.bad(now_s, now_s, MIDDLE)
        made += 1

    assert made == failures


def half_open() -> tuple[Breaker, float]:
    breaker, now_s = fed("-----")
    return breaker, now_s + 5


def test_one_probe_goes_and_nobody_else() -> None:
    breaker, now_s = half_open()

    assert [breaker.begin(now_s) for _ in range(3)] == [True, False, False]
    assert breaker.state(now_s) == "open"


def test_a_good_probe_closes_it_and_the_next_opening_is_short_again() -> None:
    breaker, now_s = half_open()
    breaker.begin(now_s)
    breaker.good(now_s, now_s + 1)

    assert breaker.state(now_s + 1) == "closed"
    for _ in range(5):
        breaker.bad(now_s + 1, now_s + 1, MIDDLE)
    assert breaker.changes_s(now_s + 1) == now_s + 6


@pytest.mark.parametrize(
    ("after_s", "share"),
    [(0.0, 0.1), (0.4, 0.1), (1.0, 0.2), (2.5, 0.5), (4.5, 0.9), (5.0, 1.0), (600.0, 1.0)],
)
def test_once_closed_it_gets_a_growing_share(after_s: float, share: float) -> None:
    breaker, now_s = half_open()
    breaker.begin(now_s)

    assert breaker.good(now_s, now_s)
    assert breaker.share(now_s + after_s) == pytest.approx(share)


def test_one_that_never_opened_gets_everything() -> None:
    breaker, now_s = fed("+-+")

    assert not breaker.good(now_s, now_s)
    assert breaker.share(now_s) == 1.0


def test_back_in_full_within_18_s() -> None:
    """However the dice fell: the last probe may have failed just before the endpoint was well."""
    longest_open_s = LONGEST_OPEN_S * (1 + JITTER)

    assert longest_open_s + RAMP_S < 18
    assert SPELL_S < 60
    assert longest_open_s >= PROBE_LEASE_S


def test_a_cancelled_probe_lets_another_go() -> None:
    breaker, now_s = half_open()
    breaker.begin(now_s)
    breaker.void(now_s)

    assert breaker.state(now_s) == "half_open"
    assert breaker.begin(now_s)


def test_a_probe_that_is_never_heard_of_again_lets_another_go() -> None:
    breaker, now_s = half_open()
    breaker.begin(now_s)

    assert not breaker.begin(now_s + 9.9)
    assert breaker.begin(now_s + 10)


@pytest.mark.parametrize("outcome", ["good", "bad", "void"])
def test_what_began_before_it_opened_does_not_count(outcome: str) -> None:
    breaker, now_s = half_open()
    breaker.begin(now_s)
    long_ago_s = now_s - 60
    if outcome == "good":
        breaker.good(long_ago_s, now_s)
    elif outcome == "bad":
        breaker.bad(long_ago_s, now_s, MIDDLE)
    else:
        breaker.void(long_ago_s)

    assert breaker.state(now_s) == "open"
    breaker.void(now_s)
    assert breaker.state(now_s) == "half_open"
