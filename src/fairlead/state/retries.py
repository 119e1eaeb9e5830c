"""How often an endpoint that fails may be asked again: a share of what it is asked. Knows no clock.

Two thirds of the load that brings a weak server down are the retries of its clients: with three
attempts each, it gets three times as much just when it can do least. A tenth is what SRE practice
allows (Google, Site Reliability Engineering, chapter 21), and a few more, or whoever asks rarely
could never ask again.
"""

from collections import deque

SHARE = 0.1
FLOOR = 3
"""So many in WINDOW_S are always allowed."""
WINDOW_S = 30.0


class Retries:
    """Those of the last 30 s, with one endpoint and credential. Times are monotonic seconds."""

    __slots__ = ("_at_s",)

    def __init__(self) -> None:
        self._at_s: deque[float] = deque()

    def are_spent(self, asked: int, now_s: float) -> bool:
        """``asked``: how often it was asked in that time, retries included."""
        while self._at_s and self._at_s[0] <= now_s - WINDOW_S:
            self._at_s.popleft()
        again = len(self._at_s)
        return again >= FLOOR + SHARE * max(asked - again, 0)

    def add(self, now_s: float) -> None:
        self._at_s.append(now_s)
