"""Ears on the real parts of one process: what goes in and comes out of them goes to the books."""

from asyncio import get_running_loop
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any

from fairlead.state import State
from fairlead.state.ledger import Hold
from fairlead.types.decision import Attempt, Caller
from fairlead.types.facts import Attempted, Fact
from prove.simulation.invariants import Books

REQUEST: ContextVar[int] = ContextVar("request")
"""Whose task it is: the parts do not say."""


class Watching:
    def __init__(self, books: Books, state: State) -> None:
        self._books = books
        self._ledger = state.ledger
        self._hold, self._settle = state.ledger.hold, state.ledger.settle
        self._health = state.health
        self._begin, self._observe = state.health.begin, state.health.observe
        self.dead = False
        parts: tuple[Any, ...] = (state.ledger, state.ledger, state.health, state.health)
        ears = (self.hold, self.settle, self.begin, self.observe)
        for part, ear in zip(parts, ears, strict=True):
            setattr(part, ear.__name__, ear)

    def hold(
        self, attempt_id: str, request_id: str, caller: Caller, attempt: Attempt, now_ms: int
    ) -> Hold:
        hold = self._hold(attempt_id, request_id, caller, attempt, now_ms)
        if not self.dead:
            if attempt.last_resort:
                self._books.last_resort(REQUEST.get(), self.is_well)
            self._books.hold(attempt_id, REQUEST.get(), caller, attempt, now_ms)
            self._agree(caller, now_ms)
        return hold

    def settle(self, hold: Hold, attempted: Attempted, now_ms: int) -> Awaitable[None]:
        durable = self._settle(hold, attempted, now_ms)
        if not self.dead:
            self._books.settle(hold.attempt_id, attempted)
            self._agree(self._books.requests[REQUEST.get()].caller, now_ms)
        return durable

    def begin(self, key: tuple[str, str], now_s: float) -> bool:
        record = self._health._records.get(key)
        before = "closed" if record is None else record.breaker.state(now_s)
        may = self._begin(key, now_s)
        if not self.dead:
            self._books.begin(key, before, may, REQUEST.get(), now_s)
        return may

    def is_well(self, endpoint: str) -> bool:
        """Whether nothing at all speaks against it now."""
        now_s, books = get_running_loop().time(), self._books
        told = endpoint in books.gone or any(key[0] == endpoint for key in books.gates)
        dry = any(key[0] == endpoint and now_s <= of[1] for key, of in books.dry.items())
        return not (told or dry) and self.is_closed(endpoint, now_s)

    def is_closed(self, endpoint: str, now_s: float) -> bool:
        """Whether no breaker of the endpoint was ever open, as far as is known now."""
        states = [
            record.breaker.state(now_s)
            for key, record in self._health._records.items()
            if key[0] == endpoint
        ]
        return all(state == "closed" for state in states)

    def observe(self, attempted: Attempted, now_s: float) -> None:
        self._observe(attempted, now_s)
        if not self.dead:
            self._books.observe(attempted, REQUEST.get(), now_s)

    def told(self, fact: Fact) -> None:
        if not self.dead:
            self._books.told(fact)

    def _agree(self, caller: Caller, now_ms: int) -> None:
        if caller.has_budget:
            told = self._ledger.affordable_nano_usd(caller, now_ms)
            self._books.affordable(caller, told, now_ms)
