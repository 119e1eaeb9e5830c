"""Whether an endpoint has fallen silent: many were sent to it, and nothing is heard of any. Knows
no clock.

A server that hangs fails nobody until time is up, half a minute later; until then everybody is sent
there. But where answers usually begin within a second and of the last nine requests none has, it is
not the requests.
"""

CROWD = 8
"""So many may wait in silence: a few slow ones are no sign of anything."""
TIMES_AS_SLOW = 3.0
LEAST_S = 0.5
FADES = 0.02
"""Of the slowest answer of late, with each answer."""


class Silence:
    """Of one endpoint with one credential. Times are monotonic seconds."""

    __slots__ = ("_since_s", "_slow_s", "_unheard", "is_noticed")

    def __init__(self) -> None:
        self._unheard = 0
        """Attempts since anything was heard of it."""
        self._since_s = 0.0
        """When the first of them began."""
        self._slow_s: float | None = None
        """How long answers took to begin of late, at worst; None until one did."""
        self.is_noticed = False

    def begins(self, now_s: float) -> bool:
        """Another attempt begins. Whether silence is noticed by it."""
        self._unheard += 1
        if self._unheard == 1:
            self._since_s = now_s
            return False
        if self._unheard <= CROWD or self._slow_s is None:
            return False
        if now_s - self._since_s <= max(TIMES_AS_SLOW * self._slow_s, LEAST_S):
            return False
        self._unheard, self.is_noticed = 0, True
        return True

    def not_begun(self) -> None:
        """One that began was not sent."""
        if self._unheard:
            self._unheard -= 1

    def heard(self) -> None:
        self._unheard, self.is_noticed = 0, False

    def answered(self, first_s: float) -> None:
        self._unheard, self.is_noticed = 0, False
        slow_s = self._slow_s
        if slow_s is None or first_s > slow_s:
            self._slow_s = first_s
        else:
            self._slow_s = slow_s + (first_s - slow_s) * FADES
