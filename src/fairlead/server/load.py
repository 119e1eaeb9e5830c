"""How busy the loop is, and how many new requests it takes in one turn. Knows no HTTP.

One core does all the work, in turns: read what has arrived, go on with what is ready. What waits
for its turn is the queue, and how late a timer fires is how long it waits. A gateway that takes
all that comes is slow for everybody once more comes than it can do, so it takes as much as keeps
its turns short, and the rest is told at once to come again.

As with CoDel (RFC 8289), one long turn is no overload (a huge body, a collection of garbage): only
turns that stay long are, or a queue that is out of all proportion.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from fairlead.server.limits import Limits

TICK_S = 0.025
BUSY_TICK_S = 0.005
"""While we turn work away; shorter than any turn that is then good."""
SUSTAINED_S = 0.25
"""So long turns must be too long before anything is turned away for it."""
SHARE = 5
"""While we turn work away, turns are kept to this part of what would have been put up with: those
who are let in are served soon."""
CALM_S = 1.0
"""So long nobody must have been turned away before all are let in again."""
LEAST = 0.5
"""The limit at most halves in a turn: the turn was perhaps long for another reason."""

Told = Callable[[str], None]


def _tell_nobody(line: str) -> None: ...


class Load:
    """``arrived`` is counted up by each request, which is let in while it is below ``room``.
    ``free`` tells how many more may be served at once, whatever the loop has to do."""

    __slots__ = (
        "_allowed",
        "_calm_since_s",
        "_due_s",
        "_free",
        "_late_since_s",
        "_loop",
        "_put_up_with_s",
        "_seen",
        "_standing_room",
        "_timer",
        "arrived",
        "room",
        "shed",
        "shedding",
        "tell",
    )

    def __init__(
        self, limits: Limits, loop: asyncio.AbstractEventLoop, free: Callable[[], int]
    ) -> None:
        self._loop = loop
        self._free = free
        self._put_up_with_s = limits.max_wait_s
        self._standing_room = self._allowed = self.room = limits.max_waiting
        self.arrived = 0
        """In this turn."""
        self.shed = 0
        """Requests turned away since the start."""
        self.shedding = False
        self.tell: Told = _tell_nobody
        self._seen = 0
        self._late_since_s: float | None = None
        self._calm_since_s = 0.0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._arm(TICK_S)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, after_s: float) -> None:
        self._due_s = monotonic() + after_s
        self._timer = self._loop.call_later(after_s, self._tick)

    def _tick(self) -> None:
        now_s = monotonic()
        self.turned(now_s - self._due_s, now_s)
        self._arm(BUSY_TICK_S if self.shedding else TICK_S)

    def turned(self, turn_s: float, now_s: float) -> None:
        """A turn of the loop that took ``turn_s`` is over."""
        full, self._seen = self.shed > self._seen, self.shed
        if not self.shedding:
            if full or self._stayed_long(turn_s, now_s):
                self._begin(turn_s, now_s)
        elif full:
            self._calm_since_s = now_s
            self._adapt(turn_s)
        elif now_s - self._calm_since_s > CALM_S:
            self._end()
        self.arrived = 0
        self.room = min(self._allowed, self._free())

    def _stayed_long(self, turn_s: float, now_s: float) -> bool:
        if turn_s <= self._put_up_with_s:
            self._late_since_s = None
            return False
        if self._late_since_s is None:
            self._late_since_s = now_s - turn_s
            return False
        return now_s - self._late_since_s >= SUSTAINED_S

    def _adapt(self, turn_s: float) -> None:
        aim_s = self._put_up_with_s / SHARE
        if turn_s > aim_s:
            self._allowed = max(1, int(self._allowed * max(LEAST, aim_s / turn_s)))
        else:
            self._allowed = min(self._standing_room, self._allowed + self._allowed // 16 + 1)

    def _begin(self, turn_s: float, now_s: float) -> None:
        self.shedding = True
        self._calm_since_s = now_s
        aim_s = self._put_up_with_s / SHARE
        fits = self.arrived * aim_s / turn_s if turn_s > aim_s else self.arrived
        self._allowed = max(1, min(self._standing_room, int(fits)))
        self.tell(
            f"overloaded: requests wait for {turn_s * 1000:.0f} ms to be looked at;"
            " some are turned away"
        )

    def _end(self) -> None:
        self.shedding = False
        self._late_since_s = None
        self._allowed = self._standing_room
        self.tell(f"no longer overloaded; {self.shed:,} requests were turned away since the start")
