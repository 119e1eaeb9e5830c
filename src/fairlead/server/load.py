"""Who is let in, as they come: few in a turn of the loop, and none without a place. Knows no HTTP.

Each turn of the loop is looked at once it is over: ``turns`` says how many may come in the next.
"""

import asyncio
from collections.abc import Callable
from time import monotonic, thread_time

from fairlead.server.limits import Limits
from fairlead.server.turns import CALM_S, Turns

TICK_S = 0.025
BUSY_TICK_S = 0.002
"""While we turn work away; shorter than any turn that is then good."""
BUSY_SHARE = 0.33
"""Who has so much to do that others wait for it is busy: streams are read less often from then on,
see ``outside.upstream``."""


def _tell_nobody(line: str) -> None: ...


def _ignore(busy: bool) -> None: ...


class Load:
    """``arrived`` is counted up by each request, which is let in while it is below ``room``.
    ``has_place`` says whether another one may be served at once."""

    __slots__ = (
        "_cpu_s",
        "_crowded",
        "_due_s",
        "_full",
        "_full_s",
        "_has_place",
        "_loop",
        "_timer",
        "_turned_s",
        "_turns",
        "arrived",
        "busy",
        "on_busy",
        "room",
        "shed",
        "tell",
    )

    def __init__(
        self, limits: Limits, loop: asyncio.AbstractEventLoop, has_place: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._has_place = has_place
        self._turns = Turns(limits)
        self.room = self._turns.room
        self.arrived = 0
        """In this turn."""
        self.shed = 0
        """Requests turned away since the start."""
        self._crowded = False
        """Some were in this turn, for want of room in it."""
        self._full = False
        self._full_s = 0.0
        self.busy = False
        self._turned_s = 0.0
        self.tell: Callable[[str], None] = _tell_nobody
        self.on_busy: Callable[[bool], None] = _ignore
        self._due_s = self._cpu_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def shedding(self) -> bool:
        """More came than the core can do; a place that is missing is another matter."""
        return self._turns.shedding

    def opens(self) -> bool:
        """Asked only where ``room`` says no: while places are scarce, for each request."""
        return self.arrived < self._turns.room and (not self._full or self._has_place())

    def turn_away(self) -> None:
        self.shed += 1
        if self.arrived >= self._turns.room:
            self._crowded = True
        else:
            self._full_s = monotonic()

    def fill(self) -> None:
        """Turn away, for as many are served as may be at once. From now on others are turned away
        at a glance, as long as there is no place."""
        self.shed += 1
        self._full_s = monotonic()
        if not self._full:
            self._full, self.room = True, 0
            self.tell("overloaded: no more requests may be served at once (max_in_flight)")

    def start(self) -> None:
        self._cpu_s = thread_time()
        self._arm(TICK_S)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, after_s: float) -> None:
        self._due_s = monotonic() + after_s
        self._timer = self._loop.call_later(after_s, self._tick)

    def _tick(self) -> None:
        now_s, cpu_s = monotonic(), thread_time()
        self.turned(now_s - self._due_s, cpu_s - self._cpu_s, now_s)
        self._cpu_s = cpu_s
        self._arm(BUSY_TICK_S if self.shedding else TICK_S)

    def turned(self, turn_s: float, cpu_s: float, now_s: float) -> None:
        """A turn of the loop is over. Idle turns are as long as their timer, which is no delay."""
        busy, self._turned_s = cpu_s > BUSY_SHARE * (now_s - self._turned_s), now_s
        if busy is not self.busy:
            self.busy = busy
            self.on_busy(busy)
        shedding = self.shedding
        self._turns.over(turn_s, cpu_s, now_s, arrived=self.arrived, crowded=self._crowded)
        if self.shedding is not shedding:
            self._tell_of_turns(turn_s)
        self.arrived, self._crowded = 0, False
        if self._full and now_s - self._full_s > CALM_S:
            self._full = False
            self.tell(f"there are places again; {self._so_far()}")
        self.room = 0 if self._full else self._turns.room

    def _tell_of_turns(self, turn_s: float) -> None:
        if self.shedding:
            self.tell(
                f"overloaded: requests wait for {turn_s * 1000:.0f} ms for each of their turns;"
                " some are turned away"
            )
        else:
            self.tell(f"no longer overloaded; {self._so_far()}")

    def _so_far(self) -> str:
        return f"{self.shed:,} requests were turned away since the start"
