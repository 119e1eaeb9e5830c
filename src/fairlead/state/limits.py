"""Requests and tokens per minute of each key. No clock of its own; knows no budget.

GCRA: a bucket that holds one minute's allowance and fills steadily, kept as one number, the time
at which it will be full again. Counted in integers (nanoseconds times the limit), so that waiting
for as long as a refusal says is always enough, and hardly more than needed.
"""

from collections.abc import Iterable

from fairlead.types.decision import Caller
from fairlead.types.errors import RateLimited

MINUTE_NS = 60_000_000_000
MILLISECOND_NS = 1_000_000
IDLE_BUCKETS = 1024
"""Full buckets are forgotten whenever there are this many more than after the last time."""

REQUESTS, TOKENS = "requests", "tokens"

Level = tuple[str, str, int, int]
"""Key, what of it is limited, the limit, and when the bucket is full: on a clock that all processes
of this machine share."""


class Bucket:
    """``full_at`` is in nanoseconds times ``limit``: one unit of the allowance is MINUTE_NS."""

    __slots__ = ("full_at", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.full_at = 0

    def resize(self, limit: int) -> None:
        """A key's limit was changed: the time at which it is full stays."""
        self.full_at = self.full_at * limit // self.limit
        self.limit = limit

    def after(self, units: int, now_ns: int) -> int:
        """``full_at`` if so many units were taken now."""
        return max(self.full_at, now_ns * self.limit) + units * MINUTE_NS

    def wait_ns(self, full_at: int, now_ns: int) -> int:
        """How long until a bucket that is full at ``full_at`` is no more than empty."""
        too_late = full_at - (now_ns + MINUTE_NS) * self.limit
        return max(0, -(-too_late // self.limit))


class RateLimits:
    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._sweep_at = IDLE_BUCKETS

    def __len__(self) -> int:
        return len(self._buckets)

    def levels(self) -> list[Level]:
        """For the process that takes over."""
        return [(*key, bucket.limit, bucket.full_at) for key, bucket in self._buckets.items()]

    def inherit(self, levels: Iterable[Level]) -> None:
        for key_id, what, limit, full_at in levels:
            self._bucket(key_id, what, limit).full_at = full_at

    def admit(self, caller: Caller, tokens: int, now_s: float) -> None:
        """Take one request and so many tokens, both or neither.

        Raises RateLimited with the seconds after which the same request would pass; without,
        and not retryable, when it never would.
        """
        limits = caller.limits
        per_minute = limits.requests_per_minute, limits.tokens_per_minute
        if per_minute == (None, None):
            return
        now_ns = int(now_s * 1e9)
        if len(self._buckets) >= self._sweep_at:
            self._sweep(now_ns)
        taken = []
        for limit, units, what in zip(per_minute, (1, tokens), (REQUESTS, TOKENS), strict=True):
            if limit is not None:
                if units > limit or not limit:
                    raise _never(what, limit, units)
                bucket = self._bucket(caller.id, what, limit)
                full_at = bucket.after(units, now_ns)
                if wait_ns := bucket.wait_ns(full_at, now_ns):
                    raise _later(what, limit, wait_ns)
                taken.append((bucket, full_at))
        for bucket, full_at in taken:
            bucket.full_at = full_at

    def give_back(self, caller: Caller, tokens: int, now_s: float) -> None:
        """What was taken for a request that was then not sent: a refusal costs nothing."""
        limits = caller.limits
        now_ns = int(now_s * 1e9)
        per_minute = limits.requests_per_minute, limits.tokens_per_minute
        for limit, units, what in zip(per_minute, (1, tokens), (REQUESTS, TOKENS), strict=True):
            if limit:
                bucket = self._bucket(caller.id, what, limit)
                bucket.full_at = bucket.after(-units, now_ns)

    def correct(self, caller: Caller, estimated: int, actual: int, now_s: float) -> None:
        """Give back tokens that were estimated and not used, or take those used beyond."""
        limit = caller.limits.tokens_per_minute
        if limit:
            now_ns = int(now_s * 1e9)
            bucket = self._bucket(caller.id, TOKENS, limit)
            bucket.full_at = bucket.after(actual - estimated, now_ns)

    def _bucket(self, key_id: str, what: str, limit: int) -> Bucket:
        bucket = self._buckets.get((key_id, what))
        if bucket is None:
            bucket = self._buckets[key_id, what] = Bucket(limit)
        elif bucket.limit != limit:
            bucket.resize(limit)
        return bucket

    def _sweep(self, now_ns: int) -> None:
        """Forget full buckets: a new one is the same."""
        self._buckets = {
            key: bucket
            for key, bucket in self._buckets.items()
            if bucket.full_at > now_ns * bucket.limit
        }
        self._sweep_at = len(self._buckets) + IDLE_BUCKETS


def _later(what: str, limit: int, wait_ns: int) -> RateLimited:
    wait_ms = -(-wait_ns // MILLISECOND_NS)
    return RateLimited(
        f"this key may use {_counted(limit, what)} per minute: try again in {wait_ms / 1000:g} s",
        retry_after_s=wait_ms / 1000,
    )


def _never(what: str, limit: int, units: int) -> RateLimited:
    error = RateLimited(
        f"this key may use {_counted(limit, what)} per minute and the request needs {units:,}"
        " at once"
    )
    error.retryable = False
    return error


def _counted(limit: int, what: str) -> str:
    return f"{limit:,} {what.removesuffix('s') if limit == 1 else what}"
