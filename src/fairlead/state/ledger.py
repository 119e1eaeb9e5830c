"""What each key has spent and reserved. Knows the tables, not the database; no clock of its own.

Theory of operation
-------------------
The unit of account is the attempt: a failed try, a retry and a hedge can each be billed.

    hold    worst cost reserved in memory, in every window at once or in none; the intent is
            appended to the store
    send    only now; where a hard budget binds, only once the intent is on disk
    settle  the reserve is given back and the real cost is spent; the caller sees the end of the
            answer once the settle is on disk

Between the View and the hold nothing awaits, and only the loop's thread comes here, so reading
what is left and reserving it is one step: K requests fit a budget for K, however many ask.

For one window of one key:   limit >= spent + reserved   when a hold is granted.

A settle may cost more than was reserved (the input was estimated). It is recorded as it is: the
window goes into debt by that much, and nothing is granted until it ends. The window is the one
the attempt began in, so an answer that crosses midnight is charged to the day that admitted it.

On disk ``intent`` and ``settle`` are only ever added to, one row each to an attempt. A settle that
is already there is ignored, and the balance in ``spend`` is moved by a trigger, which runs only for
a row that was really inserted, in its transaction. So a repeated settle changes nothing, and the
balance is the sum of the settles whenever the process dies.

A process that dies leaves intents without a settle. Nobody knows what those cost; the next start
settles them at their reserve (``lease_expired_max``), never at zero. An unknown price settles as
NULL and moves no balance; a key with a budget is not granted an attempt whose price is unknown.

Two processes have one ledger while one takes over from the other: the old one finishes its requests
and settles them itself, the new one answers for all budgets.

    lend     the old one: its intents so far are on disk. From now on it only asks: the intent
             goes to disk, then the new one grants it, or the attempt is settled at nothing
    recover  the new one, after that: intents of processes that still run and have no settle are
             inherited, at their reserve
    follow   their settles are read from disk: the reserve goes, the cost comes
    bury     a process that is gone has settled, or never will

Spent and inherited are read in one statement, so each cost is in the one or comes by the other. An
attempt that is granted later was not sent before that, so it cost nothing until then. The new
one's reserve for it ends only once the settle is on disk, so spent + reserved is never too little.
"""

import json
from asyncio import ensure_future
from collections import deque
from collections.abc import Awaitable, Collection, Generator, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from fairlead.decide.cost import price_version, usd
from fairlead.state.windows import Windows, clock_text, windows_at
from fairlead.types.decision import Attempt, Caller, Limits
from fairlead.types.errors import OurError, OverBudget
from fairlead.types.facts import Attempted

Row = tuple[str | int | float | bytes | None, ...]

NO_LIMITS = Limits()
DAY_MS = 86_400_000
LEFT_WINDOWS = 12
"""Names of windows that stay known when the clock leaves them: a day and a month each time."""
LEASE_MS = 3_600_000
"""Longer than any attempt lasts."""
MAX_INTEGER = 2**53
"""Larger counts and amounts (a model's lie, a request for 1e15 tokens) are recorded as this: nine
million dollars, which a thousand can be added to before SQLite's integers end."""

INTENT = "INSERT OR IGNORE INTO intent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
SETTLE = "INSERT OR IGNORE INTO settle VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
RECOVER = """
INSERT OR IGNORE INTO settle (attempt_id, key_id, day, nano, basis, at_ms)
SELECT attempt_id, intent.key_id, date(intent.at_ms / 1000, 'unixepoch'), reserved_nano,
       iif(reserved_nano IS NULL, 'price_unknown', 'lease_expired_max'), ?
FROM intent LEFT JOIN settle USING (attempt_id)
WHERE settle.attempt_id IS NULL AND attempt_id {} (SELECT value FROM json_each(?))
"""
NEVER_SENT = """
INSERT OR IGNORE INTO settle (attempt_id, key_id, day, nano, basis, at_ms)
SELECT attempt_id, intent.key_id, date(intent.at_ms / 1000, 'unixepoch'), 0, 'rejected_zero', ?
FROM intent LEFT JOIN settle USING (attempt_id)
WHERE settle.attempt_id IS NULL AND attempt_id IN (SELECT value FROM json_each(?))
"""
SPENT_AND_OPEN = """
SELECT key_id, "window", nano, NULL, NULL FROM spend WHERE "window" IN (?, ?, ?, ?)
UNION ALL
SELECT intent.key_id, '', reserved_nano, attempt_id, intent.at_ms
FROM intent LEFT JOIN settle USING (attempt_id)
WHERE settle.attempt_id IS NULL AND attempt_id IN (SELECT value FROM json_each(?))
"""
SETTLED = """
SELECT attempt_id, nano FROM settle WHERE attempt_id IN (SELECT value FROM json_each(?))
"""
SPENT = 'SELECT key_id, "window", nano FROM spend WHERE "window" IN (?, ?)'


class Writer(Protocol):
    """What the ledger needs of a store."""

    def check(self) -> None:
        """Raises Overloaded while nothing can be stored."""
        ...

    def append(self, statement: str, params: Row) -> None:
        """Store soon. Raises Overloaded."""
        ...

    def append_durable(self, statement: str, params: Row) -> Awaitable[None]: ...

    def flush(self) -> Awaitable[None]: ...

    def read(self, sql: str, params: Row = ()) -> Sequence[Sequence[object]]: ...

    def write(self, sql: str, params: Row = ()) -> int: ...


class Wanted(Struct, frozen=True):
    """An attempt for which a process that has handed over asks the one that serves."""

    attempt_id: str
    key_id: str
    worst_nano_usd: int | None
    budget_day_nano_usd: int | None = None
    budget_month_nano_usd: int | None = None
    at_ms: int | None = None
    """Of its intent, whose day and month it is charged to; None: now."""


class Elsewhere(Protocol):
    """The process that serves, as one that has handed over to it sees it."""

    def note(self, attempt_id: str) -> None:
        """Make it known as an attempt of this process, before it is on disk."""
        ...

    async def ask(self, wanted: Wanted) -> None:
        """Raises OverBudget, and Overloaded when nobody serves."""
        ...


class Account:
    """One key in one window."""

    __slots__ = ("reserved_nano_usd", "spent_nano_usd")

    def __init__(self, spent_nano_usd: int = 0) -> None:
        self.spent_nano_usd = spent_nano_usd
        self.reserved_nano_usd = 0


class Accounts(Struct, frozen=True):
    """One key in the windows of one instant."""

    day: Account
    month: Account


class Hold(Struct, frozen=True):
    """Money set aside for one attempt, until it is settled."""

    attempt_id: str
    key_id: str
    day: str
    accounts: Accounts
    reserved_nano_usd: int
    durable: Awaitable[None]
    """Resolves once the intent is on disk; AT_ONCE for a caller without a budget, whose intent
    is stored too but nobody need wait. Raises Overloaded, and OverBudget where another process
    was asked: then settle, and do not send."""


class Ledger:
    """One per database. ``today`` in what follows is the UTC date of ``now_ms``."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._windows = windows_at(0)
        self._left: deque[str] = deque(maxlen=LEFT_WINDOWS)
        self._current: dict[str, Accounts] = {}
        """By key, for the windows of now."""
        self._accounts: dict[tuple[str, str], Account] = {}
        """By key and window."""
        self._open: set[str] = set()
        self._inherited: dict[str, tuple[Accounts, int]] = {}
        """By attempt, what is reserved for those of other processes."""
        self._elsewhere: Elsewhere | None = None
        self.repeated_settles = 0

    @property
    def open_holds(self) -> int:
        return len(self._open)

    @property
    def open_attempts(self) -> tuple[str, ...]:
        return tuple(self._open)

    @property
    def inherited(self) -> tuple[str, ...]:
        """Attempts of other processes that are not settled yet, as far as we know."""
        return tuple(self._inherited)

    def recover(
        self, now_ms: int, alive: Collection[str] = (), dead: Collection[str] | None = None
    ) -> int:
        """At the start: settle at their reserve the attempts that a dead process left open, and
        load what is spent. Those in ``alive`` are of processes that still run: they are inherited.
        All others are orphans, unless one knows which are: ``dead``. Returns how many orphans there
        were. Blocks."""
        living = json.dumps([*alive])
        if dead is None:
            orphans = self._writer.write(RECOVER.format("NOT IN"), (now_ms, living))
        else:
            orphans = self._writer.write(RECOVER.format("IN"), (now_ms, json.dumps([*dead])))
        now, before = windows_at(now_ms), windows_at(now_ms - DAY_MS)
        self._windows, self._current = now, {}
        self._accounts.clear()
        self._inherited.clear()
        names = (now.day, now.month, before.day, before.month)
        rows = self._writer.read(SPENT_AND_OPEN, (*names, living))
        for key_id, window, nano, attempt_id, at_ms in rows:
            amount = nano if isinstance(nano, int) else 0
            if isinstance(attempt_id, str) and isinstance(at_ms, int):
                self._inherit(attempt_id, self._accounts_in(str(key_id), windows_at(at_ms)), amount)
            else:
                # An account may be there already, for what is open in it.
                name = (str(key_id), str(window))
                self._accounts.setdefault(name, Account()).spent_nano_usd += amount
        return orphans

    def follow(self, settled: Iterable[Sequence[object]]) -> None:
        """Count what other processes have settled by now: rows of SETTLED."""
        for attempt_id, nano in settled:
            accounts, reserved = self._inherited.pop(str(attempt_id), (None, 0))
            if accounts is not None:
                _move(accounts, -reserved, nano if isinstance(nano, int) else 0)

    def bury(self, attempt_ids: Collection[str], now_ms: int) -> int:
        """Settle at their reserve those that a process left open which was still running when we
        started, and at nothing what we never granted: that was not sent, nor was what is not on
        disk. Returns how many may have been. Blocks."""
        granted = json.dumps([each for each in attempt_ids if each in self._inherited])
        orphans = self._writer.write(RECOVER.format("IN"), (now_ms, granted))
        self._writer.write(NEVER_SENT, (now_ms, json.dumps([*attempt_ids])))
        return orphans

    def grant(self, wanted: Wanted, now_ms: int) -> None:
        """Reserve for an attempt of another process, once. Raises OverBudget."""
        limits = Limits(
            budget_day_nano_usd=wanted.budget_day_nano_usd,
            budget_month_nano_usd=wanted.budget_month_nano_usd,
        )
        self._turn(now_ms)
        at_ms = now_ms if wanted.at_ms is None else wanted.at_ms
        accounts = self._accounts_in(wanted.key_id, windows_at(at_ms))
        worst, known = wanted.worst_nano_usd, True
        if wanted.attempt_id in self._inherited:
            accounts, _ = self._inherited[wanted.attempt_id]
        elif wanted.attempt_id not in self._open:  # our own, asked for before we served again
            known = False
        if limits != NO_LIMITS:
            # What was read from disk at the start is in the account already, as is what we hold.
            self._check(limits, accounts, 0 if known and worst is not None else worst, now_ms)
        if not known:
            self._inherit(wanted.attempt_id, accounts, worst or 0)

    def lend(self, elsewhere: Elsewhere | None) -> None:
        """From now on another process answers for the budgets. None: this one does again."""
        self._elsewhere = elsewhere

    @property
    def lends(self) -> bool:
        """Whether another process answers for the budgets."""
        return self._elsewhere is not None

    def hold(
        self, attempt_id: str, request_id: str, caller: Caller, attempt: Attempt, now_ms: int
    ) -> Hold:
        """Reserve the attempt's worst cost in all of the caller's windows, or in none.

        Raises OverBudget, which says what budget is used up and when it resets, and Overloaded.
        """
        if attempt_id in self._open:
            raise OurError(f"attempt {attempt_id} is already open")
        self._writer.check()
        accounts = self._accounts_of(caller.id, now_ms)
        worst, today = attempt.worst_cost_nano_usd, self._windows.today
        intent = (
            *(attempt_id, request_id, caller.id, *attempt.key),
            price_version(attempt.endpoint.model, today),
            None if worst is None else min(worst, MAX_INTEGER),
            *(now_ms, now_ms + LEASE_MS),
        )
        durable: Awaitable[None] = AT_ONCE
        if self._elsewhere is not None:
            self._elsewhere.note(attempt_id)
            durable = ensure_future(self._borrow(self._elsewhere, caller, intent, worst, now_ms))
        elif caller.has_budget:
            self._check(caller.limits, accounts, worst, now_ms)
            durable = self._writer.append_durable(INTENT, intent)
        else:
            self._writer.append(INTENT, intent)
        reserved = worst or 0
        _move(accounts, reserved, 0)
        self._open.add(attempt_id)
        return Hold(attempt_id, caller.id, today, accounts, reserved, durable)

    def settle(self, hold: Hold, attempted: Attempted, now_ms: int) -> Awaitable[None]:
        """Charge what the attempt cost and give back its reserve, now. The result resolves once
        that is on disk, or raises Overloaded. A second settle is counted and changes nothing."""
        if hold.attempt_id not in self._open:
            self.repeated_settles += 1
            return self._writer.flush()
        self._open.remove(hold.attempt_id)
        _move(hold.accounts, -hold.reserved_nano_usd, _charged(hold, attempted) or 0)
        return self._writer.append_durable(SETTLE, _settled(hold, attempted, now_ms))

    def affordable_nano_usd(self, caller: Caller, now_ms: int) -> int | None:
        """What the tightest budget has left, at least 0; None without a budget."""
        if not caller.has_budget:
            return None
        accounts = self._accounts_of(caller.id, now_ms)
        return max(0, min(left for left, _ in _left(caller.limits, accounts)))

    def tell_of_holds(self, refusal: OverBudget, caller: Caller, now_ms: int) -> None:
        """Add what requests that run have set aside. They mostly use little of it, so that asking
        again may help."""
        accounts = self._accounts_of(caller.id, now_ms)
        held = max(accounts.day.reserved_nano_usd, accounts.month.reserved_nano_usd)
        if held:
            refusal.message += (
                f"; {usd(held)} USD are set aside for requests that run, and what they do not use"
                " comes back"
            )
            refusal.retryable = True

    def today(self, now_ms: int) -> str:
        """ISO date, in UTC."""
        self._turn(now_ms)
        return self._windows.today

    def _check(self, limits: Limits, accounts: Accounts, worst: int | None, now_ms: int) -> None:
        if worst is None:
            raise OverBudget("this key has a budget, and the price of the model is unknown")
        for left, window in _left(limits, accounts):
            if worst > left:
                windows = self._windows
                ends_ms = windows.until_ms if window == "day" else windows.month_until_ms
                raise OverBudget(
                    f"the {window}'s budget of this key has ${usd(max(0, left))} left and the"
                    f" request may cost ${usd(worst)}; it resets at {clock_text(ends_ms)}",
                    retry_after_s=(ends_ms - now_ms) / 1000,
                )

    def _accounts_of(self, key_id: str, now_ms: int) -> Accounts:
        self._turn(now_ms)
        accounts = self._current.get(key_id)
        if accounts is None:
            accounts = self._current[key_id] = self._accounts_in(key_id, self._windows)
        return accounts

    def _accounts_in(self, key_id: str, windows: Windows) -> Accounts:
        return Accounts(
            self._accounts.setdefault((key_id, windows.day), Account()),
            self._accounts.setdefault((key_id, windows.month), Account()),
        )

    def _inherit(self, attempt_id: str, accounts: Accounts, reserved: int) -> None:
        self._inherited[attempt_id] = accounts, reserved
        _move(accounts, reserved, 0)

    async def _borrow(
        self, elsewhere: Elsewhere, caller: Caller, intent: Row, worst: int | None, at_ms: int
    ) -> None:
        """On disk first, so that whoever takes over in between knows of it."""
        await self._writer.append_durable(INTENT, intent)
        limits = caller.limits
        await elsewhere.ask(
            Wanted(
                str(intent[0]),
                caller.id,
                worst,
                limits.budget_day_nano_usd,
                limits.budget_month_nano_usd,
                at_ms,
            )
        )

    def _turn(self, now_ms: int) -> None:
        if not self._windows.from_ms <= now_ms < self._windows.until_ms:
            self._open_windows(now_ms)

    def _open_windows(self, now_ms: int) -> None:
        """At midnight: forget old windows and load the new ones, which are empty but after a start
        or a step of the clock. Those left lately stay known: the clock may step back over midnight
        while their last settles are on the way to disk. So do those in which something is held,
        wherever the clock goes meanwhile."""
        before, windows = self._windows, windows_at(now_ms)
        self._left += (before.day, before.month)
        kept = {*self._left, windows.day, windows.month}
        accounts = {
            key: account
            for key, account in self._accounts.items()
            if key[1] in kept or account.reserved_nano_usd
        }
        for key_id, window, nano in self._writer.read(SPENT, (windows.day, windows.month)):
            if (key := (str(key_id), str(window))) not in accounts:
                accounts[key] = Account(nano if isinstance(nano, int) else 0)
        self._windows, self._accounts, self._current = windows, accounts, {}


def _move(accounts: Accounts, reserved: int, spent: int) -> None:
    for account in (accounts.day, accounts.month):
        account.reserved_nano_usd += reserved
        account.spent_nano_usd += spent


def _left(limits: Limits, accounts: Accounts) -> list[tuple[int, str]]:
    """What each budget has left, with its window; the month first: it is the last to reset."""
    left = []
    for limit, account, window in (
        (limits.budget_month_nano_usd, accounts.month, "month"),
        (limits.budget_day_nano_usd, accounts.day, "day"),
    ):
        if limit is not None:
            left.append((limit - account.spent_nano_usd - account.reserved_nano_usd, window))
    return left


def _charged(hold: Hold, attempted: Attempted) -> int | None:
    """What the attempt cost; where that is not known, its reserve: a budget must not get longer
    because a vendor's price for one kind of token is missing."""
    if attempted.cost_nano_usd is None:
        return hold.reserved_nano_usd or None
    return attempted.cost_nano_usd


def _settled(hold: Hold, attempted: Attempted, now_ms: int) -> Row:
    cost, usage = _charged(hold, attempted), attempted.usage
    tokens: tuple[int | None, ...] = (None,) * 5
    if usage is not None:
        tokens = (
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_read_tokens,
            usage.cached_write_tokens,
            usage.reasoning_tokens,
        )
        if max(tokens) > MAX_INTEGER:
            tokens = tuple(min(count, MAX_INTEGER) for count in tokens)
    return (
        *(hold.attempt_id, hold.key_id, hold.day),
        None if cost is None else min(cost, MAX_INTEGER),
        *tokens,
        *(attempted.basis, now_ms),
    )


class AtOnce:
    """An awaitable with nothing to wait for. Unlike a future it may be awaited by many."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


AT_ONCE = AtOnce()
