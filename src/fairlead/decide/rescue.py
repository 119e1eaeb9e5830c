"""After a stream broke that its caller has seen text of: may another attempt go on with it, whose,
and what of its words is new. Pure; dispatch does the asking.

Two ways to go on. A model that continues a last assistant turn is given what was said and says the
rest (*prefill*). Any other is asked the same again and says all of it anew: what was said before
must come again letter by letter, and is left out. Where it does not, nothing of it is shown.
"""

from collections.abc import Sequence

from msgspec import Struct

from fairlead.decide.failover import RULES, UNLIMITED, Allowance
from fairlead.types.chat import Request
from fairlead.types.decision import Attempt, Plan
from fairlead.types.errors import Failure, UpstreamError

HARMLESS = frozenset({"context_management", "fallbacks", "logit_bias"})
"""Of what binds a request to its dialect: fields that leave a text a text."""
GUIDED = frozenset(
    {
        *("grammar", "guided_choice", "guided_decoding_backend", "guided_grammar", "guided_json"),
        *("guided_regex", "json_schema", "regex", "ebnf", "structural_tag", "structured_outputs"),
    }
)
"""Local servers' own words for an answer of a given form."""

STALLED = "stalled"
"""Our word for a stream that fell silent, in place of an endpoint's own."""
BREAKS = 2
"""How often one endpoint may break the same answer and be asked again."""
ANEW_CHARS = 24
"""So many letters of the beginning, said again after a prefill, are an answer begun anew; or all
letters, where there are less. A mistake costs an attempt, and a doubled word would be worse."""


class Leg(Struct, frozen=True):
    """One attempt to go on with an answer."""

    attempt: Attempt
    prefill: bool = False


class Went(Struct, frozen=True):
    """A leg, and how it failed. Without an error, its words were not those said before."""

    leg: Leg
    error: UpstreamError | None = None


def is_text(request: Request) -> bool:
    """Whether a text is all that is asked for: one answer, of no given form."""
    return (
        request.operation == "chat"
        and request.output is None
        and HARMLESS.issuperset(request.bound)
        and GUIDED.isdisjoint(request.loose)
    )


def may_prefill(request: Request, text: str) -> bool:
    """Whether ``text`` can stand as the answer's beginning: a model that thinks wants to begin with
    its thoughts, and a beginning of the caller's own is one already."""
    thinks = request.thinking is not None and request.thinking.enabled is not False
    return bool(text.strip()) and not thinks and request.messages[-1].role != "assistant"


def next_leg(
    plan: Plan,
    went: Sequence[Went],
    prefills: bool,
    made: int,
    elapsed_s: float,
    allowance: Allowance = UNLIMITED,
) -> Leg | None:
    """Who goes on, or None to give up. ``went`` begins with the attempt that broke; ``made`` counts
    the request's attempts so far; ``prefills``: what was said can stand as a beginning."""
    if made >= plan.max_attempts or elapsed_s >= plan.deadline_s:
        return None
    if any(one.error and one.error.failure is Failure.CONTENT_FILTER for one in went):
        return None
    broken = went[0].leg.attempt
    legs = []
    for attempt in plan.attempts:
        if _is_allowed(attempt, went, allowance) and (broken.stands_in or not attempt.stands_in):
            legs += _legs(attempt, went, prefills)
    return min(legs, key=lambda leg: _reluctance(leg, went), default=None)


def is_proven(attempt: Attempt, went: Sequence[Went]) -> bool:
    """Whether it was answering just now, and only its connection broke: once more is no load on
    somebody who fails, whatever its breaker says."""
    first, *others = went
    blamed = first.error is not None and first.error.upstream_code
    failed = any(one.error and one.error.failure is not Failure.CALLER_FAULT for one in others)
    return not (blamed or failed) and attempt.key == first.leg.attempt.key


def is_retry(attempt: Attempt, went: Sequence[Went], allowance: Allowance) -> bool:
    """Whether an attempt counts against the allowance of whom it asks."""
    proven = is_proven(attempt, went)
    return not proven and allowance.counts(attempt, [one.leg.attempt for one in went])


def _is_allowed(attempt: Attempt, went: Sequence[Went], allowance: Allowance) -> bool:
    if attempt.key in allowance.refusing:
        return False
    return attempt.key not in allowance.spent or not is_retry(attempt, went, allowance)


def _legs(attempt: Attempt, went: Sequence[Went], prefills: bool) -> list[Leg]:
    """How this attempt could go on, if it can."""
    model, name = attempt.endpoint.model, attempt.endpoint.name
    prefills = prefills and "prefill" in model.can
    repeats = True
    for one in went:
        at = one.leg.attempt.endpoint
        if one.error is None or one.error.failure is Failure.CALLER_FAULT:
            # It took no beginning, or said something else: that goes for the model, not the place.
            if one.leg.prefill:
                prefills = prefills and at.name != name
            else:
                repeats = repeats and at.model.name != model.name
        elif at.name == name and not _is_open(attempt, one, went):
            return []
    return [Leg(attempt, prefills)] if prefills or repeats else []


def _is_open(attempt: Attempt, one: Went, went: Sequence[Went]) -> bool:
    """Whether an attempt at the endpoint of a leg that failed may follow."""
    failure = one.error.failure if one.error else None
    if failure is None or attempt.key != one.leg.attempt.key:
        return failure is None or RULES[failure].other_credential
    if RULES[failure].gates:
        return False
    times = sum(
        other.error is not None
        and other.error.failure is failure
        and other.leg.attempt.key == attempt.key
        for other in went
    )
    if failure is not Failure.STREAM_BROKEN:
        return times <= RULES[failure].same_endpoint
    # A connection that broke says little of the next one; silence costs as long again.
    return times <= (1 if one.error and one.error.upstream_code == STALLED else BREAKS)


def _reluctance(leg: Leg, went: Sequence[Went]) -> tuple[bool, int, bool, bool]:
    """Least first: who is not of last resort, who did not fail, who can say the same, who began.
    Among equals the plan's order stands (``min`` keeps the first)."""
    first, name = went[0], leg.attempt.endpoint.name
    failures = sum(
        one.error is not None
        and one.error.failure is not Failure.CALLER_FAULT
        and one.leg.attempt.endpoint.name == name
        and (one is not first or bool(one.error.upstream_code))
        for one in went
    )
    same_model = leg.attempt.endpoint.model.name == first.leg.attempt.endpoint.model.name
    return (
        bool(leg.attempt.last_resort) and not first.leg.attempt.last_resort,
        failures,
        not (leg.prefill or same_model),
        leg.attempt.key != first.leg.attempt.key,
    )


class Skipper:
    """Leaves out of a leg's words what the caller has. What does not agree is never let through."""

    def __init__(self, said: str, prefill: bool) -> None:
        """After a prefill only the blanks come again that no beginning may end with."""
        self._due = said[len(said.rstrip()) :] if prefill else said
        """What must come, and is left out."""
        self._at = 0
        self._prefill = prefill
        self._opening = said[:ANEW_CHARS] if prefill else ""
        self._held = ""

    @property
    def is_done(self) -> bool:
        """Whether the caller has all that was left out; the last blanks need not come again."""
        return self._prefill or self._at == len(self._due)

    def take(self, text: str) -> str | None:
        """What of ``text`` is new; None if it is not what was said before."""
        if self._opening:
            self._held += text
            if self._held.startswith(self._opening):
                return None
            if self._opening.startswith(self._held):
                return ""
            text, self._held, self._opening = self._held, "", ""
        if self._at < len(self._due):
            length = min(len(text), len(self._due) - self._at)
            if not self._due.startswith(text[:length], self._at):
                return None
            self._at += length
            text = text[length:]
        return text

    def rest(self) -> str | None:
        """At the end: what was held back and is new after all."""
        held, self._opening, self._held = self._held, "", ""
        return self.take(held) if held else ""
