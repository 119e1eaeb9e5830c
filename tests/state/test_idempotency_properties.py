"""Kept answers against an exact model: whoever asks, in whatever order, with restarts, with time
that passes and with answers that are forgotten."""

import sqlite3
from collections.abc import Awaitable, Sequence
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fairlead.outside.schema import KEPT_ANSWERS
from fairlead.state.idempotency import KEEP_MS, Asked, Idempotency, Kept, asked
from fairlead.state.ledger import AT_ONCE, Row
from fairlead.types.errors import KeyInUse, KeyReused
from state.made import NOON_MS

CALLERS = st.sampled_from(["k1", "k2"])
KEY = "order-7"
BODIES = st.sampled_from([b"a", b"b"])
WHEN = st.sampled_from([None, None, KEEP_MS, KEEP_MS + 1])
"""After its last answer, if it has one."""
STEPS_MS = st.sampled_from([1, KEEP_MS // 2, KEEP_MS, KEEP_MS + 1])


class Direct:
    """A store that writes at once, into memory."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for statement in KEPT_ANSWERS.statements:
            self.connection.execute(statement)

    def check(self) -> None: ...

    def append(self, statement: str, params: Row) -> None:
        self.connection.execute(statement, params)

    def append_durable(self, statement: str, params: Row) -> Awaitable[None]:
        self.append(statement, params)
        return AT_ONCE

    def flush(self) -> Awaitable[None]:
        return AT_ONCE

    def read(self, sql: str, params: Row = ()) -> Sequence[Sequence[object]]:
        return self.connection.execute(sql, params).fetchall()

    def write(self, sql: str, params: Row = ()) -> int:
        return self.connection.execute(sql, params).rowcount


class Reference(RuleBasedStateMachine):
    """A name is free, or being answered for one body, or answered for one body since an instant."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Direct()
        self.memory = Idempotency(self.store)
        self.now_ms, self.count = NOON_MS, 0
        self.open: dict[bytes, bytes] = {}
        self.answered: dict[bytes, tuple[bytes, Kept]] = {}

    def teardown(self) -> None:
        self.store.connection.close()

    @rule(who=CALLERS, body=BODIES, when=WHEN)
    def ask(self, who: str, body: bytes, when: int | None) -> None:
        once = asked(who, KEY, body)
        if when is not None and (found := self.answered.get(once.name)):
            self.now_ms = max(self.now_ms, found[1].at_ms + when)
        told = self.told(once)
        if (being := self.open.get(once.name)) is not None:
            assert told == ("in use" if being == once.body_hash else "reused")
        elif (found := self.known(once)) is not None:
            assert told == (found[1] if found[0] == once.body_hash else "reused")
        else:
            assert told is None
            self.memory.begin(once, self.now_ms)
            self.open[once.name] = once.body_hash

    @rule(who=CALLERS)
    def answer(self, who: str) -> None:
        name = asked(who, KEY).name
        if (body_hash := self.open.pop(name, None)) is not None:
            self.count += 1
            kept = Kept(f"r{self.count}", self.now_ms, False, {}, b"%d" % self.count)
            once = Asked(name, body_hash)
            self.memory.keep(once, kept)
            self.memory.end(once)
            self.answered[name] = body_hash, kept

    @rule(who=CALLERS)
    def fail(self, who: str) -> None:
        once = asked(who, KEY)
        self.open.pop(once.name, None)
        self.memory.end(once)

    @rule()
    def die(self) -> None:
        self.memory = Idempotency(self.store)
        self.open.clear()

    @rule(step_ms=STEPS_MS)
    def wait(self, step_ms: int) -> None:
        self.now_ms += step_ms

    @rule(who=CALLERS, when=WHEN)
    def forget(self, who: str, when: int | None) -> None:
        if when is not None and (found := self.answered.get(asked(who, KEY).name)):
            self.now_ms = max(self.now_ms, found[1].at_ms + when)
        self.memory.forget(self.now_ms)
        rows = {bytes(row[0]) for row in self.store.read("SELECT name FROM kept_answer")}
        assert rows == {name for name in self.answered if self.known(Asked(name, b""))}

    @invariant()
    def nobody_is_answered_twice_at_once(self) -> None:
        for name, body_hash in self.open.items():
            with suppress(KeyInUse):
                self.memory.check(Asked(name, body_hash), self.now_ms)
                raise AssertionError("it is free while it is answered")

    def known(self, once: Asked) -> tuple[bytes, Kept] | None:
        found = self.answered.get(once.name)
        return None if found is None or found[1].at_ms < self.now_ms - KEEP_MS else found

    def told(self, once: Asked) -> Kept | str | None:
        try:
            self.memory.check(once, self.now_ms)
            return self.memory.find(once, self.now_ms)
        except KeyInUse:
            return "in use"
        except KeyReused:
            return "reused"


TestReference = Reference.TestCase
TestReference.settings = settings(max_examples=50)
