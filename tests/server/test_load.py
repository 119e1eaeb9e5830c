"""When requests are turned away, how many are let in meanwhile, and when it ends."""

import asyncio
from collections.abc import Iterator

import pytest

from fairlead.server.limits import Limits
from fairlead.server.load import CALM_S, Load

LIMITS = Limits(max_wait_s=0.1, max_waiting=1000)
AIM_S = 0.02


class Driven:
    """A load whose turns the test makes."""

    def __init__(self) -> None:
        self.free = 5000
        self.told: list[str] = []
        self.load = Load(LIMITS, asyncio.new_event_loop(), lambda: self.free)
        self.load.tell = self.told.append
        self.now_s = 100.0

    def turn(self, turn_s: float, arrived: int = 0) -> int:
        """A turn in which so many arrive. Returns how many of them are let in."""
        load = self.load
        let_in = min(arrived, load.room)
        load.arrived = let_in
        load.shed += arrived - let_in
        self.now_s += turn_s
        load.turned(turn_s, self.now_s)
        return let_in

    def turns(self, turn_s: float, arrived: int, count: int) -> None:
        for _ in range(count):
            self.turn(turn_s, arrived)


@pytest.fixture
def driven() -> Iterator[Driven]:
    made = Driven()
    yield made
    made.load._loop.close()


def test_short_turns_let_all_in(driven: Driven) -> None:
    driven.turns(0.09, 400, 100)

    assert (driven.load.shed, driven.load.shedding, driven.told) == (0, False, [])


def test_one_long_turn_is_no_overload(driven: Driven) -> None:
    driven.turn(2.0, 900)
    driven.turn(0.01)
    driven.turn(0.9, 900)

    assert not driven.load.shedding


def test_turns_that_stay_long_are(driven: Driven) -> None:
    driven.turns(0.15, 300, 2)

    assert driven.load.shedding
    # 300 take 150 ms, so 40 take 20.
    assert driven.load.room == 40
    assert len(driven.told) == 1


def test_a_queue_out_of_all_proportion_is_at_once(driven: Driven) -> None:
    assert driven.turn(0.1, 3000) == 1000

    assert driven.load.shedding
    assert driven.load.room == 200


def test_turns_are_kept_to_a_fifth_of_what_may_be_waited(driven: Driven) -> None:
    """Each request takes 0.2 ms: a hundred fill a turn."""
    driven.turns(0.15, 750, 3)
    let_in = 0
    for _ in range(200):
        let_in = driven.turn(0.0002 * max(let_in, 1), 3000)

    assert let_in == pytest.approx(AIM_S / 0.0002, rel=0.15)


def test_streams_that_fill_the_loop_leave_room_for_one(driven: Driven) -> None:
    driven.turns(0.5, 100, 20)

    assert driven.load.room == 1


def test_when_nobody_is_turned_away_any_more_all_are_let_in_again(driven: Driven) -> None:
    driven.turns(0.15, 300, 3)
    began_s = driven.now_s
    while driven.load.shedding:
        driven.turn(0.01, 5)

    assert driven.now_s - began_s == pytest.approx(CALM_S, abs=0.05)
    assert driven.load.room == LIMITS.max_waiting
    assert [line.partition(";")[0] for line in driven.told][1] == "no longer overloaded"


def test_no_more_are_let_in_than_may_be_served(driven: Driven) -> None:
    driven.free = 3
    driven.turn(0.01)

    assert driven.turn(0.01, 10) == 3
    driven.free = 0
    driven.turn(0.01)
    assert driven.turn(0.01, 10) == 0


async def test_the_loop_itself_makes_the_turns() -> None:
    load = Load(LIMITS, asyncio.get_running_loop(), lambda: 7)
    load.arrived = 5
    load.start()
    async with asyncio.timeout(5.0):
        while load.arrived:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    load.stop()

    assert load.room == 7
