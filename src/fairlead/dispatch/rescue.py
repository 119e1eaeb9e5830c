"""A stream broke that its caller has seen text of: another attempt goes on. Runs only then.

Speaks the endpoints' dialects; how the caller sees it is the caller's encoder's affair. Who goes
on, and what of its words is new, is decide.rescue's.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from time import monotonic

from msgspec.structs import replace

from fairlead.decide.failover import Tried, pause_s
from fairlead.decide.rescue import (
    Leg,
    Skipper,
    Went,
    is_proven,
    is_retry,
    is_text,
    may_prefill,
    next_leg,
)
from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Said
from fairlead.dialects.prefill import prefilled
from fairlead.dispatch.errand import Errand
from fairlead.dispatch.told import Diverged, SetAside, broken_off, forgetful
from fairlead.dispatch.trial import WINDOW, Trial
from fairlead.state.health import Health
from fairlead.types.chat import (
    Begin,
    End,
    Event,
    Passed,
    Resumed,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from fairlead.types.decision import Attempt
from fairlead.types.errors import BadRequest, Failure, OverBudget, UpstreamError

LEAST_TOKENS = 16
"""What must be left of the caller's ``max_tokens`` for a beginning to be worth going on with."""

Try = Callable[[Attempt, Errand], Trial]


class Rescue:
    """Goes on with the answer of one request, once."""

    def __init__(
        self,
        errand: Errand,
        health: Health,
        try_: Try,
        dice: Callable[[], float],
        tried: Tried,
        broken: Trial,
    ) -> None:
        said, self._passed, self._end = _delivered(broken, errand)
        self._errand, self._health, self._try, self._dice = errand, health, try_, dice
        self._went = [Went(Leg(tried.attempt), tried.error)]
        self._aside: list[SetAside] = []
        self._text = said.text
        self._broken = broken
        self._open = said.plain and is_text(errand.request)
        """Whether what the caller has is a text, and we have it too."""
        self._tokens = broken.counted_tokens
        """Of the text so far, as well as they can be counted."""
        self._going: Leg | None = None
        """Whose words the caller sees."""

    async def events(self) -> AsyncGenerator[Event]:
        """The rest of the answer. Raises UpstreamError where nobody can say it."""
        if self._open and self._end is not None:
            # Everything was said, and why it ends.
            self._errand.carried.end = self._end
            yield self._end
            return
        while (leg := await self._next()) is not None:
            tokens = self._tokens if leg.prefill else 0
            try:
                async with self._trial(leg) as trial:
                    skipper = Skipper(self._text, leg.prefill)
                    while not trial.over:
                        for event in await trial.events():
                            for new in self._new(event, leg, skipper, tokens):
                                yield new
                        if self._going is leg:
                            self._tokens = tokens + trial.counted_tokens
                return
            except Diverged:
                self._errand.carried.end = None
                self._went.append(Went(leg))
            except UpstreamError as error:
                self._went.append(Went(leg, forgetful(error)))
            except (OverBudget, BadRequest) as refusal:
                self._aside.append(SetAside(leg.attempt, refusal))
        raise broken_off(self._went, self._aside, self._errand.carried, self._chars)

    @property
    def _chars(self) -> int | None:
        """How much text the caller has, beside whatever else; None where that was not kept."""
        said = None if self._text else self._broken.said(translated=True)
        if said is None:
            return len(self._text) or None
        return sum(len(event.text) for event in said[0] if isinstance(event, TextDelta))

    async def _next(self) -> Leg | None:
        """Who goes on, once the pause that it takes is over."""
        errand, plan = self._errand, self._errand.plan
        if not self._open:
            return None
        out = [one.attempt.key for one in self._aside]
        left = tuple([attempt for attempt in plan.attempts if attempt.key not in out])
        prefills = may_prefill(errand.request, self._text) and self._room() >= LEAST_TOKENS
        now_s = monotonic()
        elapsed_s, made = now_s - errand.arrived_s, len(errand.carried.attempts)
        allowance = self._health.allowance([one.key for one in left], now_s)
        plan = replace(plan, attempts=left)
        leg = next_leg(plan, self._went, prefills, made, elapsed_s, allowance)
        if leg is not None and is_retry(leg.attempt, self._went, allowance):
            self._health.retrying(leg.attempt.key, now_s)
        last = self._went[-1]
        if leg is None or last.error is None or last.error.failure is Failure.CALLER_FAULT:
            return leg
        wait_s = pause_s(leg.attempt, [Tried(last.leg.attempt, last.error)], self._dice())
        if wait_s > 0:
            if elapsed_s + wait_s >= plan.deadline_s:
                return None
            await asyncio.sleep(wait_s)
            if self._health.refuses(leg.attempt.key, monotonic()):
                return await self._next()  # it said so to somebody else meanwhile
        return leg

    def _room(self) -> int:
        """How many tokens of the longest answer that was asked for are left."""
        asked = self._errand.request.max_output_tokens
        return LEAST_TOKENS if asked is None else asked - self._tokens

    def _trial(self, leg: Leg) -> Trial:
        errand, attempt = self._errand, leg.attempt
        request = errand.request
        if leg.prefill:
            request = prefilled(request, self._text.rstrip())
            if request.max_output_tokens is not None:
                cap = min(self._room(), attempt.max_output_tokens or self._room())
                attempt = replace(attempt, max_output_tokens=cap)
        proven = is_proven(leg.attempt, self._went)
        errand = replace(errand, request=request, continues=True, regardless=proven)
        return self._try(attempt, errand)

    def _new(self, event: Event, leg: Leg, skipper: Skipper, tokens: int) -> list[Event]:
        """What the caller does not have yet. Raises Diverged."""
        if isinstance(event, TextDelta):
            text = skipper.take(event.text)
        elif isinstance(event, ToolCallDelta | End):
            text = skipper.rest() if skipper.is_done else None
        else:
            # Its thoughts would come after the words that they led to.
            return []
        if text is None:
            raise Diverged
        new: list[Event] = [TextDelta(text)] if text else []
        self._text += text
        if isinstance(event, ToolCallDelta):
            new.append(event)
        elif isinstance(event, End):
            new.append(replace(event, usage=_usage(event.usage, tokens)))
        if new and self._going is not leg:
            self._going = leg
            new.insert(0, Resumed(self._passed, leg.attempt.endpoint.name))
            self._passed = b""
        if isinstance(event, ToolCallDelta) or len(self._text) > WINDOW:
            self._open = False
        return new


def _delivered(broken: Trial, errand: Errand) -> tuple[Said, bytes, End | None]:
    """What the caller has, its bytes where they were passed on as they came, and the end where only
    that is missing."""
    said = broken.said()
    if said is None:
        return Said(plain=False), b"", None
    events, end = said
    passed = b"".join([event.data for event in events if isinstance(event, Passed)])
    if passed:
        return DIALECTS[errand.request.dialect].said(passed), passed, end
    text = "".join([event.text for event in events if isinstance(event, TextDelta)])
    return Said(text, all(isinstance(event, Begin | TextDelta) for event in events)), b"", end


def _usage(usage: Usage | None, tokens: int) -> Usage | None:
    """Of the whole answer: what an earlier leg said was this one's input, and is the caller's
    output."""
    if usage is None or not tokens:
        return usage
    cached = usage.cached_read_tokens + usage.cached_write_tokens
    return replace(
        usage,
        input_tokens=max(usage.input_tokens - tokens, cached),
        output_tokens=usage.output_tokens + tokens,
    )
