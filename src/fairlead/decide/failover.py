"""After a failure: whom to ask next, or nobody. Pure; dispatch does the asking and the waiting."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from fairlead.types.decision import Attempt, Plan
from fairlead.types.errors import Failure, UpstreamError

LONGEST_WAIT_S = 2.5
"""For a rate limit to pass, when nobody else can answer."""
PAUSE_S = 0.25
"""Before one endpoint is asked the same again; up to twice that, as the dice fall."""


class Rule(Struct, frozen=True, kw_only=True):
    """What follows from one class of failure."""

    same_endpoint: int = 0
    """How often the same endpoint and credential may be asked again, when nobody else is left."""
    other_credential: bool = False
    """The credential is at fault, not the endpoint: its others come first."""
    whole_credential: bool = False
    """The credential is useless wherever else it serves: those endpoints come last."""
    elsewhere: bool = True
    trips_breaker: bool = False
    gates: bool = False
    """Not to be asked until a time: what it said, or else a bench of fixed length."""
    retires: bool = False
    larger_context_only: bool = False


RULES: Mapping[Failure, Rule] = {
    # The endpoint is well, this key has had enough: a gate in time, never a breaker.
    Failure.RATE_LIMIT: Rule(same_endpoint=1, other_credential=True, gates=True),
    # The account is empty. No retry-after will fill it.
    Failure.QUOTA: Rule(other_credential=True, whole_credential=True, gates=True),
    Failure.OVERLOADED: Rule(same_endpoint=1, trips_breaker=True),
    Failure.TRANSIENT: Rule(same_endpoint=1, trips_breaker=True),
    Failure.CONNECT: Rule(same_endpoint=1, trips_breaker=True),
    # It had its time; asking again would double the wait, and it may be working on the first.
    Failure.SILENT: Rule(trips_breaker=True),
    # A fact about the model: a breaker would keep out others that are well.
    Failure.MODEL_GONE: Rule(retires=True),
    Failure.CREDENTIAL: Rule(other_credential=True, whole_credential=True, gates=True),
    Failure.CONTEXT_LENGTH: Rule(larger_context_only=True),
    # Shopping for a model without scruples is not ours to do; the caller sees the reason.
    Failure.CONTENT_FILTER: Rule(elsewhere=False),
    Failure.CALLER_FAULT: Rule(elsewhere=False),
    # It answered, wrongly: it would again.
    Failure.BAD_SUCCESS: Rule(trips_breaker=True),
    # Before any content, but for who had begun to answer. After it decide.rescue says who goes on.
    Failure.STREAM_BROKEN: Rule(trips_breaker=True),
}
"""Reliability notes, 2.1. Dispatch reads who comes next; health reads breakers, gates, retired."""


class Tried(Struct, frozen=True):
    """An attempt and how it failed."""

    attempt: Attempt
    error: UpstreamError


class Allowance(Struct, frozen=True):
    """What the endpoints of a plan may be asked beyond a request's first attempt, by key.

    Retries are limited where they pile load on somebody who fails: the same again, or somebody whom
    a breaker keeps requests from. Any other may always take over, or an outage of the first would
    starve the second. A few failures of his own are no reason: if there are more his breaker opens.
    """

    ailing: frozenset[tuple[str, str]] = frozenset()
    """Those whose breakers keep requests out at this moment. Asked all the same where nobody else
    is left: an answer may come, a refusal never is one."""
    spent: frozenset[tuple[str, str]] = frozenset()
    """Those who had their share of retries."""
    refusing: frozenset[tuple[str, str]] = frozenset()
    """Those whose provider has said no since the plan was made: gone, a bad key, a time to wait."""

    def counts(self, attempt: Attempt, asked: Iterable[Attempt]) -> bool:
        """Whether one more attempt, after those ``asked``, counts against it."""
        before = [one.key for one in asked]
        return attempt.key in before or (bool(before) and attempt.key in self.ailing)


UNLIMITED = Allowance()


def next_attempt(
    plan: Plan,
    tried: Sequence[Tried],
    elapsed_s: float,
    answering: bool,
    allowance: Allowance = UNLIMITED,
    streams: bool = False,
) -> Attempt | None:
    """Whom to ask next, or None to give up. With nothing tried yet, the plan's first.

    ``answering``: the caller has seen part of an answer. ``elapsed_s`` counts from arrival. An
    attempt that was tried before comes again only after ``pause_s``. ``streams``: little of an
    answer was made when it broke, so that it costs little to ask for it again.
    """
    # Another model's words in the middle of an answer would be neither's answer.
    if answering or len(tried) >= plan.max_attempts or elapsed_s >= plan.deadline_s:
        return None
    if not tried:
        return plan.attempts[0]
    last = tried[-1]
    if not RULES[last.error.failure].elsewhere:
        return None
    other = who_is_left(plan, tried, allowance)
    if other is not None and (last.attempt.last_resort or not other.last_resort):
        return other
    if streams and was_answering(last.attempt, tried):
        return last.attempt
    may_repeat = last.attempt.key not in allowance.spent
    return last.attempt if may_repeat and _may_repeat(plan, tried, elapsed_s) else other


def who_is_left(plan: Plan, tried: Sequence[Tried], allowance: Allowance) -> Attempt | None:
    """Who of those not asked yet is next; of last resort once nobody else is left. None: nobody."""
    # A successor that nobody asked for by name answers only once the model itself is gone.
    gone = plan.attempts[0].stands_in or any(RULES[one.error.failure].retires for one in tried)
    left = [
        attempt
        for attempt in plan.attempts
        if _is_open(attempt, tried) and (gone or not attempt.stands_in)
        if attempt.key not in allowance.refusing
        if attempt.key not in allowance.spent or attempt.key not in allowance.ailing
    ]
    ailing = allowance.ailing
    return min(
        left,
        key=lambda one: (bool(one.last_resort), one.key in ailing, *_reluctance(one, tried)),
        default=None,
    )


def was_answering(attempt: Attempt, tried: Sequence[Tried]) -> bool:
    """Whether it had begun to answer and only its connection broke: once more is no load on
    somebody who fails, whatever its breaker says."""
    if len(tried) != 1 or attempt.key != tried[0].attempt.key:
        return False
    error = tried[0].error
    return error.failure is Failure.STREAM_BROKEN and not error.upstream_code


def goes_regardless(attempt: Attempt, tried: Sequence[Tried], allowance: Allowance) -> bool:
    """Whether no breaker keeps it out. Once somebody has failed this request he has none of this:
    what he said stands."""
    kept_out = attempt.key in allowance.ailing and not _was_asked(attempt, tried)
    return kept_out or was_answering(attempt, tried)


def is_retry(attempt: Attempt, tried: Sequence[Tried], allowance: Allowance) -> bool:
    """Whether an attempt counts against the allowance of whom it asks."""
    again = was_answering(attempt, tried)
    return not again and allowance.counts(attempt, [one.attempt for one in tried])


def pause_s(attempt: Attempt, tried: Sequence[Tried], dice: float) -> float:
    """How long to wait before an attempt: not at all, unless it is the one that just failed."""
    if not tried or tried[-1].attempt.key != attempt.key:
        return 0.0
    asked_s = tried[-1].error.retry_after_s
    return PAUSE_S * (1.0 + dice) if asked_s is None else min(asked_s, LONGEST_WAIT_S)


def _was_asked(attempt: Attempt, tried: Sequence[Tried]) -> bool:
    return any([one.attempt.key == attempt.key for one in tried])


def _is_open(attempt: Attempt, tried: Sequence[Tried]) -> bool:
    """Whether nothing that happened so far speaks against an attempt not made yet."""
    for one in tried:
        rule = RULES[one.error.failure]
        if attempt.key == one.attempt.key:
            return False
        if attempt.endpoint.name == one.attempt.endpoint.name and not rule.other_credential:
            return False
        if rule.larger_context_only and not _is_larger(attempt, one.attempt):
            return False
    return True


def _is_larger(attempt: Attempt, than: Attempt) -> bool:
    """Whether its context is known to be larger; unknown is no reason to hope."""
    context = attempt.endpoint.model.context_tokens
    return context is not None and context > (than.endpoint.model.context_tokens or 0)


def _reluctance(attempt: Attempt, tried: Sequence[Tried]) -> tuple[bool, bool, bool]:
    """Least first; among equals the plan's order stands (``min`` keeps the first)."""
    last = tried[-1]
    failed, rule = last.attempt.endpoint, RULES[last.error.failure]
    doubtful = attempt.secret is not None and any(
        RULES[one.error.failure].whole_credential and one.attempt.secret == attempt.secret
        for one in tried
    )
    if rule.retires:
        preferred = attempt.endpoint.model.name == failed.model.successor
    else:
        preferred = rule.other_credential and attempt.endpoint.name == failed.name
    return doubtful, attempt.stands_in, not preferred


def _may_repeat(plan: Plan, tried: Sequence[Tried], elapsed_s: float) -> bool:
    """Whether the last endpoint may be asked the same once more, for want of another."""
    last = tried[-1]
    if last.attempt.last_resort and not plan.attempts[0].last_resort:
        return False
    times = sum(one.attempt.key == last.attempt.key for one in tried)
    if times > RULES[last.error.failure].same_endpoint:
        return False
    wait_s = last.error.retry_after_s
    if last.error.failure is Failure.RATE_LIMIT and wait_s is None:
        return False
    return wait_s is None or (wait_s <= LONGEST_WAIT_S and elapsed_s + wait_s < plan.deadline_s)
