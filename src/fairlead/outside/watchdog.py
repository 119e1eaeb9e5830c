"""A timer over one attempt: cancels its task when the next sign of life is overdue."""

import asyncio
from collections.abc import Callable

FOREVER = float("inf")
Key = tuple[str, str]


class Watchdog:
    """One timer an attempt, moved by assignment.

    Cancelling and arming a timer for each piece of a stream would cost more than relaying it, so
    the armed timer is left to fire early, looks at ``due`` and arms itself again.
    """

    __slots__ = (
        "_about",
        "_armed_s",
        "_cancelling",
        "_cancels",
        "_deadline_s",
        "_due_s",
        "_every_s",
        "_in_vain",
        "_loop",
        "_task",
        "_timer",
        "expired",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline_s: float) -> None:
        self._loop = loop
        self._deadline_s = deadline_s
        self._due_s = deadline_s
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_s = FOREVER
        """When the timer fires. uvloop's has no ``when`` if it is due at once."""
        self._cancelling = 0
        """How often others had cancelled the task before."""
        self._cancels = 0
        self.expired = False
        self._every_s = FOREVER

    _in_vain: Callable[[Key], bool]
    _about: Key

    def doubt(self, every_s: float, in_vain: Callable[[Key], bool], about: Key) -> None:
        """Do not wait for what is due in a long time if waiting is in vain: ask that so often."""
        self._every_s, self._in_vain, self._about = every_s, in_vain, about

    def expect(self, within_s: float) -> None:
        """The next sign of life is due in ``within_s``, and before the deadline in any case."""
        if self._task is None:
            self._task = asyncio.current_task(self._loop)
            self._cancelling = self._task.cancelling() if self._task else 0
        self._due_s = min(self._loop.time() + within_s, self._deadline_s)
        timer = self._timer
        if timer is None:
            self._arm()
        elif self._armed_s > self._due_s:
            timer.cancel()
            self._arm()

    def pause(self) -> float:
        """The caller is being served, so the endpoint is not late. Returns what was due."""
        due_s, self._due_s = self._due_s, FOREVER
        return due_s

    def resume(self, due_s: float) -> None:
        """Go on with what ``pause`` returned: nothing that arrived was a sign of life."""
        self.expect(due_s - self._loop.time())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._take_back()

    def caught(self) -> bool:
        """Whether a CancelledError was this watchdog's alone; its own cancellation is taken back.

        A caller may leave in the very moment in which time is up, and one error tells of both.
        """
        if not self.expired or self._task is None:
            return False
        self._take_back()
        return self._task.cancelling() <= self._cancelling

    def _arm(self) -> None:
        self._armed_s = self._due_s
        if self._every_s != FOREVER:
            self._armed_s = min(self._due_s, self._loop.time() + self._every_s)
        self._timer = self._loop.call_at(self._armed_s, self._look)

    def _take_back(self) -> None:
        """More than one, where whatever was awaited finished just then and swallowed the first."""
        for _ in range(self._cancels):
            if self._task is not None:
                self._task.uncancel()
        self._cancels = 0

    def _look(self) -> None:
        self._timer = None
        if self._due_s == FOREVER:
            return
        in_vain = self._every_s != FOREVER and self._in_vain(self._about)
        if self._loop.time() < self._due_s and not in_vain:
            self._arm()
        elif self._task is not None:
            self.expired = True
            self._cancels += 1
            self._task.cancel()
