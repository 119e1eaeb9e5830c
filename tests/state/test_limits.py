"""Rate limits: who passes when, and what a refusal costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.state import limits
from fairlead.state.limits import RateLimits
from fairlead.types.decision import Caller, Limits
from fairlead.types.errors import RateLimited

START_S = 1000.0


def caller(requests: int | None = None, tokens: int | None = None, key: str = "k1") -> Caller:
    return Caller(key, key, limits=Limits(requests_per_minute=requests, tokens_per_minute=tokens))


def passes(limiter: RateLimits, by: Caller, tokens: int, now_s: float) -> bool:
    try:
        limiter.admit(by, tokens, now_s)
    except RateLimited:
        return False
    return True


def how_many(limiter: RateLimits, by: Caller, tokens: int, now_s: float) -> int:
    count = 0
    while passes(limiter, by, tokens, now_s):
        count += 1
    return count


@pytest.mark.parametrize(
    ("by", "tokens", "at_once", "a_second_later", "a_minute_later"),
    [
        pytest.param(caller(requests=60), 0, 60, 1, 60, id="requests"),
        pytest.param(caller(tokens=600), 100, 6, 0, 6, id="tokens"),
        pytest.param(caller(tokens=600), 10, 60, 1, 60, id="small requests in tokens"),
        pytest.param(caller(requests=2, tokens=600), 100, 2, 0, 2, id="the tighter of both"),
    ],
)
def test_a_minutes_allowance_and_then_a_steady_flow(
    by: Caller, tokens: int, at_once: int, a_second_later: int, a_minute_later: int
) -> None:
    limiter = RateLimits()

    assert how_many(limiter, by, tokens, START_S) == at_once
    assert how_many(limiter, by, tokens, START_S + 1) == a_second_later
    assert how_many(limiter, by, tokens, START_S + 61.001) == a_minute_later


def test_no_limit_keeps_nothing() -> None:
    limiter = RateLimits()
    limiter.admit(caller(), 10**9, START_S)

    assert len(limiter) == 0


@pytest.mark.parametrize(
    ("by", "tokens", "message"),
    [
        pytest.param(caller(tokens=10), 11, "10 tokens per minute and .* needs 11", id="too large"),
        pytest.param(caller(requests=0), 0, "0 requests per minute", id="no request at all"),
        pytest.param(caller(tokens=0), 0, "0 tokens per minute", id="no token at all"),
    ],
)
def test_what_would_never_pass_says_so(by: Caller, tokens: int, message: str) -> None:
    with pytest.raises(RateLimited, match=message) as refusal:
        RateLimits().admit(by, tokens, START_S)

    assert not refusal.value.retryable
    assert refusal.value.retry_after_s is None


def test_a_refusal_says_when_to_come_again() -> None:
    limiter, by = RateLimits(), caller(requests=6)
    how_many(limiter, by, 0, START_S)
    with pytest.raises(RateLimited) as refusal:
        limiter.admit(by, 0, START_S + 4)

    assert refusal.value.retry_after_s == 6
    assert refusal.value.message == "this key may use 6 requests per minute: try again in 6 s"
    assert refusal.value.retryable


def test_a_limit_of_one_is_one_request() -> None:
    limiter, by = RateLimits(), caller(requests=1)
    limiter.admit(by, 0, START_S)

    with pytest.raises(RateLimited, match="this key may use 1 request per minute: try again in"):
        limiter.admit(by, 0, START_S)


def test_a_request_refused_for_its_tokens_costs_no_request() -> None:
    limiter, by = RateLimits(), caller(requests=2, tokens=100)
    limiter.admit(by, 100, START_S)
    for _ in range(5):
        assert not passes(limiter, by, 100, START_S)

    assert passes(limiter, by, 0, START_S)
    assert not passes(limiter, by, 0, START_S)


@pytest.mark.parametrize(
    ("actual", "then_passes"),
    [
        pytest.param(20, 80, id="fewer used: the rest is given back"),
        pytest.param(100, 0, id="as estimated"),
        pytest.param(0, 100, id="none used"),
    ],
)
def test_a_correction_counts_what_was_used(actual: int, then_passes: int) -> None:
    limiter, by = RateLimits(), caller(tokens=100)
    limiter.admit(by, 100, START_S)
    limiter.correct(by, 100, actual, START_S)

    assert how_many(limiter, by, 1, START_S) == then_passes


def test_tokens_used_beyond_the_estimate_delay_the_next() -> None:
    limiter, by = RateLimits(), caller(tokens=60)
    limiter.admit(by, 60, START_S)
    limiter.correct(by, 60, 120, START_S)

    assert not passes(limiter, by, 1, START_S + 60)
    assert passes(limiter, by, 1, START_S + 61)


def test_giving_back_never_makes_more_than_a_minute() -> None:
    limiter, by = RateLimits(), caller(tokens=60)
    limiter.admit(by, 10, START_S)
    limiter.correct(by, 10_000, 0, START_S + 30)

    assert how_many(limiter, by, 1, START_S + 30) == 60


@pytest.mark.parametrize(
    "by",
    [
        caller(requests=3),
        caller(tokens=90),
        caller(requests=3, tokens=90),
        pytest.param(caller(requests=0, tokens=0), id="nothing to give"),
        pytest.param(caller(), id="no limit"),
    ],
)
def test_what_is_given_back_can_be_taken_again(by: Caller) -> None:
    limiter, fresh = RateLimits(), RateLimits()
    passes(limiter, by, 30, START_S)
    limiter.give_back(by, 30, START_S)

    for _ in range(3):
        assert passes(limiter, by, 30, START_S) == passes(fresh, by, 30, START_S)
    assert passes(limiter, by, 30, START_S) == (by.limits == Limits())


def test_a_changed_limit_holds_at_once() -> None:
    limiter = RateLimits()
    how_many(limiter, caller(requests=60), 0, START_S)

    assert how_many(limiter, caller(requests=120), 0, START_S + 30) == 60


def test_memory_is_bounded_by_who_asked_of_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IDLE_BUCKETS", 10)
    limiter = RateLimits()
    for number in range(100):
        limiter.admit(caller(requests=60, tokens=60, key=f"k{number}"), 1, START_S + 10 * number)

    assert len(limiter) <= 24
    busy = caller(requests=60, tokens=60, key="k99")
    assert how_many(limiter, busy, 1, START_S + 990) == 59


Asks = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5000)), max_size=40)


@given(st.integers(1, 1000), st.integers(30, 100_000), Asks)
def test_waiting_as_told_is_enough_and_hardly_more_than_needed(
    requests: int, tokens: int, asks: list[tuple[int, int]]
) -> None:
    limiter, by, now_s = RateLimits(), caller(requests, tokens), START_S
    for units, pause_ms in asks:
        now_s += pause_ms / 1000
        # Twice at most: after one limit is satisfied, the other may have its say.
        while wait_s := wait_of(limiter, by, units, now_s):
            assert wait_of(limiter, by, units, now_s + wait_s - 0.0021)
            now_s += wait_s


def wait_of(limiter: RateLimits, by: Caller, tokens: int, now_s: float) -> float | None:
    try:
        limiter.admit(by, tokens, now_s)
    except RateLimited as refusal:
        return refusal.retry_after_s
    return None


def test_another_process_goes_on_where_the_first_one_was() -> None:
    by, first, second = caller(requests=3, tokens=600), RateLimits(), RateLimits()
    assert passes(first, by, 100, START_S)
    second.inherit(first.levels())

    assert [how_many(each, by, 100, START_S + 1) for each in (first, second)] == [2, 2]
