"""What each class of failure must lead to: the wall's own policy, to hold Fairlead's against."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

CONNECT_S = 1.0
FIRST_TOKEN_S = 1.5
STALL_S = 1.5
WHOLE_S = FIRST_TOKEN_S + 0.2
"""An answer in one piece also gets twice the time that its longest length takes: 0.2 s here."""
PAUSE_S = 0.5
"""The longest before one endpoint is asked the same again."""
IN_TIME_S = 0.5
"""How late an upstream is that is slow, and not too slow."""


class Answered(Enum):
    """What a caller may get."""

    WHOLE = "the whole answer"
    REFUSED = "an error response"
    BROKEN = "an error in the stream"


@dataclass(frozen=True)
class Policy:
    elsewhere: bool
    """Another endpoint answers."""
    alone: int
    """How often an endpoint may be asked when there is no other."""
    told: tuple[int, str]
    """Status and code for a Chat Completions caller in the end."""


AGAIN = frozenset({429, 503})
"""Of these a caller's SDK may try again later; we have tried all that may help at once. Not where
an account is empty."""

POLICY: Mapping[str, Policy] = {
    "rate_limit": Policy(True, 1, (429, "rate_limit_exceeded")),
    "quota": Policy(True, 1, (429, "insufficient_quota")),
    "overloaded": Policy(True, 2, (503, "upstream_overloaded")),
    "transient": Policy(True, 2, (502, "upstream_error")),
    "connect": Policy(True, 2, (502, "upstream_unreachable")),
    "silent": Policy(True, 1, (504, "upstream_timeout")),
    "model_gone": Policy(True, 1, (404, "model_not_found")),
    "credential": Policy(True, 1, (502, "upstream_credential_rejected")),
    "context_length": Policy(False, 1, (400, "context_length_exceeded")),
    "content_filter": Policy(False, 1, (400, "content_filter")),
    "caller_fault": Policy(False, 1, (400, "invalid_request")),
    "bad_success": Policy(True, 1, (502, "empty_completion")),
    "stream_broken": Policy(True, 1, (502, "upstream_stream_broken")),
}

ANTHROPIC_TYPES = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}
ANTHROPIC_TYPES |= {502: "api_error", 503: "overloaded_error", 504: "timeout_error"}
"""By status, as Anthropic lists them; its callers are told no code."""


@dataclass(frozen=True)
class Expect:
    """What one fault must lead to, streamed or whole."""

    failure: str = ""
    """The class of the faulty endpoint's attempts; empty if it answers well in the end."""
    takes_s: float = 0.0
    """How long it keeps the gateway busy, each time that it is asked."""
    begun: bool = False
    """The caller has seen content before it fails."""
    asks_s: float | None = None
    """How long it asks to stay away."""
    recovers: bool = False
    """The second time that it is asked it answers well."""
    again: bool = False
    """Its connection broke before the caller saw anything of a stream: worth another trial."""
    elsewhere: bool | None = None
    """Whether the other endpoint may answer, where the fault says more than its class."""
    or_failure: str = ""
    """What it may be taken for as well, as the packets fall."""
    anywhere: bool = False
    """It breaks where nobody can say whether an answer has begun: in its head, say."""
    is_text: bool = True
    """A text that was begun is gone on with exactly; a tool call never."""
    comes_last: bool = False
    """It is at fault itself, so others go on with its text before it does."""


WELL = Expect()


@dataclass(frozen=True)
class Expected:
    """What one cell must come to."""

    answers: frozenset[Answered]
    classes: frozenset[str]
    """Of the attempts at the faulty endpoint."""
    first: range
    """How often the faulty endpoint may be asked, in one call."""
    second: range
    told: frozenset[tuple[int, str]]
    """Status and code, where the caller gets an error response."""
    within_s: float
    retry_after_s: float | None = None
    """What the caller must be told of when to come back, at least."""

    def may_retry(self, status: int) -> bool:
        """What ``x-should-retry`` must say."""
        codes = {code for told, code in self.told if told == status}
        return status in AGAIN and "insufficient_quota" not in codes


def expected(expect: Expect, paired: bool, calls: int = 1) -> Expected:
    """``paired``: a healthy second endpoint stands by. Of several calls some may go well."""
    one = _of_one_call(expect, paired)
    if calls == 1:
        return one
    return replace(
        one,
        classes=one.classes | {""},
        first=range(one.first.start, calls * (one.first.stop - 1) + 1),
        second=range(one.second.start, calls * (one.second.stop - 1) + 1),
    )


def _of_one_call(expect: Expect, paired: bool) -> Expected:
    if not expect.failure:
        classes = frozenset({"", expect.or_failure})
        first = range(1, 3) if expect.or_failure and not paired else ONCE
        second = range(2) if expect.or_failure and paired else NEVER
        within_s = expect.takes_s + PAUSE_S * bool(expect.or_failure)
        return Expected(WHOLE, classes, first, second, frozenset(), within_s)
    if expect.anywhere:
        return _anywhere(expect, paired)
    return _begun(expect, paired) if expect.begun else _failed(expect, paired)


def _anywhere(expect: Expect, paired: bool) -> Expected:
    classes = {expect.failure, "transient", "stream_broken", ""}
    return Expected(
        WHOLE if paired else frozenset(Answered),
        frozenset(classes),
        range(1, 3 if paired else 4),
        range(2) if paired else NEVER,
        frozenset() if paired else frozenset(POLICY[failure].told for failure in classes - {""}),
        PAUSE_S * 2,
    )


def _begun(expect: Expect, paired: bool) -> Expected:
    """A text is gone on with: by the endpoint itself, once or twice, then by another."""
    classes = frozenset({"stream_broken", expect.or_failure} - {""})
    if not expect.is_text:
        return Expected(BROKEN, classes, ONCE, NEVER, frozenset(), expect.takes_s)
    if paired:
        first = ONCE if expect.comes_last else range(1, 3)
        within_s = (expect.takes_s + PAUSE_S) * (first.stop - 1)
        return Expected(WHOLE, classes, first, ONCE, frozenset(), within_s)
    within_s = (expect.takes_s + PAUSE_S) * 3
    return Expected(BROKEN, classes, range(1, 4), NEVER, frozenset(), within_s)


def _failed(expect: Expect, paired: bool) -> Expected:
    policy = POLICY[expect.failure]
    classes = {expect.failure, expect.or_failure} - {""}
    elsewhere = policy.elsewhere if expect.elsewhere is None else expect.elsewhere
    if paired and elsewhere:
        return Expected(WHOLE, frozenset(classes), ONCE, ONCE, frozenset(), expect.takes_s)
    times = (
        2 if expect.recovers or expect.again else max(POLICY[failure].alone for failure in classes)
    )
    pause_s = PAUSE_S if expect.asks_s is None else expect.asks_s
    within_s = expect.takes_s * times + pause_s * (times - 1)
    if expect.recovers:
        return Expected(WHOLE, frozenset(classes | {""}), range(2, 3), NEVER, frozenset(), within_s)
    return Expected(
        frozenset({Answered.REFUSED}),
        frozenset(classes),
        range(1, times + 1),
        NEVER,
        frozenset(POLICY[failure].told for failure in classes),
        within_s,
        expect.asks_s,
    )


WHOLE, BROKEN = frozenset({Answered.WHOLE}), frozenset({Answered.BROKEN})
NEVER, ONCE = range(1), range(1, 2)
