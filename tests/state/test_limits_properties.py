"""Rate limits against their definition in exact fractions, and against the one thing that a limit
is for: in no stretch of time does more pass than what a full bucket and its refilling allow."""

from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fairlead.state import limits
from fairlead.state.limits import RateLimits
from fairlead.types.decision import Caller, Limits
from fairlead.types.errors import RateLimited

MINUTE_S = 60
HOUR_S = 3600
START_S = 2.0 * HOUR_S

KEYS = st.sampled_from(["k1", "k2", "k3"])
LIMITS = st.sampled_from([None, 0, 1, 2, 6, 60, 1000, 60_000])
"""A change of one of these for another moves no full bucket by a rounding."""


class Reference(RuleBasedStateMachine):
    """A bucket is the time at which it is full. Taking so many units at an instant moves that time
    on, from the instant or from itself, by a minute for each allowance; what would be full later
    than in a minute is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter = RateLimits()
        self.now_s = START_S
        self.full_at_s: dict[tuple[str, str], Fraction] = {}

    def after(self, key: str, what: str, units: int, limit: int) -> Fraction:
        full_at_s = self.full_at_s.get((key, what), Fraction(0))
        return max(full_at_s, Fraction(self.now_s)) + Fraction(units * MINUTE_S, limit)

    @rule(quarters=st.integers(1, 400))
    def wait(self, quarters: int) -> None:
        self.now_s += quarters / 4

    @rule(step_s=st.sampled_from([-HOUR_S, HOUR_S]))
    def the_clock_jumps(self, step_s: int) -> None:
        self.now_s = max(HOUR_S, self.now_s + step_s)

    @rule(key=KEYS, requests=LIMITS, per_minute=LIMITS, tokens=st.integers(0, 2000))
    def admit(self, key: str, requests: int | None, per_minute: int | None, tokens: int) -> None:
        taken: dict[tuple[str, str], Fraction] = {}
        expected: Fraction | str | None = None
        for what, limit, units in (("requests", requests, 1), ("tokens", per_minute, tokens)):
            if limit is None:
                continue
            if units > limit or not limit:
                expected = "never"
                break
            full_at_s = self.after(key, what, units, limit)
            if (wait_s := full_at_s - Fraction(self.now_s) - MINUTE_S) > 0:
                expected = wait_s
                break
            taken[key, what] = full_at_s
        by = Caller(key, key, limits=Limits(requests, per_minute))
        told = self.told(by, tokens)
        if expected is None:
            self.full_at_s.update(taken)
            assert told is None
        elif isinstance(expected, Fraction):
            assert isinstance(told, float)
            assert expected <= Fraction(told) + Fraction(1, 10**9) <= expected + Fraction(2, 1000)
        else:
            assert told == expected

    @rule(key=KEYS, limit=LIMITS, estimated=st.integers(0, 500), actual=st.integers(0, 2000))
    def correct(self, key: str, limit: int | None, estimated: int, actual: int) -> None:
        if limit:
            moved = self.after(key, "tokens", actual - estimated, limit)
            self.full_at_s[key, "tokens"] = moved
        by = Caller(key, key, limits=Limits(None, limit))
        self.limiter.correct(by, estimated, actual, self.now_s)

    def told(self, by: Caller, tokens: int) -> float | str | None:
        """None: it passed. Otherwise after how many seconds it would, or ``never``."""
        try:
            self.limiter.admit(by, tokens, self.now_s)
        except RateLimited as refusal:
            return refusal.retry_after_s if refusal.retryable else "never"
        return None


class Sweeping(Reference):
    """The same with full buckets forgotten all the time, as when thousands of keys come and go. The
    clock goes forwards only: what was forgotten would have to be known again."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = limits.IDLE_BUCKETS
        limits.IDLE_BUCKETS = 1
        self.limiter = RateLimits()

    def teardown(self) -> None:
        limits.IDLE_BUCKETS = self.kept

    @rule()
    def the_clock_jumps(self) -> None:
        self.now_s += HOUR_S


class Stretches(RuleBasedStateMachine):
    """No more than a full bucket and its refilling, in any stretch, whoever asks how."""

    requests, tokens = 10, 600

    def __init__(self) -> None:
        super().__init__()
        self.limiter = RateLimits()
        self.by = Caller("k1", "k1", limits=Limits(self.requests, self.tokens))
        self.now_s = START_S
        self.passed: list[tuple[float, int]] = []

    @rule(quarters=st.integers(0, 300))
    def wait(self, quarters: int) -> None:
        self.now_s += quarters / 4

    @rule(tokens=st.integers(0, 700), times=st.integers(1, 15))
    def ask(self, tokens: int, times: int) -> None:
        for _ in range(times):
            try:
                self.limiter.admit(self.by, tokens, self.now_s)
            except RateLimited:
                return
            self.passed.append((self.now_s, tokens))

    @invariant()
    def nothing_slips_through(self) -> None:
        requests = tokens = 0
        for at_s, units in reversed(self.passed):
            requests, tokens = requests + 1, tokens + units
            minutes = Fraction(self.now_s - at_s) / MINUTE_S
            assert requests <= self.requests * (1 + minutes)
            assert tokens <= self.tokens * (1 + minutes)


TestReference = Reference.TestCase
TestSweeping = Sweeping.TestCase
TestStretches = Stretches.TestCase
