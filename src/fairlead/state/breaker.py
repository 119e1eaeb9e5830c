"""One breaker: closed, open, half open. Knows seconds and outcomes, not what failed or where.

closed     -- five failures in a row, or under 80 % good of ten in 30 s -->  open
open       -- its time is over -->  half open
half open  -- one probe is let through; good -->  closed; bad -->  open, for twice as long
closed     -- for the first seconds after an outage, only a growing share of its requests
flapping   -- opens again and again within 40 s -->  open for longer, from the fourth time on
"""

from typing import Literal

IN_A_ROW = 5
ENOUGH_OUTCOMES = 10
GOOD_SHARE = 0.8
SLOT_S, SLOTS = 3.0, 10
FIRST_OPEN_S, LONGEST_OPEN_S = 5.0, 10.0
"""Short on purpose: an endpoint that is well again should not wait for us. The longest, with its
jitter and the ramp after it, stays within 18 s."""
SPELL_S = 40.0
"""Who opens again so soon after having opened has a relapse; each such time between makes up for
one. An outage of a minute is none, and is over for us as soon as it is over."""
FREE_RELAPSES, MOST_RELAPSES = 2, 4
"""From the third on it is open for twice as long each time, 20 s at most: who is up half of the
time passes every other probe, and each costs the failures that open it again."""
RELAPSE_ROW = 2
"""So many failures in a row are enough where it comes back from a relapse."""
DOWN_TRIPS = 2
"""Who failed so many probes running is down, and does not flap."""
JITTER = 0.2
NEVER_S = float("inf")
LONG_AGO_S = -1e9
PROBE_LEASE_S = 10.0
"""A probe of which nothing is heard for so long does not keep others out."""
AN_INSTANT_S = 0.001
RAMP_S, LEAST_SHARE = 5.0, 0.1
"""After an outage an endpoint gets a tenth of its requests, and all of them this much later."""

State = Literal["closed", "open", "half_open"]


class Outcomes:
    """Good and bad ones of the last 30 s, in slots of 3 s."""

    __slots__ = ("_bad", "_good", "_slot")

    def __init__(self) -> None:
        self._good = [0] * SLOTS
        self._bad = [0] * SLOTS
        self._slot = 0

    def add(self, good: bool, now_s: float) -> None:
        slot = int(now_s / SLOT_S)
        if slot > self._slot:
            self._forget(slot)
        (self._good if good else self._bad)[self._slot % SLOTS] += 1

    def are_poor(self) -> bool:
        good, bad = sum(self._good), sum(self._bad)
        return good + bad >= ENOUGH_OUTCOMES and good < GOOD_SHARE * (good + bad)

    def count(self, now_s: float) -> int:
        self._forget(max(self._slot, int(now_s / SLOT_S)))
        return sum(self._good) + sum(self._bad)

    def _forget(self, slot: int) -> None:
        for stale in range(max(self._slot, slot - SLOTS) + 1, slot + 1):
            self._good[stale % SLOTS] = self._bad[stale % SLOTS] = 0
        self._slot = slot


class Breaker:
    """Times are monotonic seconds. ``began_s`` says when an attempt began: one that began before
    the breaker opened knows nothing new, and does not count while it is open."""

    __slots__ = (
        "_began_s",
        "_open",
        "_opened_s",
        "_outcomes",
        "_probe_until_s",
        "_relapses",
        "_row",
        "_trips",
        "_until_s",
        "ramps_until_s",
    )

    def __init__(self) -> None:
        self._outcomes = Outcomes()
        self._row = 0
        self._open = False
        self._opened_s = self._until_s = self._probe_until_s = 0.0
        self._trips = self._relapses = 0
        self._began_s = LONG_AGO_S
        self.ramps_until_s = 0.0

    @property
    def is_closed(self) -> bool:
        return not self._open

    def asked(self, now_s: float) -> int:
        """Outcomes of the last 30 s, but none from before it last closed."""
        return self._outcomes.count(now_s)

    def state(self, now_s: float) -> State:
        """While a probe is out it is open for everybody else."""
        if not self._open:
            return "closed"
        return "open" if now_s < max(self._until_s, self._probe_until_s) else "half_open"

    def changes_s(self, now_s: float) -> float:
        """When the state will next change by itself; infinity if not."""
        if not self._open:
            return NEVER_S
        change_s = max(self._until_s, self._probe_until_s)
        return change_s if now_s < change_s else NEVER_S

    def begin(self, now_s: float) -> bool:
        """Whether an attempt may go. In half open the first one becomes the probe."""
        state = self.state(now_s)
        if state == "half_open":
            self._probe_until_s = now_s + PROBE_LEASE_S
        return state != "open"

    def good(self, began_s: float, now_s: float) -> bool:
        """Whether that closed it."""
        if not self._open:
            self._row = 0
            self._outcomes.add(True, now_s)
        elif began_s >= self._opened_s:
            self._open, self._trips, self._row = False, 0, 0
            self._outcomes = Outcomes()
            self.ramps_until_s = now_s + RAMP_S
            return True
        return False

    def share(self, now_s: float) -> float:
        """How much of its requests it may have, 0 to 1, while it is closed."""
        left = (self.ramps_until_s - now_s) / RAMP_S
        return 1.0 if left <= 0 else max(1.0 - left, LEAST_SHARE)

    def bad(self, began_s: float, now_s: float, dice: float) -> None:
        """``dice``, uniform in [0, 1), spreads out when many gateways come back."""
        if not self._open:
            self._row += 1
            self._outcomes.add(False, now_s)
            relapses = self._relapses > 0 and now_s < self.ramps_until_s
            enough = RELAPSE_ROW if relapses else IN_A_ROW
            if self._row >= enough or self._outcomes.are_poor():
                self._trip(now_s, dice)
        elif began_s >= self._opened_s and now_s >= self._until_s:
            self._trip(now_s, dice)

    def fall_silent(self, now_s: float, dice: float) -> None:
        """Nothing is heard of it, and many wait. Those who do began before it opened, the one that
        begins now too."""
        self._trip(now_s, dice)
        self._opened_s += AN_INSTANT_S

    def void(self, began_s: float) -> None:
        """An attempt ended and says nothing either way: if it was the probe, another may go."""
        if self._open and began_s >= self._opened_s:
            self._probe_until_s = 0.0

    def _trip(self, now_s: float, dice: float) -> None:
        self._count_relapses(now_s)
        open_s: float = min(FIRST_OPEN_S * 2**self._trips, LONGEST_OPEN_S)
        if self._relapses > FREE_RELAPSES:
            open_s = max(open_s, FIRST_OPEN_S * 2 ** (self._relapses - FREE_RELAPSES))
        self._trips = min(self._trips + 1, 8)
        self._open, self._opened_s, self._probe_until_s = True, now_s, 0.0
        self._until_s = now_s + open_s * (1.0 - JITTER + 2.0 * JITTER * dice)

    def _count_relapses(self, now_s: float) -> None:
        if self._open:
            self._relapses = max(self._relapses - (self._trips >= DOWN_TRIPS), 0)
            return
        if now_s - self._began_s < SPELL_S:
            self._relapses = min(self._relapses + 1, MOST_RELAPSES)
        else:
            self._relapses = max(self._relapses - int((now_s - self._began_s) / SPELL_S), 0)
        self._began_s = now_s
