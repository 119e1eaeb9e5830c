"""The simulation's loop: time jumps, the seed gives order and lateness, and hangs are found."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from random import Random
from time import perf_counter
from typing import Any

import pytest
from prove.simulation.loop import Stuck, VirtualLoop

HOUR_S = 3600.0


def loop_of(seed: int = 1, **kwargs: float) -> VirtualLoop:
    return VirtualLoop(Random(seed), **kwargs)


def ran(loop: VirtualLoop, main: Coroutine[Any, Any, Any]) -> Any:
    try:
        return loop.run_until_complete(main)
    finally:
        loop.bury()


def test_an_hour_passes_at_once_and_to_the_second() -> None:
    loop = loop_of(now_s=100.0)
    began_s = perf_counter()

    ran(loop, asyncio.sleep(HOUR_S))

    assert loop.time() == pytest.approx(100.0 + HOUR_S)
    assert perf_counter() - began_s < HOUR_S / 10


def test_timeouts_and_timers_follow_the_virtual_clock() -> None:
    loop = loop_of()

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(60)
        return loop.time()

    assert ran(loop, main()) == pytest.approx(30)


async def order_of(due_s: list[float]) -> list[int]:
    woken: list[int] = []

    async def wake(number: int, at_s: float) -> None:
        await asyncio.sleep(at_s)
        woken.append(number)

    await asyncio.gather(*(wake(number, at_s) for number, at_s in enumerate(due_s)))
    return woken


def test_who_is_due_together_comes_in_the_seeds_order() -> None:
    together = [5.0] * 6
    orders = [tuple(ran(loop_of(seed, late_s=1e-3), order_of(together))) for seed in range(20)]
    again = [tuple(ran(loop_of(seed, late_s=1e-3), order_of(together))) for seed in range(20)]

    assert orders == again
    assert len(set(orders)) > 10


def test_a_timer_may_be_late_and_is_never_early() -> None:
    loop = loop_of(late_s=0.5)

    async def main() -> list[float]:
        times = []
        for _ in range(50):
            began_s = loop.time()
            await asyncio.sleep(1.0)
            times.append(loop.time() - began_s)
        return times

    times = ran(loop, main())

    assert min(times) >= 1.0 - 1e-6
    assert 1.2 < max(times) <= 1.5 + 1e-6


def test_callbacks_keep_the_order_in_which_they_were_handed_over() -> None:
    loop = loop_of(late_s=0.5, round_s=0.1)
    seen: list[int] = []

    async def main() -> None:
        for number in range(20):
            loop.call_soon(seen.append, number)
        await asyncio.sleep(1)

    ran(loop, main())

    assert seen == list(range(20))


def test_a_round_takes_its_time() -> None:
    loop = loop_of(round_s=0.01)

    async def main() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    ran(loop, main())

    assert 0.2 < loop.time() < 1.1


def test_a_hang_is_told_and_not_waited_for() -> None:
    loop = loop_of()

    async def main() -> None:
        await loop.create_future()

    with pytest.raises(Stuck):
        ran(loop, main())


def test_what_is_left_is_buried_and_cleans_up() -> None:
    loop = loop_of()
    cleaned: list[str] = []

    async def pieces() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            cleaned.append("generator")

    async def waiting() -> None:
        try:
            async for _ in pieces():
                await asyncio.sleep(HOUR_S)
        finally:
            cleaned.append("task")

    async def main() -> None:
        loop.tasks = [asyncio.ensure_future(waiting())]  # type: ignore[attr-defined]
        await asyncio.sleep(1)

    ran(loop, main())

    assert sorted(cleaned) == ["generator", "task"]
    assert loop.is_closed()


def test_a_task_that_will_not_end_is_told() -> None:
    loop = loop_of()

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(HOUR_S)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        loop.tasks = [asyncio.ensure_future(stubborn())]  # type: ignore[attr-defined]
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    with pytest.raises(Stuck):
        loop.bury()
    assert loop.is_closed()
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_the_world_is_looked_at_between_rounds() -> None:
    loop = loop_of()
    looks: list[float] = []
    loop.on_round = lambda: looks.append(loop.time())

    ran(loop, asyncio.sleep(1))

    assert len(looks) == loop.rounds or len(looks) > 1
    assert looks[0] == 0.0
