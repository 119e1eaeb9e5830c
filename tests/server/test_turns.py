"""How many may come in a turn: after short ones, long ones, bursts, and while work is shed."""

from collections.abc import Sequence

import pytest

from fairlead.server.limits import Limits
from fairlead.server.turns import AIM_SHARE, CALM_S, USUAL_WORK_S, Turns

LIMITS = Limits(max_wait_s=0.1, max_waiting=1000)
AIM_S = LIMITS.max_wait_s * AIM_SHARE


class Driven:
    """Turns that the test makes, one after the other."""

    def __init__(self) -> None:
        self.turns = Turns(LIMITS)
        self.now_s = 100.0

    def turn(self, turn_s: float, arrived: int = 0, cpu_s: float | None = None) -> int:
        """A turn in which so many arrive. Returns how many of them are let in."""
        let_in = min(arrived, self.turns.room)
        self.now_s += turn_s
        used_s = max(turn_s, let_in * USUAL_WORK_S) if cpu_s is None else cpu_s
        self.turns.over(turn_s, used_s, self.now_s, arrived=let_in, crowded=arrived > let_in)
        return let_in

    def same(self, turn_s: float, arrived: int, count: int) -> None:
        for _ in range(count):
            self.turn(turn_s, arrived)


@pytest.fixture
def driven() -> Driven:
    return Driven()


def test_short_turns_let_all_in(driven: Driven) -> None:
    assert [driven.turn(0.09, 100) for _ in range(100)] == [100] * 100
    assert not driven.turns.shedding


def test_one_long_turn_is_no_overload(driven: Driven) -> None:
    driven.turn(2.0, 20)
    driven.turn(0.01)
    driven.turn(0.9, 20)

    assert not driven.turns.shedding


@pytest.mark.parametrize(
    ("turns_s", "overload"),
    [
        ((0.15, 0.15), True),
        ((0.15, 0.09, 0.15), False),  # not in a row
        ((0.11, 0.11), False),  # not for long enough
        ((0.11, 0.11, 0.11), True),
    ],
)
def test_turns_that_stay_long_are(driven: Driven, turns_s: Sequence[float], overload: bool) -> None:
    for turn_s in turns_s:
        driven.turn(turn_s, 30)

    assert driven.turns.shedding is overload


@pytest.mark.parametrize(
    ("turn_s", "room"),
    [
        (0.0, 1000),  # idle: a burst may be as large as ``max_waiting``
        (0.01, 1000),
        (0.011, 200),  # busy: at 0.5 ms each, 200 fill the tenth of a second
        (0.1, 200),
        (0.3, 600),  # as many as were served meanwhile
        (5.0, 1000),
    ],
)
def test_how_many_may_arrive_in_the_turn_after_one(
    driven: Driven, turn_s: float, room: int
) -> None:
    driven.turn(turn_s)

    assert driven.turns.room == room
    assert driven.turn(0.0, 3000) == room
    assert driven.turns.shedding
    assert driven.turns.room == int(AIM_S / USUAL_WORK_S)


def test_a_burst_is_given_its_time(driven: Driven) -> None:
    """At 0.5 ms each, 800 take 0.4 s, and as long again."""
    driven.turn(0.0, 800)
    driven.same(0.2, 40, 3)

    assert not driven.turns.shedding
    driven.same(0.2, 40, 3)
    assert driven.turns.shedding


def test_a_burst_has_a_second_at_the_most(driven: Driven) -> None:
    """At 2 ms each, 1000 take two."""
    driven.same(0.05, 25, 20)
    driven.now_s += CALM_S
    driven.turn(0.0)
    driven.turn(0.0, 1000)
    driven.same(0.3, 10, 3)

    assert not driven.turns.shedding
    driven.same(0.3, 10, 2)
    assert driven.turns.shedding


def test_as_many_as_a_long_turn_makes_room_for_are_no_burst(driven: Driven) -> None:
    driven.turn(0.3)

    assert driven.turn(0.3, 600) == 600
    assert driven.turns.shedding


def test_a_burst_on_the_heels_of_another_is_not(driven: Driven) -> None:
    driven.turn(0.0, 800)
    driven.same(0.3, 40, 2)
    driven.same(0.0, 1, 30)

    assert (driven.turns.room, driven.turns.shedding) == (200, False)
    driven.now_s += CALM_S
    driven.turn(0.0)
    assert driven.turns.room == 1000


def test_a_burst_to_a_busy_core_is_not(driven: Driven) -> None:
    driven.turn(0.05, 150)
    driven.same(0.2, 190, 2)

    assert driven.turns.shedding


def test_what_a_request_costs_is_learned_from_what_came_lately(driven: Driven) -> None:
    for _ in range(20):
        driven.turn(0.05, 25)

    assert driven.turns.room == pytest.approx(50, abs=1)


def test_and_forgotten_in_quiet_times(driven: Driven) -> None:
    for _ in range(20):
        driven.turn(0.05, 25)
    driven.same(0.0, 1, 1000)
    driven.turn(0.05)

    assert driven.turns.room == pytest.approx(200, abs=1)


def test_streams_that_fill_the_loop_leave_room_for_a_few(driven: Driven) -> None:
    """Turns are long, and hardly anything arrives that could be blamed for it."""
    driven.same(0.5, 3, 20)
    driven.same(0.5, 300, 20)

    assert driven.turns.room == 1


def test_turns_that_are_long_for_want_of_a_core_leave_as_much_room(driven: Driven) -> None:
    """Another process has it for most of the time."""
    driven.same(0.15, 30, 2)
    before = driven.turns.room
    for _ in range(20):
        driven.turn(0.1, 50, cpu_s=AIM_S)

    assert driven.turns.room > before


def test_as_long_as_some_are_turned_away_it_goes_on(driven: Driven) -> None:
    driven.same(0.15, 30, 2)
    driven.same(AIM_S, 2000, int(2 * CALM_S / AIM_S))
    driven.turn(AIM_S)

    assert driven.turns.shedding


def test_when_nobody_is_turned_away_any_more_all_are_let_in_again(driven: Driven) -> None:
    driven.same(0.15, 30, 2)
    began_s = driven.now_s
    while driven.turns.shedding:
        driven.turn(AIM_S, 1)

    assert driven.now_s - began_s == pytest.approx(CALM_S, abs=0.05)
    assert driven.turns.room > 32
