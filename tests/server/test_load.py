"""Who is let in by turn and by place, what is told of it, and what becomes of those who come."""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from time import monotonic

import pytest

from fairlead.server.limits import Limits
from fairlead.server.load import BUSY_TICK_S, TICK_S, Load
from fairlead.server.turns import CALM_S

LIMITS = Limits(max_wait_s=0.1, max_waiting=1000)


class Driven:
    """A load whose turns the test makes."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.has_place = True
        self.load = Load(LIMITS, asyncio.new_event_loop(), lambda: self.has_place)
        self.load.tell = self.told.append
        self.now_s = 100.0

    def turn(self, turn_s: float, arrived: int = 0, cpu_s: float | None = None) -> None:
        """A turn in which so many arrive, of whom some may be let in."""
        load = self.load
        load.arrived = min(arrived, load.room)
        for _ in range(arrived - load.arrived):
            load.turn_away()
        self.now_s += turn_s
        load.turned(turn_s, turn_s if cpu_s is None else cpu_s, self.now_s)


@pytest.fixture
def driven() -> Iterator[Driven]:
    made = Driven()
    yield made
    made.load._loop.close()


def test_an_overload_is_told_of_and_its_end(driven: Driven) -> None:
    for arrived in (30, 30, 2000):
        driven.turn(0.15, arrived)
    driven.now_s += 2 * CALM_S
    driven.turn(0.01)

    assert driven.told == [
        "overloaded: requests wait for 150 ms for each of their turns; some are turned away",
        f"no longer overloaded; {driven.load.shed:,} requests were turned away since the start",
    ]
    assert driven.load.shed > 1900


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
    for _ in range(10):
        driven.turn(0.01, 3)

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
