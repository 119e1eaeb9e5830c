"""How busy the loop is, and how many new requests it takes in one turn. Knows no HTTP.

One core does all the work, in turns: read what has arrived, go on with what is ready. What waits
for its turn is the queue, and how late a timer fires is how long it waits. A gateway that takes
all that comes is slow for everybody once more comes than it can do, so it takes as much as keeps
its turns short, and the rest is told at once to come again.

As with CoDel (RFC 8289), one long turn is no overload (a huge body, a collection of garbage): only
turns that stay long are, or more requests in a turn than the core can do. Nor is a burst, as many
as that may be: what comes to an idle core is let in, and given the time that it takes.
"""

import asyncio
from collections.abc import Callable
from time import monotonic, thread_time

from fairlead.server.limits import Limits

TICK_S = 0.025
BUSY_TICK_S = 0.002
"""While we turn work away; shorter than any turn that is then good."""
BUSY_SHARE = 0.33
"""Who has so much to do that others wait for it is busy: streams are read less often from then on,
see ``outside.upstream``."""
SUSTAINED_S = 0.25
"""So long turns must be too long before anything is turned away for it."""
LEAST_ROOM = 32
"""What arrives in one turn may cost ``max_wait_s``, but be so many in any case."""
SHARE = 50
"""While we turn work away, turns are kept to this part of ``max_wait_s``: those who are let in are
served soon, and few at a time take memory that is still in the core's cache."""
IDLE_SHARE = 10
"""A core whose turns are as short as this part of ``max_wait_s`` is idle."""
BURST_SLACK, LONGEST_EXCUSE_S = 2.0, 1.0
"""Others come while a burst is served, and what each takes is known roughly."""
CALM_S = 1.0
"""So long nobody must have been turned away before all are let in again, and the core must have
been idle before a burst is."""
SHRINK = 0.5
"""The room at most halves in a turn, which was perhaps long for another reason."""
FADING = 0.75
"""What came and what was done counts so much less with each turn; a request takes a few turns."""
ENOUGH = 16
"""So many must have come lately for the CPU time to tell what each of them takes."""
USUAL_WORK_S = 0.0005
FORGETTING = 0.01
"""Of what is known of that, in each turn that tells nothing about it."""


def _tell_nobody(line: str) -> None: ...


def _ignore(busy: bool) -> None: ...


class Load:
    """``arrived`` is counted up by each request, which is let in while it is below ``room``.
    ``has_place`` says whether another one may be served at once."""

    __slots__ = (
        "_busy_s",
        "_calm_since_s",
        "_came_before",
        "_cpu_s",
        "_crowded",
        "_due_s",
        "_excused_until_s",
        "_full",
        "_full_s",
        "_has_place",
        "_idle",
        "_lately_came",
        "_lately_s",
        "_long_s",
        "_long_turns",
        "_loop",
        "_most",
        "_room",
        "_timer",
        "_turned_s",
        "_wait_s",
        "_work_s",
        "arrived",
        "busy",
        "on_busy",
        "room",
        "shed",
        "shedding",
        "tell",
    )

    def __init__(
        self, limits: Limits, loop: asyncio.AbstractEventLoop, has_place: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._has_place = has_place
        self._wait_s = limits.max_wait_s
        self._most = self._room = self.room = limits.max_waiting
        self.arrived = 0
        """In this turn."""
        self.shed = 0
        """Requests turned away since the start."""
        self._crowded = False
        """Some were in this turn, for want of room in it."""
        self._full = False
        self._full_s = 0.0
        self.shedding = False
        self.busy = False
        self._turned_s = 0.0
        self.tell: Callable[[str], None] = _tell_nobody
        self.on_busy: Callable[[bool], None] = _ignore
        self._work_s = USUAL_WORK_S
        """CPU time of a request."""
        self._came_before = 0
        self._lately_came, self._lately_s = 0.0, 0.0
        self._long_turns, self._long_s = 0, 0.0
        """In a row."""
        self._idle = True
        self._busy_s = -CALM_S
        """When a turn was not short, the last one."""
        self._excused_until_s = 0.0
        """A burst was let in, which takes so long."""
        self._calm_since_s = 0.0
        self._due_s = self._cpu_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def opens(self) -> bool:
        """Asked only where ``room`` says no: while places are scarce, for each request."""
        return self.arrived < self._room and (not self._full or self._has_place())

    def turn_away(self) -> None:
        self.shed += 1
        if self.arrived >= self._room:
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
        crowded, self._crowded = self._crowded, False
        if not self.shedding:
            self._excuse(now_s)
        self._learn(cpu_s, now_s < self._excused_until_s)
        if not self.shedding:
            if self._stayed_long(turn_s, now_s) or crowded:
                self._begin(turn_s, now_s)
            else:
                self._open(turn_s, now_s)
        elif crowded:
            self._calm_since_s = now_s
            # A core that was taken from us says nothing of how much we took upon us.
            self._adapt(min(turn_s, cpu_s))
        elif now_s - self._calm_since_s > CALM_S:
            self._end(now_s)
        self.arrived = 0
        if self._full and now_s - self._full_s > CALM_S:
            self._full = False
            self.tell(f"there are places again; {self._so_far()}")
        self.room = 0 if self._full else self._room

    def _learn(self, cpu_s: float, amid_a_burst: bool) -> None:
        if self._lately_came < 1:
            self._lately_s = 0.0  # others' work: streams, a reload
        # What arrives in one turn does most of its work in the next.
        self._lately_came += self._came_before
        self._lately_s += cpu_s
        self._came_before = self.arrived
        if amid_a_burst:
            return  # only all of its turns together tell what it took
        if self._lately_came >= ENOUGH:
            self._work_s = self._lately_s / self._lately_came
        else:
            self._work_s += (USUAL_WORK_S - self._work_s) * FORGETTING
        self._lately_came *= FADING
        self._lately_s *= FADING

    def _fits(self, within_s: float, least: int) -> int:
        return min(self._most, max(least, int(within_s / max(self._work_s, 1e-6))))

    def _open(self, turn_s: float, now_s: float) -> None:
        """For a burst, where the core was idle; else for as many as it can do in such a turn."""
        if turn_s > self._wait_s / IDLE_SHARE:
            self._busy_s = now_s
        # Bursts in quick succession are an overload.
        self._idle = now_s - self._busy_s >= CALM_S
        within_s = max(self._wait_s, turn_s)
        self._room = self._most if self._idle else self._fits(within_s, LEAST_ROOM)

    def _excuse(self, now_s: float) -> None:
        if self._idle and self.arrived > self._fits(self._wait_s, LEAST_ROOM):
            takes_s = BURST_SLACK * self.arrived * self._work_s
            self._excused_until_s = now_s + min(takes_s, LONGEST_EXCUSE_S)

    def _stayed_long(self, turn_s: float, now_s: float) -> bool:
        if turn_s <= self._wait_s or now_s < self._excused_until_s:
            self._long_turns, self._long_s = 0, 0.0
            return False
        self._long_turns += 1
        self._long_s += turn_s
        return self._long_turns > 1 and self._long_s >= SUSTAINED_S

    def _begin(self, turn_s: float, now_s: float) -> None:
        self.shedding = True
        self._calm_since_s = now_s
        self._room = self._fits(self._wait_s / SHARE, 1)
        self.tell(
            f"overloaded: requests wait for {turn_s * 1000:.0f} ms for each of their turns;"
            " some are turned away"
        )

    def _adapt(self, turn_s: float) -> None:
        aim_s = self._wait_s / SHARE
        if turn_s > aim_s:
            self._room = max(1, int(self._room * max(SHRINK, aim_s / turn_s)))
        else:
            self._room = min(self._most, self._room + self._room // 16 + 1)

    def _end(self, now_s: float) -> None:
        self.shedding = False
        self._long_turns, self._long_s = 0, 0.0
        self._busy_s = now_s
        self._open(0.0, now_s)
        self.tell(f"no longer overloaded; {self._so_far()}")

    def _so_far(self) -> str:
        return f"{self.shed:,} requests were turned away since the start"
