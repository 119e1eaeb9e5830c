"""Carry out a plan: try, and on failure ask decide.failover whom to try next.

Speaks the endpoints' dialects and yields events; knows no caller's dialect and ranks nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from time import monotonic

from msgspec.structs import replace

from fairlead.decide.failover import (
    Allowance,
    Tried,
    goes_regardless,
    is_retry,
    next_attempt,
    pause_s,
    who_is_left,
)
from fairlead.dispatch.errand import Errand
from fairlead.dispatch.rescue import Rescue
from fairlead.dispatch.told import SetAside, forgetful, given_up
from fairlead.dispatch.trial import Sign, Trial, commits
from fairlead.outside.upstream import Upstream
from fairlead.state import State
from fairlead.types.chat import Event, Passed
from fairlead.types.decision import Attempt, Plan
from fairlead.types.errors import BadRequest, Failure, OverBudget, UpstreamError

MOST_HELD_BYTES = 1 << 20
"""Of what comes before the first content, which waits for it: more is a flood."""
HELD_EVENT_BYTES = 256
"""What an event without bytes of its own counts for."""
EARLY_S = 0.01
"""A timer may fire so much before its time."""


class Dispatch:
    """Carries out plans. One per process; holds nothing of any request."""

    def __init__(
        self, state: State, upstream: Upstream, sign: Sign, dice: Callable[[], float]
    ) -> None:
        """``dice`` gives a number in [0, 1) at each call."""
        self._state = state
        self._upstream = upstream
        self._sign = sign
        self._dice = dice

    async def carry(self, errand: Errand) -> AsyncGenerator[Event]:
        """Yield the answer of the first attempt that gives one.

        Nothing is yielded before the first content, so until then another endpoint can take over
        unseen; after it, a text is gone on with (Rescue). Raises UpstreamError with every attempt
        on record; OverBudget or BadRequest when none could be made.
        """
        tried: list[Tried] = []
        aside: list[SetAside] = []
        answering = False
        while (attempt := await self._next(errand, tried, aside, answering)) is not None:
            held_back: list[Event] = []
            held_bytes = 0
            try:
                async with self._trial(attempt, errand) as trial:
                    while not trial.over:
                        for event in await trial.events():
                            if not answering:
                                if not commits(event):
                                    held_bytes = _held(held_bytes, event)
                                    held_back.append(event)
                                    continue
                                answering = True
                                for earlier in held_back:
                                    yield earlier
                            yield event
                return
            except UpstreamError as error:
                tried.append(Tried(attempt, forgetful(error)))
            except (OverBudget, BadRequest) as refusal:
                aside.append(SetAside(attempt, refusal))
        broken = trial if answering else None
        async with aclosing(self._rest(errand, tried, aside, broken)) as rest:
            async for event in rest:
                yield event

    def _rest(
        self, errand: Errand, tried: list[Tried], aside: list[SetAside], broken: Trial | None
    ) -> AsyncGenerator[Event]:
        """What follows on attempts that failed; the caller has seen something of one that broke."""
        if broken is None:
            raise given_up(tried, aside, errand.carried)
        health = self._state.health
        return Rescue(errand, health, self._trial, self._dice, tried[-1], broken).events()

    def _trial(self, attempt: Attempt, errand: Errand) -> Trial:
        return Trial(attempt, errand, self._state, self._upstream, self._sign)

    async def _next(
        self, errand: Errand, tried: list[Tried], aside: list[SetAside], answering: bool
    ) -> Attempt | None:
        """Whom to try next, once the pause that it takes is over. None: it is time to give up."""
        plan = errand.plan
        if aside:
            keys = [one.attempt.key for one in aside]
            left = tuple([attempt for attempt in plan.attempts if attempt.key not in keys])
            plan = replace(plan, attempts=left)
        if not plan.attempts:
            return None
        if not tried:
            return next_attempt(plan, tried, 0.0, answering)
        now_s = monotonic()
        elapsed_s = now_s - errand.arrived_s
        allowance = self._allowance(plan, now_s)
        attempt = next_attempt(plan, tried, elapsed_s, answering, allowance, errand.request.stream)
        if attempt is None:
            return None
        self._turns_to(attempt, errand, tried, allowance, now_s)
        wait_s = pause_s(attempt, tried, self._dice())
        if wait_s <= 0:
            return attempt
        if elapsed_s + wait_s < plan.deadline_s:
            await asyncio.sleep(wait_s)
            now_s = monotonic()
            if self._may_repeat(attempt, errand, now_s):
                return attempt
            allowance = self._allowance(plan, now_s)
        other = who_is_left(plan, tried, allowance)
        if other is not None:
            self._turns_to(other, errand, tried, allowance, now_s)
        return other

    def _may_repeat(self, attempt: Attempt, errand: Errand, now_s: float) -> bool:
        """Where others found out meanwhile, what it said to this one stands."""
        health = self._state.health
        if health.refuses(attempt.key, now_s + EARLY_S):
            return False
        regardless = attempt.last_resort or errand.regardless
        return bool(regardless) or not health.keeps_out(attempt.key, now_s)

    def _allowance(self, plan: Plan, now_s: float) -> Allowance:
        return self._state.health.allowance([one.key for one in plan.attempts], now_s)

    def _turns_to(
        self,
        attempt: Attempt,
        errand: Errand,
        tried: list[Tried],
        allowance: Allowance,
        now_s: float,
    ) -> None:
        """It is about to be asked, after somebody failed."""
        if is_retry(attempt, tried, allowance):
            self._state.health.retrying(attempt.key, now_s)
        errand.regardless = goes_regardless(attempt, tried, allowance)


def _held(so_far_bytes: int, event: Event) -> int:
    """How much is held back now. Raises UpstreamError (SILENT): it talks, and says nothing."""
    size = so_far_bytes + (len(event.data) if isinstance(event, Passed) else HELD_EVENT_BYTES)
    if size > MOST_HELD_BYTES:
        raise UpstreamError(Failure.SILENT, "a flood of events without content")
    return size
