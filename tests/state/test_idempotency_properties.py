"""Kept answers against a dictionary, with a real database below: who asks again gets what he got,
nobody gets another's, one key is one request, and after a day it is free again; whatever the clock
does, and whoever dies."""

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from facts import NOON_MS
from fairlead.outside.store import Store
from fairlead.state.idempotency import KEEP_MS, Asked, Idempotency, Kept, asked
from fairlead.types.errors import KeyInUse, KeyReused

T = TypeVar("T")
Name = tuple[str, str]
"""Who asks under which key."""

HOUR_MS = 3_600_000

NAMES = st.sampled_from([("k1", "order-7"), ("k2", "order-7"), ("k1", "order-8")])
BODIES = st.sampled_from([b"a", b"b"])


class Claimed:
    """Names taken by processes of one folder, of which this is one."""

    def __init__(self) -> None:
        self.taken: set[bytes] = set()

    def take(self, name: bytes) -> bool:
        if name in self.taken:
            return False
        self.taken.add(name)
        return True

    def give_back(self, name: bytes) -> None:
        self.taken.remove(name)


class Reference(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.now_ms = NOON_MS
        self.count = 0
        self.open: dict[Name, bytes] = {}
        self.answers: dict[Name, tuple[bytes, Kept]] = {}
        self.start()

    def start(self) -> None:
        self.claims = Claimed()
        self.store = self.run(self.opened())
        self.memory = Idempotency(self.store, self.claims)

    async def opened(self) -> Store:
        return Store(Path(self.folder.name) / "fairlead.db", asyncio.get_running_loop())

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    def known(self, name: Name) -> tuple[bytes, Kept] | None:
        found = self.answers.get(name)
        return found if found and found[1].at_ms >= self.now_ms - KEEP_MS else None

    @rule(minutes=st.integers(1, 900))
    def wait(self, minutes: int) -> None:
        self.now_ms += minutes * 60_000

    @rule(step_ms=st.sampled_from([-HOUR_MS, HOUR_MS]))
    def the_clock_jumps(self, step_ms: int) -> None:
        self.now_ms = max(NOON_MS, self.now_ms + step_ms)

    @precondition(lambda self: self.answers)
    @rule(past_ms=st.integers(0, 1))
    def a_day_after_an_answer(self, past_ms: int) -> None:
        oldest_ms = min(kept.at_ms for _, kept in self.answers.values())
        self.now_ms = oldest_ms + KEEP_MS + past_ms

    @rule(name=NAMES, body=BODIES)
    def ask(self, name: Name, body: bytes) -> None:
        """As the listener does: under way, kept, or new."""
        question = asked(*name, body)
        under_way = self.open.get(name)
        if under_way is not None:
            wrong = KeyInUse if under_way == body else KeyReused
            with pytest.raises(wrong):
                self.memory.check(question, self.now_ms)
            with pytest.raises(wrong):
                self.memory.begin(question, self.now_ms)
            return
        self.memory.check(question, self.now_ms)
        known = self.known(name)
        if known is None:
            assert self.memory.find(question, self.now_ms) is None
            self.memory.begin(question, self.now_ms)
            self.open[name] = body
        elif known[0] == body:
            assert self.memory.find(question, self.now_ms) == known[1]
        else:
            with pytest.raises(KeyReused):
                self.memory.find(question, self.now_ms)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 3), streamed=st.booleans(), body=st.binary(max_size=20))
    def answer(self, which: int, streamed: bool, body: bytes) -> None:
        name = sorted(self.open)[which % len(self.open)]
        asked_body = self.open.pop(name)
        question = asked(*name, asked_body)
        self.count += 1
        kept = Kept(f"r{self.count}", self.now_ms, streamed, {"x-fairlead-model": "m"}, body)
        self.run(self.keep(question, kept))
        self.memory.end(question)
        self.answers[name] = asked_body, kept

    async def keep(self, question: Asked, kept: Kept) -> None:
        await self.memory.keep(question, kept)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 3))
    def fail(self, which: int) -> None:
        name = sorted(self.open)[which % len(self.open)]
        question = asked(*name, self.open.pop(name))
        self.memory.end(question)
        self.memory.end(question)

    @rule()
    def forget(self) -> None:
        old = [
            name for name, (_, kept) in self.answers.items() if kept.at_ms < self.now_ms - KEEP_MS
        ]
        assert self.memory.forget(self.now_ms) == len(old)
        for name in old:
            del self.answers[name]

    @rule()
    def die(self) -> None:
        """What was under way may be asked again; what was kept stays."""
        self.run(self.store.close())
        self.open.clear()
        self.start()

    @precondition(lambda self: not self.open)
    @rule(name=NAMES, body=BODIES)
    def another_process_has_it(self, name: Name, body: bytes) -> None:
        question = asked(*name, body)
        self.claims.take(question.name)
        with pytest.raises(KeyInUse):
            self.memory.begin(question, self.now_ms)
        self.claims.give_back(question.name)

    @invariant()
    def what_is_claimed_is_under_way(self) -> None:
        assert self.claims.taken == {asked(*name, b"").name for name in self.open}

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.folder.cleanup()


TestReference = Reference.TestCase
TestReference.settings = settings(max_examples=settings().max_examples // 2)
