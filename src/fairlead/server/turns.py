"""How many new requests fit in one turn of the loop: arithmetic, on what the last turns took.

One core does all the work, in turns: read what has arrived, go on with what is ready. What waits
for its turn is the queue, and how late a timer fires is how long it waits. A gateway that takes
all that comes is slow for everybody once more comes than it can do, so it takes as much as keeps
its turns short, and the rest is told at once to come again.

As with CoDel (RFC 8289), one long turn is no overload (a huge body, a collection of garbage): only
turns that stay long are, or more requests in a turn than the core can do. Nor is a burst, as many
as that may be: what comes to an idle core is let in, and given the time that it takes.
"""

from fairlead.server.limits import Limits

SUSTAINED_S = 0.25
"""So long turns must be too long before anything is turned away for it."""
LEAST_ROOM = 32
"""What arrives in one turn may cost ``max_wait_s``, but be so many in any case."""
AIM_SHARE = 0.02
"""While work is turned away, turns are kept to this part of ``max_wait_s``: those who are let in
are served soon, and few at a time take memory that is still in the core's cache."""
IDLE_SHARE = 0.1
"""A core whose turns are as short as this part of ``max_wait_s`` is idle."""
BURST_SLACK, LONGEST_EXCUSE_S = 2.0, 1.0
"""Others come while a burst is served, and what each takes is known roughly."""
CALM_S = 1.0
"""So long nobody must have been turned away before all are let in again, and the core must have
been idle before a burst is."""
SHRINK = 0.5
"""The room at most halves in a turn, which was perhaps long for another reason."""
GROWTH = 16
"""It grows by one in so many, and by one more."""
FADING = 0.75
"""What came and what was done counts so much less with each turn; a request takes a few turns."""
ENOUGH = 16
"""So many must have come lately for the CPU time to tell what each of them takes."""
USUAL_WORK_S = 0.0005
FORGETTING = 0.01
"""Of what is known of that, in each turn that tells nothing about it."""


class Turns:
    """``room``: so many requests may arrive in the next turn. ``shedding``: it is kept small, for
    more came than can be done."""

    __slots__ = (
        "_aim_s",
        "_busy_s",
        "_calm_since_s",
        "_excused_until_s",
        "_idle",
        "_long_s",
        "_long_turns",
        "_most",
        "_wait_s",
        "_work",
        "room",
        "shedding",
    )

    def __init__(self, limits: Limits) -> None:
        self._wait_s = limits.max_wait_s
        self._aim_s = limits.max_wait_s * AIM_SHARE
        self._most = self.room = limits.max_waiting
        self._work = Work()
        self.shedding = False
        self._long_turns, self._long_s = 0, 0.0
        """In a row."""
        self._idle = True
        """A burst is let in."""
        self._busy_s = -CALM_S
        """When a turn was not short, the last one."""
        self._excused_until_s = 0.0
        """A burst was let in, which takes so long."""
        self._calm_since_s = 0.0

    def over(
        self, turn_s: float, cpu_s: float, now_s: float, *, arrived: int, crowded: bool
    ) -> None:
        """A turn is over, in which so many came. ``crowded``: more would have."""
        if self._idle and arrived > self._fits(self._wait_s, LEAST_ROOM):
            takes_s = BURST_SLACK * arrived * self._work.each_s
            self._excused_until_s = now_s + min(takes_s, LONGEST_EXCUSE_S)
        excused = now_s < self._excused_until_s
        self._work.learn(arrived, cpu_s, amid_a_burst=excused)
        if self.shedding:
            self._shed(min(turn_s, cpu_s), now_s, crowded)
        elif self._stayed_long(turn_s, excused) or crowded:
            self._begin(now_s)
        else:
            self._open(turn_s, now_s)

    def _fits(self, within_s: float, least: int) -> int:
        return min(self._most, max(least, int(within_s / max(self._work.each_s, 1e-6))))

    def _open(self, turn_s: float, now_s: float) -> None:
        """For a burst, where the core was idle; else for as many as it can do in such a turn."""
        if turn_s > self._wait_s * IDLE_SHARE:
            self._busy_s = now_s
        # Bursts in quick succession are an overload.
        self._idle = now_s - self._busy_s >= CALM_S
        within_s = max(self._wait_s, turn_s)
        self.room = self._most if self._idle else self._fits(within_s, LEAST_ROOM)

    def _stayed_long(self, turn_s: float, excused: bool) -> bool:
        if turn_s <= self._wait_s or excused:
            self._long_turns, self._long_s = 0, 0.0
            return False
        self._long_turns += 1
        self._long_s += turn_s
        return self._long_turns > 1 and self._long_s >= SUSTAINED_S

    def _begin(self, now_s: float) -> None:
        self.shedding, self._idle = True, False
        self._calm_since_s = now_s
        self.room = self._fits(self._aim_s, 1)

    def _shed(self, turn_s: float, now_s: float, crowded: bool) -> None:
        """``turn_s`` is what we did of it: a core that was taken from us says nothing of how much
        we took upon us."""
        if not crowded:
            if now_s - self._calm_since_s > CALM_S:
                self._end(now_s)
            return
        self._calm_since_s = now_s
        if turn_s > self._aim_s:
            self.room = max(1, int(self.room * max(SHRINK, self._aim_s / turn_s)))
        else:
            self.room = min(self._most, self.room + self.room // GROWTH + 1)

    def _end(self, now_s: float) -> None:
        self.shedding = False
        self._long_turns, self._long_s = 0, 0.0
        self._busy_s = now_s
        self._open(0.0, now_s)


class Work:
    """``each_s``: what a request takes of the CPU, learned from turns in which some came."""

    __slots__ = ("_came_before", "_lately_came", "_lately_s", "each_s")

    def __init__(self) -> None:
        self.each_s = USUAL_WORK_S
        self._came_before = 0
        self._lately_came, self._lately_s = 0.0, 0.0

    def learn(self, came: int, cpu_s: float, amid_a_burst: bool) -> None:
        if self._lately_came < 1:
            self._lately_s = 0.0  # others' work: streams, a reload
        # What arrives in one turn does most of its work in the next.
        self._lately_came += self._came_before
        self._lately_s += cpu_s
        self._came_before = came
        if amid_a_burst:
            return  # only all of its turns together tell what it took
        if self._lately_came >= ENOUGH:
            self.each_s = self._lately_s / self._lately_came
        else:
            self.each_s += (USUAL_WORK_S - self.each_s) * FORGETTING
        self._lately_came *= FADING
        self._lately_s *= FADING
