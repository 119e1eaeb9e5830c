"""How busy endpoints are that serve the same: what balancing goes by. Knows no clock.

The load is how long the first token takes, times the requests in hand and one more. The time is a
moving average that leaps up at once when an answer is slow to begin, and comes down gradually: a
server that has just become slow is spared from the first sign of it. What has not been seen for a
while fades away, so that one that was slow is tried again (as Finagle and Linkerd do it, under the
name of peak EWMA).
"""

from collections.abc import Iterable
from math import exp

from fairlead.types.catalog import Endpoint

FADES_S = 10.0
LEAST_MS = 1.0
FAILED_MS = 10_000.0
"""A failure counts as a first token that took so long: to fail fast must not look like speed."""


class Load:
    """Of one endpoint with one credential. Times are monotonic seconds."""

    __slots__ = ("_at_s", "_first_ms", "_usual_ms", "in_hand")

    def __init__(self, usual_ms: float) -> None:
        self._usual_ms = usual_ms
        self._first_ms: float | None = None
        self._at_s = 0.0
        self.in_hand = 0

    def now(self, now_s: float) -> float:
        if self._first_ms is None:
            # One request tells how fast it is; more than that would be a leap in the dark.
            return self._usual_ms * (self.in_hand + 1) if self.in_hand else LEAST_MS
        return max(self._first_ms * self._kept(now_s), LEAST_MS) * (self.in_hand + 1)

    def saw(self, first_ms: float, now_s: float, leaps: bool) -> None:
        """``leaps``: it is a first token's time. That of a whole answer depends on its length too,
        and says less by itself."""
        kept = 0.0 if self._first_ms is None else self._kept(now_s)
        known_ms = self._first_ms or 0.0
        if leaps and first_ms >= known_ms * kept:
            self._first_ms = first_ms
        else:
            self._first_ms = first_ms + (known_ms - first_ms) * kept
        self._at_s = now_s

    def forget(self) -> None:
        """An outage is over: what was seen during it says nothing any more."""
        self._first_ms = None

    def _kept(self, now_s: float) -> float:
        return exp(min(self._at_s - now_s, 0.0) / FADES_S)


def twins(endpoints: Iterable[Endpoint]) -> dict[tuple[str, str], Endpoint]:
    """Endpoints that serve one model in one zone at one price, where there are several: by name and
    credential."""
    groups: dict[object, list[Endpoint]] = {}
    for endpoint in endpoints:
        model = endpoint.model
        groups.setdefault((model.name, endpoint.zone, model.prices), []).append(endpoint)
    return {
        (endpoint.name, credential): endpoint
        for group in groups.values()
        if len(group) > 1
        for endpoint in group
        for credential in [secret.id for secret in endpoint.secrets] or [""]
    }
