"""One row, one failure: who is asked next. Reliability notes 2.1, as a table."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from decide.pool import FLAGSHIP, LOCAL, MID, SMALL, attempt, changed, keyed
from fairlead.decide.failover import (
    LONGEST_WAIT_S,
    RULES,
    Allowance,
    Rule,
    Tried,
    goes_regardless,
    is_retry,
    next_attempt,
    pause_s,
    who_is_left,
)
from fairlead.types.catalog import Endpoint
from fairlead.types.decision import Attempt, Grant, Plan, Task
from fairlead.types.errors import Failure, UpstreamError

TWO_KEYS = keyed(FLAGSHIP, "key-1", "key-2")
SIBLING = keyed(MID, "key-1")


def attempts_of(*endpoints: Endpoint) -> tuple[Attempt, ...]:
    return tuple(attempt(one, secret) for one in endpoints for secret in one.secrets or (None,))


def plan_of(*endpoints: Endpoint, max_attempts: int = 5, deadline_s: float = 60.0) -> Plan:
    attempts = attempts_of(*endpoints)
    return Plan(
        route="auto",
        task=Task("chat", 0.1, 10, 10),
        grant=Grant(frozenset(one.name for one in endpoints)),
        attempts=attempts,
        rejected=(),
        max_attempts=max_attempts,
        deadline_s=deadline_s,
        reason="",
    )


def failed(one: Attempt, failure: Failure, retry_after_s: float | None = None) -> Tried:
    return Tried(one, UpstreamError(failure, "it failed", retry_after_s=retry_after_s))


def asked_next(
    plan: Plan, *failures: Failure, retry_after_s: float | None = None
) -> list[str | None]:
    """Whom each failure in turn leads to."""
    tried: list[Tried] = []
    story: list[str | None] = []
    current = next_attempt(plan, tried, 0.0, False)
    for failure in failures:
        assert current is not None
        tried.append(failed(current, failure, retry_after_s))
        current = next_attempt(plan, tried, 1.0, False)
        story.append("#".join(filter(None, current.key)) if current else None)
    return story


def test_every_failure_has_a_rule() -> None:
    assert set(RULES) == set(Failure)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure.RATE_LIMIT, Rule(same_endpoint=1, other_credential=True, gates=True)),
        (Failure.QUOTA, Rule(other_credential=True, whole_credential=True, gates=True)),
        (Failure.OVERLOADED, Rule(same_endpoint=1, trips_breaker=True)),
        (Failure.TRANSIENT, Rule(same_endpoint=1, trips_breaker=True)),
        (Failure.CONNECT, Rule(same_endpoint=1, trips_breaker=True)),
        (Failure.SILENT, Rule(trips_breaker=True)),
        (Failure.MODEL_GONE, Rule(retires=True)),
        (Failure.CREDENTIAL, Rule(other_credential=True, whole_credential=True, gates=True)),
        (Failure.CONTEXT_LENGTH, Rule(larger_context_only=True)),
        (Failure.CONTENT_FILTER, Rule(elsewhere=False)),
        (Failure.CALLER_FAULT, Rule(elsewhere=False)),
        (Failure.BAD_SUCCESS, Rule(trips_breaker=True)),
        (Failure.STREAM_BROKEN, Rule(trips_breaker=True)),
    ],
    ids=lambda value: value.value if isinstance(value, Failure) else "",
)
def test_what_follows_from_a_failure(failure: Failure, expected: Rule) -> None:
    assert RULES[failure] == expected


def test_the_first_is_the_plans_first() -> None:
    first = next_attempt(plan_of(MID, SMALL), (), 0.0, False)

    assert first is not None
    assert first.endpoint == MID


ELSEWHERE = [failure for failure in Failure if RULES[failure].elsewhere]


@pytest.mark.parametrize("failure", ELSEWHERE)
def test_elsewhere_comes_before_the_same_again(failure: Failure) -> None:
    larger = changed(SMALL, context_tokens=500_000)

    assert asked_next(plan_of(MID, larger), failure) == ["bolt/small"]


@pytest.mark.parametrize(
    ("endpoints", "failures", "expected"),
    [
        pytest.param(
            (MID, SMALL), [Failure.CALLER_FAULT], [None], id="callers-fault-fails-everywhere"
        ),
        pytest.param((MID, SMALL), [Failure.CONTENT_FILTER], [None], id="filter-is-an-answer"),
        pytest.param(
            (MID,), [Failure.TRANSIENT] * 2, ["acme/mid", None], id="the-only-one-once-more"
        ),
        pytest.param((MID,), [Failure.OVERLOADED], ["acme/mid"], id="overloaded-once-more"),
        pytest.param((MID,), [Failure.CONNECT], ["acme/mid"], id="unreachable-once-more"),
        pytest.param((MID,), [Failure.SILENT], [None], id="silent-not-again"),
        pytest.param((MID,), [Failure.BAD_SUCCESS], [None], id="wrong-answer-not-again"),
        pytest.param((MID,), [Failure.STREAM_BROKEN], [None], id="broken-answer-not-again"),
        pytest.param((MID,), [Failure.MODEL_GONE], [None], id="gone-not-again"),
        pytest.param((MID,), [Failure.CREDENTIAL], [None], id="dead-key-not-again"),
        pytest.param((MID,), [Failure.RATE_LIMIT], [None], id="limit-without-a-time-not-again"),
        pytest.param(
            (MID, SMALL),
            [Failure.TRANSIENT] * 3,
            ["bolt/small", "bolt/small", None],
            id="only-the-last-again",
        ),
        pytest.param(
            (TWO_KEYS, SMALL),
            [Failure.RATE_LIMIT] * 2,
            ["acme/flagship#key-2", "bolt/small"],
            id="limit-other-key-first",
        ),
        pytest.param(
            (TWO_KEYS, SMALL),
            [Failure.QUOTA] * 2,
            ["acme/flagship#key-2", "bolt/small"],
            id="quota-other-key-first",
        ),
        pytest.param(
            (SMALL, TWO_KEYS),
            [Failure.TRANSIENT, Failure.CREDENTIAL],
            ["acme/flagship#key-1", "acme/flagship#key-2"],
            id="dead-key-other-key-first",
        ),
        pytest.param(
            (TWO_KEYS, SMALL),
            [Failure.OVERLOADED],
            ["bolt/small"],
            id="overload-is-not-the-keys-fault",
        ),
        pytest.param(
            (keyed(FLAGSHIP, "key-1"), SIBLING, SMALL),
            [Failure.CREDENTIAL, Failure.TRANSIENT],
            ["bolt/small", "acme/mid#key-1"],
            id="dead-key-elsewhere-last",
        ),
        pytest.param(
            (keyed(FLAGSHIP, "key-1"), SIBLING, SMALL),
            [Failure.RATE_LIMIT],
            ["acme/mid#key-1"],
            id="limited-key-serves-other-models",
        ),
        pytest.param(
            (MID, SMALL, changed(LOCAL, context_tokens=300_000)),
            [Failure.CONTEXT_LENGTH],
            ["house/tiny"],
            id="only-a-larger-context",
        ),
        pytest.param(
            (MID, FLAGSHIP), [Failure.CONTEXT_LENGTH], [None], id="as-large-is-not-larger"
        ),
        pytest.param(
            (MID, changed(FLAGSHIP, context_tokens=None)),
            [Failure.CONTEXT_LENGTH],
            [None],
            id="unknown-is-not-larger",
        ),
        pytest.param(
            (changed(MID, context_tokens=None), FLAGSHIP),
            [Failure.CONTEXT_LENGTH],
            ["acme/flagship"],
            id="larger-than-unknown",
        ),
        pytest.param(
            (MID, changed(FLAGSHIP, context_tokens=300_000), SMALL),
            [Failure.CONTEXT_LENGTH, Failure.TRANSIENT],
            ["acme/flagship", "acme/flagship"],
            id="still-only-larger-two-hops-on",
        ),
        pytest.param(
            (changed(MID, successor="tiny"), SMALL, LOCAL),
            [Failure.MODEL_GONE],
            ["house/tiny"],
            id="successor-first",
        ),
        pytest.param(
            (changed(MID, successor="unheard-of"), SMALL, LOCAL),
            [Failure.MODEL_GONE],
            ["bolt/small"],
            id="successor-not-in-the-plan",
        ),
    ],
)
def test_who_is_next(
    endpoints: Sequence[Endpoint], failures: Sequence[Failure], expected: list[str | None]
) -> None:
    assert asked_next(plan_of(*endpoints), *failures) == expected


@pytest.mark.parametrize(
    ("max_attempts", "elapsed_s", "answering", "expected"),
    [
        pytest.param(2, 1.0, False, True, id="budget-and-time-left"),
        pytest.param(1, 1.0, False, False, id="no-attempt-left"),
        pytest.param(2, 60.0, False, False, id="deadline-passed"),
        pytest.param(2, 1.0, True, False, id="the-caller-has-read-some"),
    ],
)
def test_when_to_stop(max_attempts: int, elapsed_s: float, answering: bool, expected: bool) -> None:
    plan = plan_of(MID, SMALL, max_attempts=max_attempts)
    tried = [failed(plan.attempts[0], Failure.TRANSIENT)]

    assert (next_attempt(plan, tried, elapsed_s, answering) is not None) is expected


@pytest.mark.parametrize(
    ("failure", "retry_after_s", "deadline_s", "expected"),
    [
        pytest.param(Failure.RATE_LIMIT, LONGEST_WAIT_S, 60.0, True, id="short-wait"),
        pytest.param(Failure.RATE_LIMIT, 2.6, 60.0, False, id="too-long-a-wait"),
        pytest.param(Failure.RATE_LIMIT, 2.0, 3.0, False, id="wait-beyond-the-deadline"),
        pytest.param(Failure.OVERLOADED, 30.0, 60.0, False, id="overloaded-for-long"),
        pytest.param(Failure.OVERLOADED, None, 60.0, True, id="overloaded-it-did-not-say"),
    ],
)
def test_the_only_endpoint_is_waited_for(
    failure: Failure, retry_after_s: float | None, deadline_s: float, expected: bool
) -> None:
    plan = plan_of(MID, deadline_s=deadline_s)

    again = asked_next(plan, failure, retry_after_s=retry_after_s)

    assert again == (["acme/mid"] if expected else [None])


@pytest.mark.parametrize(
    ("repeated", "retry_after_s", "dice", "expected"),
    [
        pytest.param(False, 2.0, 0.5, 0.0, id="somebody-else-at-once"),
        pytest.param(True, 2.0, 0.5, 2.0, id="as-long-as-it-asked"),
        pytest.param(True, 9.0, 0.5, LONGEST_WAIT_S, id="but-not-longer"),
        pytest.param(True, None, 0.0, 0.25, id="it-did-not-say"),
        pytest.param(True, None, 0.5, 0.375, id="with-jitter"),
    ],
)
def test_the_pause_before_an_attempt(
    repeated: bool, retry_after_s: float | None, dice: float, expected: float
) -> None:
    last, other = attempts_of(MID, SMALL)
    tried = [failed(last, Failure.OVERLOADED, retry_after_s)]

    assert pause_s(last if repeated else other, tried, dice) == expected


def test_no_pause_before_the_first() -> None:
    assert pause_s(attempt(MID), (), 0.9) == 0.0


def test_a_longer_plan_is_cut_by_its_budget() -> None:
    plan = replace(plan_of(MID, SMALL, LOCAL), max_attempts=2)

    assert asked_next(plan, Failure.TRANSIENT, Failure.TRANSIENT) == ["bolt/small", None]


# Retries are limited where they pile load on somebody who fails.

MID_KEY, SMALL_KEY = ("acme/mid", ""), ("bolt/small", "")


@pytest.mark.parametrize(
    ("endpoints", "ailing", "spent", "expected"),
    [
        pytest.param((MID,), [], [], "acme/mid", id="the-same-again-while-any-is-left"),
        pytest.param((MID,), [], [MID_KEY], None, id="the-same-again-when-spent"),
        pytest.param((MID, SMALL), [MID_KEY], [MID_KEY], "bolt/small", id="another-who-is-well"),
        pytest.param((MID, SMALL), [], [SMALL_KEY], "bolt/small", id="another-who-is-well-always"),
        pytest.param((MID, SMALL), [SMALL_KEY], [], "bolt/small", id="another-who-fails-too"),
        pytest.param((MID, SMALL), [SMALL_KEY], [SMALL_KEY], "acme/mid", id="not-when-spent"),
        pytest.param(
            (MID, SMALL), [MID_KEY, SMALL_KEY], [MID_KEY, SMALL_KEY], None, id="everybody-spent"
        ),
        pytest.param(
            (MID, SMALL, LOCAL), [SMALL_KEY], [SMALL_KEY], "house/tiny", id="the-next-who-is-well"
        ),
        pytest.param(
            (MID, SMALL, LOCAL),
            [SMALL_KEY],
            [],
            "house/tiny",
            id="who-is-well-first",
        ),
    ],
)
def test_the_allowance(
    endpoints: tuple[Endpoint, ...],
    ailing: list[tuple[str, str]],
    spent: list[tuple[str, str]],
    expected: str | None,
) -> None:
    plan = plan_of(*endpoints)
    tried = [failed(plan.attempts[0], Failure.TRANSIENT)]
    allowance = Allowance(frozenset(ailing), frozenset(spent))

    following = next_attempt(plan, tried, 1.0, False, allowance)

    assert (following and following.endpoint.name) == expected


def test_the_first_attempt_is_no_retry() -> None:
    plan = plan_of(MID)
    worst = Allowance(frozenset([MID_KEY]), frozenset([MID_KEY]))

    assert next_attempt(plan, (), 0.0, False, worst) == plan.attempts[0]
    assert not is_retry(plan.attempts[0], (), worst)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (UpstreamError(Failure.STREAM_BROKEN, "the connection broke off"), True),
        (UpstreamError(Failure.STREAM_BROKEN, "no", upstream_code="server_error"), False),
        (UpstreamError(Failure.TRANSIENT, "it failed"), False),
    ],
)
def test_who_had_begun_to_answer_is_asked_once_more_beyond_the_allowance(
    error: UpstreamError, again: bool
) -> None:
    plan = plan_of(MID)
    worst = Allowance(frozenset([MID_KEY]), frozenset([MID_KEY]))
    tried = [Tried(plan.attempts[0], error)]

    assert (next_attempt(plan, tried, 1.0, False, worst, streams=True) is not None) == again
    assert is_retry(plan.attempts[0], tried, worst) != again
    assert next_attempt(plan, tried * 2, 1.0, False, worst, streams=True) is None
    assert next_attempt(plan, tried, 1.0, False, worst) is None


@pytest.mark.parametrize(
    ("chosen", "ailing", "regardless"),
    [
        pytest.param(0, [], False, id="the-same-again"),
        pytest.param(0, [MID_KEY], False, id="the-same-again-and-others-found-out-meanwhile"),
        pytest.param(1, [], False, id="another-who-is-well-or-to-be-tried"),
        pytest.param(1, [SMALL_KEY], True, id="another-whom-a-breaker-keeps-requests-from"),
    ],
)
def test_whom_no_breaker_keeps_from_being_asked(
    chosen: int, ailing: list[tuple[str, str]], regardless: bool
) -> None:
    plan = plan_of(MID, SMALL)
    tried = [failed(plan.attempts[0], Failure.TRANSIENT)]
    allowance = Allowance(frozenset(ailing))

    assert goes_regardless(plan.attempts[chosen], tried, allowance) == regardless


@pytest.mark.parametrize(
    ("chosen", "ailing", "counts"),
    [
        pytest.param(0, [], True, id="the-same-again"),
        pytest.param(1, [], False, id="another-who-is-well"),
        pytest.param(1, [SMALL_KEY], True, id="another-who-fails-too"),
    ],
)
def test_what_counts_as_a_retry(chosen: int, ailing: list[tuple[str, str]], counts: bool) -> None:
    plan = plan_of(MID, SMALL)
    tried = [failed(plan.attempts[0], Failure.TRANSIENT)]

    assert is_retry(plan.attempts[chosen], tried, Allowance(frozenset(ailing))) == counts


# Of last resort: whom only a breaker or a forecast kept back when the plan was made.


def with_last(well: Sequence[Endpoint], last: Sequence[Endpoint], **facts: Any) -> Plan:
    plan = plan_of(*well, *last, **facts)
    attempts = tuple(
        replace(one, last_resort="breaker is open") if one.endpoint in last else one
        for one in plan.attempts
    )
    return replace(plan, attempts=attempts)


@pytest.mark.parametrize(
    ("well", "last", "failures", "expected"),
    [
        # Whatever would be done without it is done before.
        ([MID], [SMALL], [Failure.TRANSIENT] * 2, ["acme/mid", "bolt/small"]),
        ([MID, LOCAL], [SMALL], [Failure.TRANSIENT] * 3, [*["house/tiny"] * 2, "bolt/small"]),
        # At once where the same again makes no sense.
        ([MID], [SMALL], [Failure.SILENT], ["bolt/small"]),
        ([MID], [SMALL], [Failure.RATE_LIMIT], ["bolt/small"]),
        ([MID, LOCAL], [SMALL], [Failure.SILENT] * 2, ["house/tiny", "bolt/small"]),
        ([changed(MID, successor="small"), LOCAL], [SMALL], [Failure.MODEL_GONE], ["house/tiny"]),
        # Each of them once.
        ([MID], [SMALL], [Failure.SILENT, Failure.TRANSIENT], ["bolt/small", None]),
        ([MID], [SMALL, LOCAL], [Failure.SILENT] * 2, ["bolt/small", "house/tiny"]),
        # But where nobody was well from the start.
        ([], [SMALL], [Failure.TRANSIENT] * 2, ["bolt/small", None]),
        ([], [SMALL, LOCAL], [Failure.TRANSIENT], ["house/tiny"]),
        # The other rules stand.
        ([MID], [SMALL], [Failure.CALLER_FAULT], [None]),
        ([MID], [SMALL], [Failure.CONTENT_FILTER], [None]),
        ([MID], [SMALL], [Failure.CONTEXT_LENGTH], [None]),
    ],
)  # fmt: skip
def test_when_the_last_resort_comes(
    well: list[Endpoint], last: list[Endpoint], failures: list[Failure], expected: list[str | None]
) -> None:
    assert asked_next(with_last(well, last), *failures) == expected


def test_the_last_resort_is_one_of_the_attempts() -> None:
    plan = with_last([MID], [SMALL], max_attempts=2)

    assert asked_next(plan, *[Failure.TRANSIENT] * 2) == ["acme/mid", None]


LOCAL_KEY = ("house/tiny", "")


@pytest.mark.parametrize(
    ("well", "last", "allowance", "expected"),
    [
        ([MID], [SMALL], Allowance(frozenset([SMALL_KEY])), "bolt/small"),
        ([MID], [SMALL], Allowance(frozenset([SMALL_KEY]), frozenset([SMALL_KEY])), None),
        # Its breaker has closed since.
        ([MID], [SMALL], Allowance(spent=frozenset([SMALL_KEY])), "bolt/small"),
        ([MID], [SMALL, LOCAL], Allowance(frozenset([SMALL_KEY])), "house/tiny"),
        # Its provider has said no since, and so has that of one who was well.
        ([MID], [SMALL], Allowance(refusing=frozenset([SMALL_KEY])), None),
        ([MID, LOCAL], [], Allowance(refusing=frozenset([LOCAL_KEY])), None),
        ([MID, LOCAL], [SMALL], Allowance(refusing=frozenset([LOCAL_KEY])), "bolt/small"),
        # Who was well when the plan was made comes first all the same.
        ([MID, LOCAL], [SMALL], Allowance(frozenset([LOCAL_KEY])), "house/tiny"),
    ],
)
def test_what_has_happened_to_the_last_resort_since(
    well: list[Endpoint], last: list[Endpoint], allowance: Allowance, expected: str | None
) -> None:
    plan = with_last(well, last)
    tried = [failed(plan.attempts[0], Failure.SILENT)]

    following = next_attempt(plan, tried, 1.0, False, allowance)

    assert (following and following.endpoint.name) == expected


@pytest.mark.parametrize(("last", "expected"), [([SMALL], "bolt/small"), ([], None)])
def test_who_is_left_where_the_same_again_is_kept_out(
    last: list[Endpoint], expected: str | None
) -> None:
    plan = with_last([MID], last)
    tried = [failed(plan.attempts[0], Failure.TRANSIENT)]
    assert next_attempt(plan, tried, 1.0, False) == plan.attempts[0]

    other = who_is_left(plan, tried, Allowance(frozenset([MID_KEY])))

    assert (other and other.endpoint.name) == expected
