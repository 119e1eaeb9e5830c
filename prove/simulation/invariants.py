"""What must hold whatever happens, checked where it could first be seen to be broken.

``Books`` keep their own account of money, probes, gates and requests, from what goes in and out of
the real parts and from what the vendors saw, and compare. They know no rule of how to route.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from msgspec import Struct, field

from fairlead.dispatch.told import UNTERMINATED
from fairlead.types.decision import Attempt, Caller
from fairlead.types.errors import Failure
from fairlead.types.facts import Attempted, Exchanged, Fact, Refused
from prove.simulation.machine import Machine
from prove.simulation.story import Ask
from prove.simulation.vendors import REFUSALS, Exchange

LEASE_S = 10.0
"""A probe of which nothing is heard for so long does not keep others out."""
LONGEST_GATE_S = 300.0
GATES_S: Mapping[str, float] = {
    Failure.RATE_LIMIT: 1.0,
    Failure.QUOTA: 60.0,
    Failure.CREDENTIAL: 300.0,
}
"""How long, at least, who failed in this way is not asked."""
MISSING_S = 60.0
TRUE_WAYS = ("ok", "slow", "pings", "lie", "other words")
"""Ways of an exchange in which the endpoint answers in full and reports its tokens."""
MINUTE_S = 60.0
NEVER = (0.0, 0.0)
UNTOLD = ("left", "cancelled", "refused", "hung up")

Key = tuple[str, str]

ORPHANS = """
SELECT count(*) FROM settle LEFT JOIN intent USING (attempt_id) WHERE intent.attempt_id IS NULL
"""
BALANCES = """
SELECT key_id, "window", nano, (
  SELECT coalesce(sum(nano), 0) FROM settle WHERE settle.key_id = spend.key_id
    AND spend."window" IN ('day:' || day, 'month:' || substr(day, 1, 7))
) FROM spend
"""


class Broken(SystemExit):
    """An invariant does not hold. A SystemExit, because asyncio lets only those through."""

    first: "ClassVar[Broken | None]" = None
    """Of this run: what follows from it, on the way out, is of no interest."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        if Broken.first is None:
            Broken.first = self


class Held(Struct):
    """One attempt, as the books have it."""

    attempt_id: str
    request: int
    key_id: str
    day: str
    reserved: int | None
    budgeted: bool
    exchange: Exchange | None = None
    settled: bool = False
    cost: int | None = None
    acknowledged: bool = False
    lost: bool = False
    """Its process died before it was settled, or before anything of it was on disk."""


class Request(Struct):
    """One request, as its client and the vendors saw it."""

    ask: Ask
    caller: Caller
    arrived_s: float
    allowed: Collection[str]
    most_attempts: int
    deadline_s: float
    well: Collection[str] = ()
    """Endpoints that would surely take it: allowed, affordable, and with nothing against them."""
    held: list[Held] = field(default_factory=list)
    sent: list[Exchange] = field(default_factory=list)
    told: list[Fact] = field(default_factory=list)
    tasks: list[Any] = field(default_factory=list)
    finished_s: float | None = None
    outcome: str = ""
    client: Any = None
    """Who sent it over the wire."""
    seen: bool = False
    """The gateway has been asked, by whoever listens for it."""

    @property
    def texts(self) -> set[str]:
        """What one of those who were asked would have said, with what it went on from."""
        return {one.prefix + "".join(one.said.pieces) for one in self.sent if one.said}


def _key(exchange: Exchange) -> Key:
    return exchange.endpoint, f"env:{exchange.credential}" if exchange.credential else ""


def must(holds: bool, invariant: str, detail: str) -> None:
    if not holds:
        raise Broken(invariant, detail)


class Books:
    def __init__(self, machine: Machine, prices: Callable[[Exchange], int | None]) -> None:
        """``prices`` says what an exchange's answer costs, None when no price is known."""
        self._machine = machine
        self._prices = prices
        self.requests: dict[int, Request] = {}
        self.held: dict[str, Held] = {}
        self.spent: dict[tuple[str, str], int] = defaultdict(int)
        self.reserved: dict[tuple[str, str], int] = defaultdict(int)
        self.probes: dict[Key, dict[int, float]] = defaultdict(dict)
        self.gates: dict[Key, tuple[float, float]] = {}
        """When we were told, and until when it is not to be asked."""
        self.dry: dict[Key, tuple[float, float]] = {}
        """The same, of those that told in an answer that nothing is left."""
        self.gone: dict[str, tuple[float, float]] = {}
        self.gone_sent_s: dict[str, float] = {}
        """When the latest was sent that was told so."""
        self.removed: set[str] = set()
        """Endpoints that the configuration names no more."""
        self.revoked: dict[str, float] = {}
        self.admitted: dict[str, list[float]] = defaultdict(list)
        self.denied: dict[int, Key] = {}
        """Requests whose breaker said no, until they ask elsewhere."""

    # Money ---------------------------------------------------------------------------------------

    def hold(
        self, attempt_id: str, request: int, caller: Caller, attempt: Attempt, now_ms: int
    ) -> None:
        """A hold was granted."""
        must(attempt_id not in self.held, "an attempt is held once", attempt_id)
        if self.denied.get(request) == attempt.key:
            where = f"request {request} at {attempt.key}"
            name, asked = attempt.endpoint.name, self.requests[request].sent
            answering = any(one.told and one.endpoint == name for one in asked)
            failed_over = bool(asked) and all(_key(one) != attempt.key for one in asked)
            regardless = bool(attempt.last_resort) or answering or failed_over
            must(regardless, "nobody is asked while its breaker is open", where)
        if self.requests[request].sent:
            self._turns_to(attempt.key, self.requests[request])
        day = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
        worst = attempt.worst_cost_nano_usd
        held = Held(attempt_id, request, caller.id, day, worst, caller.has_budget)
        self.held[attempt_id] = held
        self.requests[request].held.append(held)
        for window in _windows(held):
            self.reserved[window] += worst or 0
        limits = caller.limits
        for window, limit in zip(
            _windows(held), (limits.budget_day_nano_usd, limits.budget_month_nano_usd), strict=True
        ):
            if limit is not None:
                must(worst is not None, "a budget needs a price", attempt_id)
                total = self.spent[window] + self.reserved[window]
                must(
                    total <= limit,
                    "spent and reserved stay within the limit",
                    f"{attempt_id} was granted, {window} has {total} of {limit}",
                )

    def last_resort(self, number: int, is_well: Callable[[str], bool]) -> None:
        """Somebody is asked whom we would rather not ask."""
        request = self.requests[number]
        if any(one.how == "context" for one in request.sent):
            return  # only who holds more can take it, and these books know no sizes
        asked = [one.endpoint for one in request.sent]
        left = [name for name in request.well if name not in asked and is_well(name)]
        must(not left, "only who has nobody else asks the least bad", f"{number}: {left}")

    def _turns_to(self, key: Key, request: Request) -> None:
        """Somebody has failed it. Who said no meanwhile, to whomever, is not asked in his place."""
        now_s = self._machine.now_s()
        until_s = max(self.gates.get(key, NEVER)[1], self.gone.get(key[0], NEVER)[1])
        if key not in [_key(one) for one in request.sent]:
            where = f"request {request.ask.number} at {key}, until {until_s:.3f}"
            must(now_s >= until_s, "who said no meanwhile is not turned to", where)

    def settle(self, attempt_id: str, attempted: Attempted) -> None:
        held = self.held.get(attempt_id)
        if held is None:
            raise Broken("what is settled was held", attempt_id)
        must(not held.settled, "an attempt settles once", attempt_id)
        held.settled = True
        held.cost = attempted.cost_nano_usd
        if held.cost is None:
            held.cost = held.reserved or None
        for window in _windows(held):
            self.reserved[window] -= held.reserved or 0
            self.spent[window] += held.cost or 0
            must(self.reserved[window] >= 0, "reserved is not negative", f"{window}")
        self._cost(held, attempted)

    def _cost(self, held: Held, attempted: Attempted) -> None:
        exchange = held.exchange
        if exchange is None:
            must(not held.cost, "what was not sent costs nothing", f"{held}")
            return
        # Its time was up once it had said why it ends, and not yet what it used.
        untold = attempted.message == UNTERMINATED and attempted.basis == "partial_estimate"
        if attempted.failure == "" and exchange.how in TRUE_WAYS and not untold:
            truth = self._prices(exchange)
            must(
                truth == attempted.cost_nano_usd,
                "an answer costs what its tokens cost",
                f"{held.attempt_id}: {attempted.cost_nano_usd} settled, {truth} used",
            )
        if exchange.how in REFUSALS and exchange.told:
            must(not attempted.cost_nano_usd, "a refusal costs nothing", f"{held}")
        if held.reserved is not None and exchange.how != "lie":
            must(
                (held.cost or 0) <= held.reserved,
                "no attempt costs more than its reserve",
                f"{held.attempt_id}: {held.cost} of {held.reserved}, {attempted}",
            )

    def left(self, caller: Caller, now_ms: int) -> int | None:
        """What the caller's tightest budget has left, by these books."""
        day = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
        limits = caller.limits
        lefts = [
            limit - self.spent[caller.id, window] - self.reserved[caller.id, window]
            for window, limit in (
                (f"day:{day}", limits.budget_day_nano_usd),
                (f"month:{day[:7]}", limits.budget_month_nano_usd),
            )
            if limit is not None
        ]
        return max(0, min(lefts)) if lefts else None

    @property
    def unsettled(self) -> list[str]:
        return [one.attempt_id for one in self.held.values() if not (one.settled or one.lost)]

    def affordable(self, caller: Caller, told: int | None, now_ms: int) -> None:
        left = self.left(caller, now_ms)
        must(told == left, "the ledger knows what is left", f"{caller.id}: {told}, not {left}")

    def acknowledged(self, request: Request) -> None:
        """The client has seen the end of its answer: what it cost is on disk."""
        for held in request.held:
            rows = self._machine.disk.rows(
                "SELECT nano FROM settle WHERE attempt_id = ?", (held.attempt_id,)
            )
            must(
                rows == [(held.cost,)],
                "who sees the end was settled on disk",
                f"{held.attempt_id}: {rows}, not {held.cost}",
            )
            held.acknowledged = True

    def recovered(self) -> None:
        """A process began on what the last one left: work out what that must have become."""
        disk = self._machine.disk
        intents = {row[0] for row in disk.rows("SELECT attempt_id FROM intent")}
        settles = dict(disk.rows("SELECT attempt_id, nano FROM settle"))
        for memory in (
            self.reserved,
            self.spent,
            self.probes,
            self.gates,
            self.dry,
            self.gone,
            self.gone_sent_s,
            self.admitted,
        ):
            memory.clear()
        for held in self.held.values():
            name = held.attempt_id
            if held.acknowledged:
                must(settles.get(name, -1) == held.cost, "nothing acknowledged is lost", name)
            if held.budgeted and held.exchange is not None:
                must(name in intents, "what a budget sent is known after a crash", name)
            if name not in settles:
                must(name not in intents, "what was left open is settled at the start", name)
                held.lost = True
                continue
            must(name in intents, "what is settled was intended", name)
            if not held.settled or settles[name] != held.cost:
                must(settles[name] == held.reserved, "an orphan costs its reserve", f"{held}")
                held.settled, held.cost, held.lost = True, held.reserved, True
            for window in _windows(held):
                self.spent[window] += held.cost or 0
        must(settles.keys() <= self.held.keys(), "what is settled was held", f"{settles.keys()}")
        self.balances()

    def balances(self) -> None:
        rows = self._machine.disk.rows(BALANCES)
        for key_id, window, nano, total in rows:
            must(nano == total, "a balance is the sum of its settles", f"{key_id} {window}")
        on_disk = {(key_id, window): nano for key_id, window, nano, _ in rows if nano}
        known = {window: nano for window, nano in self.spent.items() if nano}
        must(on_disk == known, "the balances are what was settled", f"{on_disk}, not {known}")
        must(self._machine.disk.rows(ORPHANS) == [(0,)], "what is settled was intended", "")

    # Whom to ask ---------------------------------------------------------------------------------

    def begin(self, key: Key, before: str, may: bool, request: int, now_s: float) -> None:
        """``before`` is what the breaker said, ``may`` whether the attempt was let through."""
        if not may:
            self.denied[request] = key
            return
        self.denied.pop(request, None)
        must(before != "open", "nobody is asked while its breaker is open", f"{key}")
        if before == "half_open":
            out = self.probes[key]
            fresh = [other for other, began_s in out.items() if now_s < began_s + LEASE_S]
            must(not fresh, "one probe at a time", f"{key}: requests {fresh}, now {request}")
            out[request] = now_s

    def observe(self, attempted: Attempted, request: int, now_s: float) -> None:
        key = attempted.endpoint, attempted.credential
        self.probes[key].pop(request, None)
        name, sent_s = attempted.endpoint, now_s - attempted.total_ms / 1000
        if attempted.failure == "" and sent_s > self.gone_sent_s.get(name, 0.0):
            # An answer to what was sent before the model was gone says nothing.
            self.gone.pop(name, None)
            self.gone_sent_s.pop(name, None)
        if not attempted.id or name in self.removed:
            return
        if attempted.failure in GATES_S:
            for_s, asked_s = GATES_S[attempted.failure], attempted.retry_after_s
            if attempted.failure == Failure.RATE_LIMIT:
                [*_, sent] = [one for one in self.requests[request].sent if one.endpoint == key[0]]
                wanted_s = asked_s if sent.dry_s is None else sent.dry_s
                for_s = for_s if wanted_s is None else min(wanted_s, LONGEST_GATE_S)
            _, until_s = self.gates.get(key, (0.0, 0.0))
            self.gates[key] = now_s, max(until_s, now_s + for_s)
        elif attempted.failure == Failure.MODEL_GONE:
            self.gone[name] = now_s, now_s + MISSING_S
            self.gone_sent_s[name] = max(self.gone_sent_s.get(name, 0.0), sent_s)

    def announced(self, exchange: Exchange) -> None:
        """An answer has begun, and with it came word that nothing is left."""
        if exchange.how in REFUSALS:
            return  # that is a refusal
        now_s, key = self._machine.now_s(), _key(exchange)
        _, until_s = self.dry.get(key, (0.0, 0.0))
        wait_s = min(exchange.dry_s or 0.0, LONGEST_GATE_S)
        self.dry[key] = now_s, max(until_s, now_s + wait_s)

    def forget(self, endpoints: Collection[str], removed: Collection[str] = ()) -> None:
        """These were changed by a reload: what was learned of them does not count. Of those that
        it ``removed`` nothing is learned any more, though who was planned for them may ask."""
        self.removed.update(removed)
        for key in [key for key in (*self.gates, *self.dry, *self.probes) if key[0] in endpoints]:
            self.gates.pop(key, None)
            self.dry.pop(key, None)
            self.probes.pop(key, None)
        for name in endpoints:
            self.gone.pop(name, None)
            self.gone_sent_s.pop(name, None)

    def began(self, exchange: Exchange) -> None:
        """The gateway sends something."""
        request = self.requests[exchange.request]
        where = f"request {exchange.request} at {exchange.endpoint}"
        must(request.finished_s is None, "nothing is sent once a request has ended", where)
        held = [one for one in request.held if not one.settled and one.exchange is None]
        must(len(held) == 1, "what is sent is held", f"{where}: {len(held)} holds")
        held[0].exchange = exchange
        request.sent.append(exchange)
        most = request.most_attempts
        must(len(request.sent) <= most, "attempts stay within the route's", f"{where}: {most}")
        must(exchange.endpoint in request.allowed, "nobody is asked outside the grant", where)
        if held[0].budgeted:
            row = (held[0].attempt_id,)
            on_disk = self._machine.disk.rows("SELECT 1 FROM intent WHERE attempt_id = ?", row)
            must(bool(on_disk), "a budget's intent is on disk before it is sent", where)
        revoked_s = self.revoked.get(request.caller.id, 1e99)
        must(request.arrived_s <= revoked_s, "a revoked key sends nothing", where)
        if len(request.sent) == 1:
            self._admit(request, where)
        self._patient(exchange, request, where)

    def _patient(self, exchange: Exchange, request: Request, where: str) -> None:
        """A request that came after we were told to wait, or that a model is gone, obeys."""
        key = _key(exchange)
        told_s, until_s = self.dry.get(key, (0.0, 0.0))
        if len(request.sent) == 1 and told_s < request.arrived_s and exchange.began_s < until_s:
            what = "who has nothing left is not asked while another could serve"
            must(not request.well, what, f"{where}: {request.well}, dry until {until_s:.3f}")
        for (told_s, until_s), what in (
            (self.gates.get(key, (0.0, 0.0)), "who asked us to wait is not asked"),
            (self.gone.get(exchange.endpoint, (0.0, 0.0)), "a model that is gone is not asked"),
        ):
            late = told_s < request.arrived_s and exchange.began_s < until_s
            must(not late, what, f"{where}: told at {told_s:.3f}, until {until_s:.3f}")

    def _admit(self, request: Request, where: str) -> None:
        limit = request.caller.limits.requests_per_minute
        if limit is None:
            return
        times = self.admitted[request.caller.id]
        times.append(request.arrived_s)
        for index, since_s in enumerate(sorted(times)):
            count = len(times) - index
            allowed = limit * (1 + (max(times) - since_s) / MINUTE_S)
            must(count <= allowed + 1e-6, "a key stays within its requests per minute", where)

    # Requests ------------------------------------------------------------------------------------

    def told(self, fact: Fact) -> None:
        if isinstance(fact, Exchanged | Refused):
            request = self.requests[int(fact.request_id.removeprefix("r"))]
            request.told.append(fact)
            must(len(request.told) == 1, "a request is told once", fact.request_id)

    def finished(self, request: Request, outcome: str, slack_s: float) -> None:
        now_s = self._machine.now_s()
        request.finished_s, request.outcome = now_s, outcome
        where = f"request {request.ask.number}, {outcome}"
        took_s = now_s - request.arrived_s
        must(
            took_s <= request.deadline_s + slack_s,
            "a request ends by its deadline",
            f"{where}: {took_s:.3f} s of {request.deadline_s} s and {slack_s:.1f} s",
        )
        # Who leaves or is cut off while it asks has asked for nothing.
        untold = outcome in UNTOLD and not request.seen
        once = len(request.told) == 1 or (untold and not request.told)
        must(once, "a request is told once", f"{where}: {len(request.told)}")
        for held in request.held:
            must(held.settled, "what ends is settled", held.attempt_id)
        fact = request.told[0] if request.told else None
        if isinstance(fact, Exchanged):
            told = {one.id: one.cost_nano_usd for one in fact.attempts}
            ours = {one.attempt_id for one in request.held}
            must(told.keys() == ours, "every attempt is told", f"{where}: {told}, not {ours}")
        else:
            must(not request.sent, "what is refused is not sent", where)

    def idle(self, open_holds: int, repeated: int, in_flight: int, waiting: int) -> None:
        """Every client has left, and the disk had time."""
        open_ = self.unsettled
        must(open_holds == 0 and not open_, "nothing is held when idle", f"{open_holds} {open_}")
        must(repeated == 0, "an attempt settles once", f"{repeated} settled again")
        must(in_flight == 0, "no exchange is left open", f"{in_flight}")
        must(waiting == 0, "no row waits when idle", f"{waiting}")
        must(not any(self.reserved.values()), "nothing is reserved when idle", f"{self.reserved}")
        for request in self.requests.values():
            left = [task for task in request.tasks if not task.done()]
            must(not left, "no task outlives its request", f"{request.ask.number}: {left}")
        disk = self._machine.disk
        rows = dict(disk.rows("SELECT attempt_id, nano FROM settle"))
        ours = {one.attempt_id: one.cost for one in self.held.values() if one.settled}
        ours = {
            name: cost for name, cost in ours.items() if name in rows or not self.held[name].lost
        }
        must(rows == ours, "each attempt is settled on disk", f"{rows}, not {ours}")
        self.balances()


def _windows(held: Held) -> tuple[tuple[str, str], tuple[str, str]]:
    return (held.key_id, f"day:{held.day}"), (held.key_id, f"month:{held.day[:7]}")
