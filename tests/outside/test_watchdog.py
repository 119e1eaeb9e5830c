"""The watchdog cancels exactly when a sign of life is overdue, on a clock that the test turns."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
import uvloop

from fairlead.outside.watchdog import FOREVER, Watchdog


class Timer:
    def __init__(self, when_s: float, call: Callable[[], None]) -> None:
        self.when_s, self.call, self.cancelled = when_s, call, False

    def when(self) -> float:
        return self.when_s

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """What the watchdog needs of a loop, with time in the test's hands."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, when_s: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when_s, call))
        return self.timers[-1]

    def advance_to(self, until_s: float) -> None:
        while due := [t for t in self.timers if not t.cancelled and t.when_s <= until_s]:
            timer = min(due, key=Timer.when)
            self.timers.remove(timer)
            self.now_s = timer.when_s
            timer.call()
        self.now_s = until_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def watched(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Watchdog:
    task = asyncio.create_task(asyncio.Event().wait())
    monkeypatch.setattr(asyncio, "current_task", lambda loop: task)
    watchdog = Watchdog(clock, deadline_s=100.0)  # type: ignore[arg-type]
    watchdog.expect(10.0)
    task.add_done_callback(lambda _: None)
    return watchdog


async def test_silence_expires_on_time(clock: Clock, watched: Watchdog) -> None:
    clock.advance_to(9.9)
    assert not watched.expired

    clock.advance_to(10.0)

    assert watched.expired


async def test_each_sign_of_life_moves_the_time(clock: Clock, watched: Watchdog) -> None:
    clock.advance_to(8.0)
    watched.expect(5.0)
    clock.advance_to(12.9)
    assert not watched.expired

    clock.advance_to(13.0)

    assert watched.expired


async def test_a_shorter_patience_fires_at_its_own_time(clock: Clock, watched: Watchdog) -> None:
    watched.expect(2.0)
    clock.advance_to(2.0)

    assert watched.expired


async def test_a_slow_caller_is_not_the_endpoints_fault(clock: Clock, watched: Watchdog) -> None:
    due_s = watched.pause()
    clock.advance_to(50.0)
    assert not watched.expired

    watched.resume(due_s)
    clock.advance_to(50.0)

    assert watched.expired


async def test_the_deadline_bounds_every_patience(clock: Clock, watched: Watchdog) -> None:
    watched.expect(FOREVER)
    clock.advance_to(99.9)
    assert not watched.expired

    clock.advance_to(100.0)

    assert watched.expired


@pytest.mark.parametrize(
    ("vain_from_s", "expires_s"),
    [
        pytest.param(0.0, 3.0, id="in vain from the start: at the first look"),
        pytest.param(4.0, 6.0, id="in vain later: at the next"),
        pytest.param(50.0, 10.0, id="never in vain: when it is due"),
    ],
)
async def test_what_is_waited_for_in_vain_is_given_up(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, vain_from_s: float, expires_s: float
) -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    monkeypatch.setattr(asyncio, "current_task", lambda loop: task)
    watchdog = Watchdog(clock, deadline_s=100.0)  # type: ignore[arg-type]
    asked: list[tuple[str, str]] = []

    def in_vain(about: tuple[str, str]) -> bool:
        asked.append(about)
        return clock.now_s >= vain_from_s

    watchdog.doubt(3.0, in_vain, ("a", "b"))
    watchdog.expect(10.0)
    clock.advance_to(expires_s - 0.1)
    assert not watchdog.expired

    clock.advance_to(expires_s)

    assert watchdog.expired
    assert set(asked) == {("a", "b")}


async def test_a_stopped_watchdog_is_silent(clock: Clock, watched: Watchdog) -> None:
    watched.stop()
    clock.advance_to(200.0)

    assert not watched.expired


async def test_its_own_cancellation_is_taken_back() -> None:
    async def late() -> str:
        watchdog = Watchdog(asyncio.get_running_loop(), deadline_s=FOREVER)
        watchdog.expect(0.0)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert watchdog.caught()
        await asyncio.sleep(0)
        return "went on"

    assert await asyncio.create_task(late()) == "went on"


async def test_a_cancellation_from_outside_is_not_its_own() -> None:
    watchdog = Watchdog(asyncio.get_running_loop(), deadline_s=FOREVER)

    assert not watchdog.caught()


async def test_both_at_once_is_a_cancellation_from_outside() -> None:
    async def late() -> bool:
        watchdog = Watchdog(asyncio.get_running_loop(), deadline_s=FOREVER)
        watchdog.expect(0.0)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return watchdog.caught()
        return True

    task = asyncio.create_task(late())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(task.cancel)

    assert not await task


async def test_a_cancellation_that_was_swallowed_is_repeated_and_taken_back() -> None:
    async def late() -> int:
        watchdog = Watchdog(asyncio.get_running_loop(), deadline_s=FOREVER)
        for swallows in (True, False):
            watchdog.expect(0.0)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                assert swallows or watchdog.caught()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert await asyncio.create_task(late()) == 0


async def test_a_cancellation_that_was_swallowed_at_the_end_is_taken_back_too() -> None:
    async def just_in_time() -> int:
        watchdog = Watchdog(asyncio.get_running_loop(), deadline_s=FOREVER)
        watchdog.expect(0.0)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        watchdog.stop()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert await asyncio.create_task(just_in_time()) == 0


def test_what_is_overdue_already_is_caught_by_the_loop_that_serves() -> None:
    """uvloop gives a call that is due at once a handle that does not know when."""

    async def late() -> bool:
        loop = asyncio.get_running_loop()
        watchdog = Watchdog(loop, loop.time() + 100.0)
        watchdog.expect(0.0)
        watchdog.resume(loop.time() - 1.0)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return watchdog.caught()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(late())
