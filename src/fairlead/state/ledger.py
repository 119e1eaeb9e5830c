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
"""

from collections.abc import Awaitable, Generator, Sequence
from typing import Protocol

from msgspec import Struct

from fairlead.decide.cost import price_version, usd
from fairlead.state.windows import clock_text, windows_at
from fairlead.types.decision import Attempt, Caller, Limits
from fairlead.types.errors import OurError, OverBudget
from fairlead.types.facts import Attempted

Row = tuple[str | int | float | bytes | None, ...]

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
FROM intent LEFT JOIN settle USING (attempt_id) WHERE settle.attempt_id IS NULL
"""
SPENT = 'SELECT key_id, "window", nano FROM spend WHERE "window" IN (?, ?)'


class Writer(Protocol):
    """What the ledger needs of a store."""

    def append(self, statement: str, params: Row) -> None:
        """Store soon. Raises Overloaded."""
        ...

    def append_durable(self, statement: str, params: Row) -> Awaitable[None]: ...

    def flush(self) -> Awaitable[None]: ...

    def read(self, sql: str, params: Row = ()) -> Sequence[Sequence[object]]: ...

    def write(self, sql: str, params: Row = ()) -> int: ...


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
    """Resolves once the intent is on disk; at once for a caller without a budget, whose intent
    is stored too but nobody need wait. Raises Overloaded: then settle, and do not send."""


class Ledger:
    """One per database. ``today`` in what follows is the UTC date of ``now_ms``."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._windows = windows_at(0)
        self._current: dict[str, Accounts] = {}
        """By key, for the windows of now."""
        self._accounts: dict[tuple[str, str], Account] = {}
        """By key and window."""
        self._open: set[str] = set()
        self.repeated_settles = 0

    @property
    def open_holds(self) -> int:
        return len(self._open)

    def recover(self, now_ms: int) -> int:
        """At the start: settle at their reserve the attempts that a dead process left open, and
        load what is spent. Returns how many there were. Blocks."""
        orphans = self._writer.write(RECOVER, (now_ms,))
        self._accounts.clear()
        self._open_windows(now_ms)
        return orphans

    def hold(
        self, attempt_id: str, request_id: str, caller: Caller, attempt: Attempt, now_ms: int
    ) -> Hold:
        """Reserve the attempt's worst cost in all of the caller's windows, or in none.

        Raises OverBudget, which says what budget is used up and when it resets, and Overloaded.
        """
        if attempt_id in self._open:
            raise OurError(f"attempt {attempt_id} is already open")
        accounts = self._accounts_of(caller.id, now_ms)
        worst, today = attempt.worst_cost_nano_usd, self._windows.today
        intent = (
            *(attempt_id, request_id, caller.id, *attempt.key),
            price_version(attempt.endpoint.model, today),
            None if worst is None else min(worst, MAX_INTEGER),
            *(now_ms, now_ms + LEASE_MS),
        )
        durable: Awaitable[None] = AT_ONCE
        if caller.has_budget:
            self._check(caller.limits, accounts, worst, now_ms)
            durable = self._writer.append_durable(INTENT, intent)
        else:
            self._writer.append(INTENT, intent)
        reserved = worst or 0
        accounts.day.reserved_nano_usd += reserved
        accounts.month.reserved_nano_usd += reserved
        self._open.add(attempt_id)
        return Hold(attempt_id, caller.id, today, accounts, reserved, durable)

    def settle(self, hold: Hold, attempted: Attempted, now_ms: int) -> Awaitable[None]:
        """Charge what the attempt cost and give back its reserve, now. The result resolves once
        that is on disk, or raises Overloaded. A second settle is counted and changes nothing."""
        if hold.attempt_id not in self._open:
            self.repeated_settles += 1
            return self._writer.flush()
        self._open.remove(hold.attempt_id)
        cost = _charged(hold, attempted) or 0
        for account in (hold.accounts.day, hold.accounts.month):
            account.reserved_nano_usd -= hold.reserved_nano_usd
            account.spent_nano_usd += cost
        return self._writer.append_durable(SETTLE, _settled(hold, attempted, now_ms))

    def affordable_nano_usd(self, caller: Caller, now_ms: int) -> int | None:
        """What the tightest budget has left, at least 0; None without a budget."""
        if not caller.has_budget:
            return None
        accounts = self._accounts_of(caller.id, now_ms)
        return max(0, min(left for left, _ in _left(caller.limits, accounts)))

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
            day = self._accounts.setdefault((key_id, self._windows.day), Account())
            month = self._accounts.setdefault((key_id, self._windows.month), Account())
            accounts = self._current[key_id] = Accounts(day, month)
        return accounts

    def _turn(self, now_ms: int) -> None:
        if not self._windows.from_ms <= now_ms < self._windows.until_ms:
            self._open_windows(now_ms)

    def _open_windows(self, now_ms: int) -> None:
        """At midnight: forget old windows and load the new ones, which are empty but after a start
        or a step of the clock. Those just left stay known: the clock may step back over midnight
        while their last settles are on the way to disk."""
        before, windows = self._windows, windows_at(now_ms)
        kept = {before.day, before.month, windows.day, windows.month}
        accounts = {key: account for key, account in self._accounts.items() if key[1] in kept}
        for key_id, window, nano in self._writer.read(SPENT, (windows.day, windows.month)):
            if (key := (str(key_id), str(window))) not in accounts:
                accounts[key] = Account(nano if isinstance(nano, int) else 0)
        self._windows, self._accounts, self._current = windows, accounts, {}


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
