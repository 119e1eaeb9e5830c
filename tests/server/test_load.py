"""When requests are turned away, how many are let in meanwhile, and when it ends."""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from time import monotonic

import pytest

from fairlead.server.limits import Limits
from fairlead.server.load import BUSY_TICK_S, CALM_S, SHARE, TICK_S, USUAL_WORK_S, Load

LIMITS = Limits(max_wait_s=0.1, max_waiting=1000)
AIM_S = LIMITS.max_wait_s / SHARE


class Driven:
    """A load whose turns the test makes."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.has_place = True
        self.load = Load(LIMITS, asyncio.new_event_loop(), lambda: self.has_place)
        self.load.tell = self.told.append
        self.now_s = 100.0

    def turn(self, turn_s: float, arrived: int = 0, cpu_s: float | None = None) -> int:
        """A turn in which so many arrive. Returns how many of them are let in."""
        load = self.load
        let_in = min(arrived, load.room)
        load.arrived = let_in
        for _ in range(arrived - let_in):
            load.turn_away()
        self.now_s += turn_s
        used_s = max(turn_s, let_in * USUAL_WORK_S) if cpu_s is None else cpu_s
        load.turned(turn_s, used_s, self.now_s)
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
    driven.turns(0.09, 100, 100)

    assert (driven.load.shed, driven.load.shedding, driven.told) == (0, False, [])


def test_one_long_turn_is_no_overload(driven: Driven) -> None:
    driven.turn(2.0, 20)
    driven.turn(0.01)
    driven.turn(0.9, 20)

    assert not driven.load.shedding


def test_turns_that_stay_long_are(driven: Driven) -> None:
    driven.turns(0.15, 30, 2)

    assert driven.load.shedding
    assert len(driven.told) == 1


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

    assert driven.load.room == room
    assert driven.turn(0.0, 3000) == room
    assert driven.load.shedding
    assert driven.load.room == int(AIM_S / USUAL_WORK_S)


def test_a_burst_is_given_its_time(driven: Driven) -> None:
    """At 0.5 ms each, 800 take 0.4 s, and as long again."""
    driven.turn(0.0, 800)
    driven.turns(0.2, 40, 3)

    assert not driven.load.shedding
    driven.turns(0.2, 40, 3)
    assert driven.load.shedding


def test_a_burst_on_the_heels_of_another_is_not(driven: Driven) -> None:
    driven.turn(0.0, 800)
    driven.turns(0.3, 40, 2)
    driven.turns(0.0, 1, 30)

    assert (driven.load.room, driven.load.shedding) == (200, False)
    driven.now_s += CALM_S
    driven.turn(0.0)
    assert driven.load.room == 1000


def test_a_burst_to_a_busy_core_is_not(driven: Driven) -> None:
    driven.turn(0.05, 150)
    driven.turns(0.2, 190, 2)

    assert driven.load.shedding


def test_what_a_request_costs_is_learned_from_what_came_lately(driven: Driven) -> None:
    for _ in range(20):
        driven.turn(0.05, 25)

    assert driven.load.room == pytest.approx(50, abs=1)


def test_and_forgotten_in_quiet_times(driven: Driven) -> None:
    for _ in range(20):
        driven.turn(0.05, 25)
    driven.turns(0.0, 1, 1000)
    driven.turn(0.05)

    assert driven.load.room == pytest.approx(200, abs=1)


def test_streams_that_fill_the_loop_leave_room_for_a_few(driven: Driven) -> None:
    """Turns are long, and hardly anything arrives that could be blamed for it."""
    driven.turns(0.5, 3, 20)
    driven.turns(0.5, 300, 20)

    assert driven.load.room == 1


def test_turns_that_are_long_for_want_of_a_core_leave_as_much_room(driven: Driven) -> None:
    """Another process has it for most of the time."""
    driven.turns(0.15, 30, 2)
    before = driven.load.room
    for _ in range(20):
        driven.turn(0.1, 50, cpu_s=AIM_S)

    assert driven.load.room > before


def test_when_nobody_is_turned_away_any_more_all_are_let_in_again(driven: Driven) -> None:
    driven.turns(0.15, 30, 2)
    began_s = driven.now_s
    while driven.load.shedding:
        driven.turn(AIM_S, 1)

    assert driven.now_s - began_s == pytest.approx(CALM_S, abs=0.05)
    assert driven.load.room > 32
    assert [line.partition(";")[0] for line in driven.told][1] == "no longer overloaded"


def test_without_a_place_nobody_is_let_in_until_one_has_left(driven: Driven) -> None:
    load = driven.load
    driven.has_place = False
    load.fill()

    assert (load.room, load.opens()) == (0, False)
    driven.has_place = True
    assert (load.room, load.opens()) == (0, True)


def test_a_place_that_is_missing_is_no_overload_of_the_core(driven: Driven) -> None:
    driven.has_place = False
    driven.load.fill()
    driven.turns(0.01, 3, 10)

    assert not driven.load.shedding
    driven.now_s = monotonic() + 2 * CALM_S
    driven.turn(0.01)
    assert [line[:20] for line in driven.told] == ["overloaded: no more ", "there are places aga"]
    assert driven.load.room > 0


@pytest.mark.parametrize(
    ("cpu_s", "told"), [((0.04, 0.04), [True]), ((0.03, 0.03), []), ((0.04, 0.02), [True, False])]
)
def test_a_core_that_we_use_for_more_than_a_third_of_the_time_is_busy(
    driven: Driven, cpu_s: Sequence[float], told: Sequence[bool]
) -> None:
    heard: list[bool] = []
    driven.turn(0.1, cpu_s=0.0)
    driven.load.on_busy = heard.append
    for each_s in cpu_s:
        driven.turn(0.1, cpu_s=each_s)

    assert heard == told


async def test_the_loop_itself_makes_the_turns() -> None:
    load = Load(LIMITS, asyncio.get_running_loop(), lambda: True)
    load.arrived = 5
    load.start()
    async with asyncio.timeout(5.0):
        while load.arrived:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    load.stop()


class World:
    """A core that works in turns, and callers who do not wait for each other. A request takes three
    steps, each in a turn of its own; to turn one away costs a fortieth of serving it."""

    def __init__(self, cost_s: float) -> None:
        self._dice = Random(7)
        self._cost_s = cost_s
        self.load = Load(Limits(), asyncio.new_event_loop(), lambda: True)
        self.now_s, self._cpu_s, self._told_cpu_s = 0.0, 0.0, 0.0
        self._due_s = self._next_s = 0.0
        self._steps: list[list[float]] = [[], [], []]
        self.served: list[tuple[float, float]] = []
        """When it arrived, and how long it took."""

    def run(self, per_s: float, until_s: float, burst: int = 0) -> None:
        self._next_s = self.now_s
        self._steps[0] += [self.now_s] * burst
        self.load.arrived += burst
        while self.now_s < until_s:
            self._tell()
            began_s = self.now_s
            ready, self._steps = self._steps, [[], [], []]
            self._read(per_s)
            for step, share in ((0, 0.5), (1, 0.1), (2, 0.3)):
                for at_s in ready[step]:
                    self.now_s += share * self._cost_s
                    if step == 2:
                        self.served.append((at_s, self.now_s - at_s))
                    else:
                        self._steps[step + 1].append(at_s)
            self._cpu_s += self.now_s - began_s
            if not any(self._steps):
                self.now_s = max(self.now_s, min(self._next_s, self._due_s)) + 1e-6
        self.load._loop.close()

    def _read(self, per_s: float) -> None:
        arrived_by_s = self.now_s
        while self._next_s <= arrived_by_s:
            if self.load.arrived >= self.load.room:
                self.load.turn_away()
                self.now_s += 0.025 * self._cost_s
            else:
                self.load.arrived += 1
                self.now_s += 0.1 * self._cost_s
                self._steps[0].append(self._next_s)
            self._next_s += self._dice.expovariate(per_s)

    def _tell(self) -> None:
        if self.now_s >= self._due_s:
            self.load.turned(self.now_s - self._due_s, self._cpu_s - self._told_cpu_s, self.now_s)
            self._told_cpu_s = self._cpu_s
            self._due_s = self.now_s + (BUSY_TICK_S if self.load.shedding else TICK_S)

    def slowest_s(self, share: float) -> float:
        times = sorted(took_s for _, took_s in self.served)
        return times[min(int(len(times) * share), len(times) - 1)]


@pytest.mark.parametrize("cost_s", [0.001, 0.003])
def test_below_capacity_nobody_is_turned_away(cost_s: float) -> None:
    world = World(cost_s)
    world.run(0.9 / cost_s, 20.0)

    assert world.load.shed == 0
    assert world.slowest_s(0.99) < 0.15


@pytest.mark.parametrize("cost_s", [0.001, 0.003])
def test_at_three_times_capacity_as_many_are_served_and_soon(cost_s: float) -> None:
    world = World(cost_s)
    world.run(3.0 / cost_s, 20.0)

    assert len(world.served) > 0.9 * 20.0 / cost_s
    assert world.slowest_s(0.5) < 0.12
    assert world.slowest_s(0.95) < 0.15


@pytest.mark.parametrize("cost_s", [0.0003, 0.0005, 0.001, 0.002])
def test_a_burst_beside_usual_traffic_is_served(cost_s: float) -> None:
    world = World(cost_s)
    world.run(0.5 / cost_s, 5.0)
    world.run(0.5 / cost_s, 20.0, burst=1000)

    assert world.load.shed == 0
    assert world.slowest_s(1.0) < 1000 * cost_s * 2.5


def test_afterwards_all_are_served_at_once_again() -> None:
    world = World(0.002)
    world.run(1500.0, 10.0)
    world.run(300.0, 20.0)

    late = [at_s for at_s, took_s in world.served if at_s > 10.0 and took_s > 0.05]
    assert max(late, default=10.0) < 11.0
    assert not world.load.shedding
