"""The simulation can fail: each fault, planted in the real class, is found within a few seeds."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace
from prove.simulation.many import SERVED_EVERY, results, tally_of

from fairlead.decide import failover, policy
from fairlead.dialects import failures, headroom
from fairlead.dispatch import carry
from fairlead.dispatch.trial import Trial
from fairlead.gateway import Answer, Exchange
from fairlead.outside.store import Store
from fairlead.outside.watchdog import Watchdog
from fairlead.server import http, replays
from fairlead.server.http import Listener
from fairlead.server.protocol import Protocol
from fairlead.server.replays import Recording, Replays
from fairlead.state import idempotency, ledger
from fairlead.state.breaker import Breaker
from fairlead.state.health import Health, Record
from fairlead.state.idempotency import Asked, Idempotency, Kept
from fairlead.state.ledger import AT_ONCE, Account, Accounts, Ledger
from fairlead.types.decision import Grant, Limits
from fairlead.types.errors import GatewayError, KeyReused, Overloaded

WITHIN_SEEDS = 300
Patch = pytest.MonkeyPatch


def reserves_count_for_nothing(patch: Patch) -> None:
    real = ledger._left

    def left(limits: Limits, accounts: Accounts) -> list[tuple[int, str]]:
        return real(
            limits,
            Accounts(*(Account(one.spent_nano_usd) for one in (accounts.day, accounts.month))),
        )

    patch.setattr(ledger, "_left", left)


def a_settle_runs_twice(patch: Patch) -> None:
    real = Trial._close

    def close(self: Trial) -> None:
        real(self)
        if self._end is not None:
            self._closed = False

    patch.setattr(Trial, "_close", close)


def who_leaves_is_not_settled(patch: Patch) -> None:
    real = Trial._close

    def close(self: Trial) -> None:
        if self._end is not None or self._error is not None:
            real(self)

    patch.setattr(Trial, "_close", close)


def nobody_waits_for_the_disk(patch: Patch) -> None:
    real = Store.append_durable

    def append(self: Store, statement: str, params: Any) -> Any:
        real(self, statement, params)
        return AT_ONCE

    patch.setattr(Store, "append_durable", append)


def an_orphan_costs_nothing(patch: Patch) -> None:
    free = ledger.RECOVER.replace("reserved_nano,\n", "0,\n")
    assert free != ledger.RECOVER
    patch.setattr(ledger, "RECOVER", free)


def orphans_are_left_open(patch: Patch) -> None:
    patch.setattr(ledger, "RECOVER", f"{ledger.RECOVER} AND intent.at_ms < 0")


def a_probe_has_no_lease(patch: Patch) -> None:
    real = Breaker.begin

    def begin(self: Breaker, now_s: float) -> bool:
        may = real(self, now_s)
        self._probe_until_s = 0.0
        return may

    patch.setattr(Breaker, "begin", begin)


def a_breaker_that_is_open_lets_all_through(patch: Patch) -> None:
    patch.setattr(Breaker, "begin", lambda self, now_s: True)


def a_gate_is_not_kept(patch: Patch) -> None:
    patch.setattr(Record, "gate", lambda *_: None)


def nobody_counts_the_attempts(patch: Patch) -> None:
    real = failover.next_attempt

    def next_attempt(plan: Any, *more: Any) -> Any:
        return real(replace(plan, max_attempts=9), *more)

    patch.setattr(carry, "next_attempt", next_attempt)


def the_watchdog_sleeps(patch: Patch) -> None:
    patch.setattr(Watchdog, "expect", lambda *_: None)


def midnight_never_comes(patch: Patch) -> None:
    real = Ledger._turn

    def turn(self: Ledger, now_ms: int) -> None:
        if self._windows.from_ms == 0:
            real(self, now_ms)

    patch.setattr(Ledger, "_turn", turn)


def everybody_may_be_asked(patch: Patch) -> None:
    def grant(request: Any, caller: Any, route: Any, rule: Any, view: Any) -> Any:
        return Grant(frozenset(one.name for one in view.catalog.endpoints)), ()

    patch.setattr(policy, "grant", grant)


def a_request_is_told_twice(patch: Patch) -> None:
    real = Exchange._finish

    def finish(self: Exchange, error: BaseException | None) -> None:
        real(self, error)
        self._told = False

    patch.setattr(Exchange, "_finish", finish)


def another_answers_in_the_middle(patch: Patch) -> None:
    real = failover.next_attempt

    def next_attempt(plan: Any, tried: Any, elapsed_s: float, answering: bool, *more: Any) -> Any:
        return real(plan, tried, elapsed_s, False, *more)

    patch.setattr(carry, "next_attempt", next_attempt)


def an_exchange_is_not_left(patch: Patch) -> None:
    real = Trial.__aexit__

    async def leave(self: Trial, *exc: Any) -> None:
        if exc[0] is not None:
            self._exchange = None
        await real(self, *exc)

    patch.setattr(Trial, "__aexit__", leave)


def something_runs_on(patch: Patch) -> None:
    real = Trial.__aenter__

    async def enter(self: Trial) -> Trial:
        self.left = asyncio.ensure_future(asyncio.sleep(1e9))  # type: ignore[attr-defined]
        return await real(self)

    patch.setattr(Trial, "__aenter__", enter)


def who_leaves_pays_for_a_refusal(patch: Patch) -> None:
    real = Trial._was_rejected

    def was_rejected(self: Trial) -> bool:
        return self._error is not None and real(self)

    patch.setattr(Trial, "_was_rejected", was_rejected)


def the_clock_makes_forget_what_is_held(patch: Patch) -> None:
    real = Ledger._open_windows

    def open_windows(self: Ledger, now_ms: int) -> None:
        left = self._windows
        real(self, now_ms)
        kept = {left.day, left.month, self._windows.day, self._windows.month}
        for key in [key for key in self._accounts if key[1] not in kept]:
            del self._accounts[key]

    patch.setattr(Ledger, "_open_windows", open_windows)


def who_takes_over_inherits_nothing(patch: Patch) -> None:
    real = Ledger.recover

    def recover(self: Ledger, now_ms: int, alive: Any = (), dead: Any = None) -> int:
        return real(self, now_ms, (), dead)

    patch.setattr(Ledger, "recover", recover)


def who_has_handed_over_asks_nobody(patch: Patch) -> None:
    patch.setattr(Ledger, "lend", lambda self, elsewhere: None)


def a_key_is_never_free_again(patch: Patch) -> None:
    patch.setattr(Idempotency, "end", lambda self, asked: None)


def an_answer_is_not_kept(patch: Patch) -> None:
    async def keep(self: Recording, request_id: str, *, streamed: bool) -> None: ...

    patch.setattr(Recording, "_keep", keep)


def an_answer_is_given_before_it_is_kept(patch: Patch) -> None:
    real = Idempotency.keep

    def keep(self: Idempotency, asked: Asked, kept: Kept) -> Any:
        real(self, asked, kept)
        return AT_ONCE

    patch.setattr(Idempotency, "keep", keep)


def nobody_compares_what_is_asked(patch: Patch) -> None:
    patch.setattr(idempotency, "_same", lambda body_hash, asked: None)


def nobody_knows_what_is_under_way(patch: Patch) -> None:
    patch.setattr(Idempotency, "check", lambda self, asked, now_ms: None)


def who_leaves_is_forgotten(patch: Patch) -> None:
    patch.setattr(Replays, "_may_go_on", lambda self: False)


def a_key_is_everybodys(patch: Patch) -> None:
    real = idempotency.asked
    patch.setattr(replays, "asked", lambda key_id, *more: real("", *more))


def a_failure_is_kept(patch: Patch) -> None:
    real = Recording.take

    async def take(self: Recording, answer: Answer, request_id: str) -> None:
        try:
            await real(self, answer, request_id)
        except GatewayError:
            await self._keep(request_id, streamed=True)
            raise

    patch.setattr(Recording, "take", take)


def both_think_they_serve(patch: Patch) -> None:
    patch.setattr(Store, "is_alone", lambda self: True)


def who_is_left_gives_up(patch: Patch) -> None:
    patch.setattr(Store, "is_alone", lambda self: False)


def who_stops_takes_more(patch: Patch) -> None:
    real = Listener._call

    async def call(self: Listener, *request: Any) -> Any:
        self.draining = False
        return await real(self, *request)

    patch.setattr(Listener, "_call", call)
    patch.setattr(Protocol, "leave", lambda self: None)


def who_stops_waits_for_nobody(patch: Patch) -> None:
    patch.setattr(Listener, "_answers", lambda self: False)


def who_stops_waits_for_ever(patch: Patch) -> None:
    async def wait(going_on: Callable[[], bool], *until: Any) -> None:
        while going_on():  # noqa: ASYNC110 - time is free here
            await asyncio.sleep(0.05)

    patch.setattr(http, "_while", wait)


def who_is_cut_off_is_not_told(patch: Patch) -> None:
    patch.setattr(Protocol, "cut", lambda self, why: self.transport and self.transport.abort())


def what_goes_on_alone_is_left(patch: Patch) -> None:
    async def close(self: Replays) -> None: ...

    patch.setattr(Replays, "close", close)


def nobody_hears_of_a_cut_from_the_disk(patch: Patch) -> None:
    async def on_disk(self: Exchange) -> None:
        with suppress(Overloaded):
            await self._on_disk()

    patch.setattr(Exchange, "_on_disk_unless_cut", on_disk)


def a_cut_ends_what_is_being_kept(patch: Patch) -> None:
    async def through(stored: Awaitable[None]) -> None:
        await stored

    patch.setattr(replays, "_through", through)


def nobody_hears_what_is_left(patch: Patch) -> None:
    patch.setattr(Health, "dry", lambda *_: None)


def what_is_left_of_another_limit_counts(patch: Patch) -> None:
    patch.setattr(headroom, "ANTHROPIC", headroom.ANTHROPIC[:1])
    patch.setattr(headroom, "OPENAI", headroom.OPENAI[:1])


def who_had_nothing_left_never_has(patch: Patch) -> None:
    real = Health.dry

    def dry(self: Health, key: Any, wait_s: float, now_s: float) -> None:
        real(self, key, wait_s, now_s)
        self._records[key].dry_until_s = 1e9

    patch.setattr(Health, "dry", dry)


def a_refusal_says_nothing_of_its_limits(patch: Patch) -> None:
    patch.setattr(failures, "dry_for_s", lambda headers: None)


def nobody_heeds_what_was_said_meanwhile(patch: Patch) -> None:
    patch.setattr(Health, "refuses", lambda *_: False)


def an_answer_is_taken_for_anothers(patch: Patch) -> None:
    real = Idempotency.find

    def find(self: Idempotency, asked: Asked, now_ms: int) -> Kept | None:
        if real(self, asked, now_ms) is not None:
            raise KeyReused("this idempotency-key was used for another request")
        return None

    patch.setattr(Idempotency, "find", find)


MONEY_IS_ELSEWHERE = (
    "no process spends",
    "the ledger knows what is left",
    "nothing acknowledged is lost",
)

FAULTS: Mapping[Callable[[Patch], None], tuple[str, ...]] = {
    reserves_count_for_nothing: ("the ledger knows what is left", "spent and reserved stay"),
    a_settle_runs_twice: ("an attempt settles once",),
    who_leaves_is_not_settled: ("what ends is settled",),
    nobody_waits_for_the_disk: ("a budget's intent is on disk", "who sees the end was settled"),
    an_orphan_costs_nothing: ("an orphan costs its reserve", "no process spends"),
    orphans_are_left_open: ("what was left open is settled at the start", "no process spends"),
    midnight_never_comes: ("the ledger knows what is left", "the balances are what was settled"),
    a_probe_has_no_lease: ("one probe at a time",),
    a_breaker_that_is_open_lets_all_through: ("one probe at a time", "nobody is asked while"),
    a_gate_is_not_kept: ("who asked us to wait is not asked",),
    nobody_heeds_what_was_said_meanwhile: ("who said no meanwhile is not turned to",),
    nobody_counts_the_attempts: ("attempts stay within the route's",),
    everybody_may_be_asked: ("nobody is asked outside the grant",),
    the_watchdog_sleeps: ("nothing hangs", "a request ends by its deadline"),
    a_request_is_told_twice: ("a request is told once",),
    another_answers_in_the_middle: ("the text is whole", "what was told before an error"),
    an_exchange_is_not_left: ("no exchange is left open",),
    something_runs_on: ("no task outlives its request",),
    who_takes_over_inherits_nothing: MONEY_IS_ELSEWHERE,
    who_has_handed_over_asks_nobody: MONEY_IS_ELSEWHERE,
    both_think_they_serve: ("one process serves", "nothing acknowledged is lost"),
    who_is_left_gives_up: ("who is left serves",),
    # Both were real.
    who_leaves_pays_for_a_refusal: ("a refusal costs nothing",),
    the_clock_makes_forget_what_is_held: ("the ledger knows what is left",),
}
"""What is planted, and the invariants that may show it first."""

SERVED_FAULTS: Mapping[Callable[[Patch], None], tuple[str, ...]] = {
    a_key_is_never_free_again: ("only who comes while it is answered",),
    an_answer_is_not_kept: ("what was answered is not asked for again",),
    an_answer_is_taken_for_anothers: ("what was answered is answered again",),
    an_answer_is_given_before_it_is_kept: ("what was answered is not asked for again",),
    nobody_compares_what_is_asked: ("only who comes while it is answered", "the text is whole"),
    nobody_knows_what_is_under_way: ("a key is answered once at a time",),
    who_leaves_is_forgotten: ("who leaves is expected back",),
    a_key_is_everybodys: ("only who comes while it is answered",),
    a_failure_is_kept: ("the text is whole", "one terminal frame"),
    who_stops_takes_more: ("who is told to stop takes nothing new",),
    who_stops_waits_for_nobody: ("what runs may end within the window",),
    who_stops_waits_for_ever: ("who is told to stop ends in time",),
    who_is_cut_off_is_not_told: ("no error but the gateway's own", "who is cut off is told"),
    what_goes_on_alone_is_left: ("what ends is settled", "no exchange is left open"),
    nobody_hears_what_is_left: ("who has nothing left is not asked",),
    what_is_left_of_another_limit_counts: ("who has nothing left is not asked",),
    who_had_nothing_left_never_has: ("who is well again has its place", "only who has nobody"),
    a_refusal_says_nothing_of_its_limits: ("who asked us to wait is not asked",),
    # Both were real.
    nobody_hears_of_a_cut_from_the_disk: ("who is cut off is told",),
    a_cut_ends_what_is_being_kept: ("who is cut off is told",),
}
"""The same, of what only callers of the whole server see."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(fault: Callable[[Patch], None], monkeypatch: Patch) -> None:
    fault(monkeypatch)

    broken = next((one.broken for one in results(range(WITHIN_SEEDS)) if one.broken), "")

    assert broken.startswith(FAULTS[fault])


@pytest.mark.parametrize("fault", SERVED_FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_server_is_found(fault: Callable[[Patch], None], monkeypatch: Patch) -> None:
    fault(monkeypatch)
    seeds = range(1, WITHIN_SEEDS * SERVED_EVERY, SERVED_EVERY)

    broken = next((one.broken for one in results(seeds) if one.broken), "")

    assert broken.startswith(SERVED_FAULTS[fault])


def test_what_broke_is_told(monkeypatch: Patch, capsys: pytest.CaptureFixture[str]) -> None:
    a_settle_runs_twice(monkeypatch)

    found = tally_of(range(3)).found

    assert (found["ok"], found["seeds"], found["invariant_breaks"]) == (False, 3, 3)
    assert found["failed_seeds"] == [0, 1, 2]
    told = capsys.readouterr().err
    assert "world 0\n" in told
    assert "broken: an attempt settles once: r" in told
    assert "sent             request" in told
