"""How each endpoint has been doing with each credential: breaker, gate, retirement, speed.

What a failure leads to is data in ``decide.failover``; here is only for how long. No clock, no
random: both are passed in.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from fairlead.decide.failover import RULES, Allowance
from fairlead.state.breaker import NEVER_S, Breaker
from fairlead.state.loads import FAILED_MS, Load, twins
from fairlead.state.retries import Retries
from fairlead.state.silence import Silence
from fairlead.types.catalog import Catalog, Endpoint
from fairlead.types.decision import Vitals
from fairlead.types.errors import Failure
from fairlead.types.facts import Attempted

Key = tuple[str, str]
"""Endpoint name, credential id; the id is empty where there is no credential."""


class Bench(Struct, frozen=True):
    """How long a gate lasts: ``asked`` what the endpoint asked for, within these bounds, or
    ``unasked_s``, doubling with each in a row up to ``doubled_s``."""

    unasked_s: float
    doubled_s: float
    asked_least_s: float
    asked_most_s: float


BENCHES: Mapping[Failure, Bench] = {
    Failure.RATE_LIMIT: Bench(1.0, 15.0, 0.0, 300.0),
    # An account does not fill within seconds, whatever it says.
    Failure.QUOTA: Bench(60.0, 60.0, 60.0, 3600.0),
    Failure.CREDENTIAL: Bench(300.0, 300.0, 300.0, 300.0),
}

MISSING_S, MISSING_MOST_S = 60.0, 3600.0
"""A bare 404 may be a slip on the way, so it benches the endpoint for a minute, then for two."""
GONE_S = 86_400.0
GONE_WORDS = ("no longer", "deprecated", "retired", "decommissioned", "shut down", "sunset")

NOTHING: Mapping[Key, float] = {}

PACE_WEIGHT = 0.2
SUCCESS_WEIGHT = 0.1
FORGIVE_S = 60.0
"""Half of a poor record is forgiven in so long, or an endpoint that nobody asks could not mend."""
FORGIVE_STEP_S = 5.0
FORGIVEN = 0.99
AT_ONCE_SHARE = 0.9
"""An answer whose first token came this late came in one piece: that was not its first token."""
FEW_TOKENS = 8


class Record:
    """One endpoint with one credential."""

    __slots__ = (
        "breaker",
        "dry_until_s",
        "first_token_ms",
        "gate_until_s",
        "gates_in_a_row",
        "retries",
        "silence",
        "success",
        "success_at_s",
        "tokens_per_s",
    )

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.retries = Retries()
        self.silence = Silence()
        self.dry_until_s = 0.0
        self.gate_until_s = 0.0
        self.gates_in_a_row = 0
        self.first_token_ms: float | None = None
        self.tokens_per_s: float | None = None
        self.success = 1.0
        self.success_at_s = 0.0

    def success_now(self, now_s: float) -> float:
        if self.success == 1.0:
            return 1.0
        fault = (1.0 - self.success) * 0.5 ** ((now_s - self.success_at_s) / FORGIVE_S)
        return 1.0 - fault if fault > 1.0 - FORGIVEN else 1.0

    def judge(self, good: bool, now_s: float) -> None:
        if good and self.success == 1.0:
            return
        success = self.success_now(now_s)
        self.success = success + SUCCESS_WEIGHT * (good - success)
        self.success_at_s = now_s

    def gate(self, bench: Bench, asked_s: float | None, now_s: float) -> None:
        if asked_s is None:
            gate_s = min(bench.unasked_s * 2**self.gates_in_a_row, bench.doubled_s)
            self.gates_in_a_row = min(self.gates_in_a_row + 1, 8)
        else:
            gate_s = min(max(asked_s, bench.asked_least_s), bench.asked_most_s)
        # One that was sent earlier may be told a shorter time: the longer stands.
        self.gate_until_s = max(self.gate_until_s, now_s + gate_s)

    def pace(self, attempted: Attempted) -> None:
        first_ms, total_ms, usage = attempted.first_token_ms, attempted.total_ms, attempted.usage
        if first_ms is None:
            return
        if first_ms >= AT_ONCE_SHARE * total_ms:
            first_ms = min(self.first_token_ms or 0.0, total_ms / 2)
        else:
            self.first_token_ms = _average(self.first_token_ms, first_ms)
        if usage is not None and usage.output_tokens >= FEW_TOKENS and total_ms > first_ms:
            per_s = usage.output_tokens * 1000 / (total_ms - first_ms)
            self.tokens_per_s = _average(self.tokens_per_s, per_s)


class Retirement:
    """An endpoint whose provider says that the model is gone."""

    __slots__ = ("asked_s", "times", "until_s")

    def __init__(self) -> None:
        self.asked_s = 0.0
        """When the latest attempt was sent that was told so. Only one sent after it knows more."""
        self.times = 0
        self.until_s = 0.0

    def renew(self, for_good: bool, began_s: float, now_s: float) -> None:
        self.asked_s = max(self.asked_s, began_s)
        bench_s = GONE_S if for_good else min(MISSING_S * 2**self.times, MISSING_MOST_S)
        self.times = min(self.times + 1, 8)
        self.until_s = max(self.until_s, now_s + bench_s)


class Health:
    def __init__(self, catalog: Catalog, dice: Callable[[], float]) -> None:
        self._dice = dice
        self._records: dict[Key, Record] = {}
        self._retired: dict[str, Retirement] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._changed: set[Key] = set()
        self._ramping: set[Key] = set()
        self._loads: dict[Key, Load] = {}
        self._vitals: Mapping[Key, Vitals] = {}
        self._next_change_s = NEVER_S
        self.swap(catalog)

    def swap(self, catalog: Catalog) -> None:
        """Endpoints that are gone or changed are forgotten: a corrected one starts afresh."""
        endpoints = {endpoint.name: endpoint for endpoint in catalog.endpoints}
        same = {name for name, known in self._endpoints.items() if endpoints.get(name) == known}
        self._endpoints = endpoints
        self._records = {key: of for key, of in self._records.items() if key[0] in same}
        self._retired = {name: of for name, of in self._retired.items() if name in same}
        self._vitals = {key: of for key, of in self._vitals.items() if key[0] in same}
        self._changed = {key for key in self._changed if key[0] in same}
        self._ramping = {key for key in self._ramping if key[0] in same}
        self._loads = {
            key: (key[0] in same and self._loads.get(key)) or Load(of.expected_first_token_ms)
            for key, of in twins(catalog.endpoints).items()
        }

    def begin(self, key: Key, now_s: float) -> bool:
        """Whether an attempt may go now. False while its breaker is open; in half open one may,
        and keeps the others out until it is observed or half a minute has passed."""
        record = self._records.get(key)
        may = True
        if record is not None:
            if not record.breaker.is_closed:
                may = record.breaker.begin(now_s)
                self._touch(key, record, now_s)
            elif record.silence.begins(now_s):
                # This one goes as well: it was promised nothing better.
                self._fall_silent(key, record, now_s)
        if self._loads and key in self._loads:
            self._loads[key].in_hand += 1
        return may

    def not_asked_yet(self, key: Key) -> None:
        """What has begun waits for our own disk. No silence of the endpoint's."""
        record = self._records.get(key)
        if record is not None:
            record.silence.not_begun()

    def asked(self, key: Key, now_s: float) -> None:
        """Now it goes, after ``not_asked_yet``."""
        record = self._records.get(key)
        if record is not None and record.breaker.is_closed and record.silence.begins(now_s):
            self._fall_silent(key, record, now_s)

    def _fall_silent(self, key: Key, record: Record, now_s: float) -> None:
        record.breaker.fall_silent(now_s, self._dice())
        self._touch(key, record, now_s)

    def is_silent(self, key: Key) -> bool:
        """Whether it has fallen silent and was not heard of since."""
        record = self._records.get(key)
        return record is not None and record.silence.is_noticed

    def keeps_out(self, key: Key, now_s: float) -> bool:
        """Whether ``begin`` would say no."""
        record = self._records.get(key)
        return record is not None and record.breaker.state(now_s) == "open"

    def allowance(self, keys: Sequence[Key], now_s: float) -> Allowance:
        """What these may be asked beyond a request's first attempt."""
        known = [(key, self._records[key]) for key in keys if key in self._records]
        return Allowance(
            frozenset([key for key, of in known if of.breaker.state(now_s) == "open"]),
            frozenset(
                [key for key, of in known if of.retries.are_spent(of.breaker.asked(now_s), now_s)]
            ),
            frozenset([key for key in keys if self.refuses(key, now_s)]),
        )

    def refuses(self, key: Key, now_s: float) -> bool:
        """Whether its provider said no: gone, a bad key, a time to wait."""
        record = self._records.get(key)
        waits = record is not None and now_s < record.gate_until_s
        return waits or self._is_retired(key, now_s)

    def retrying(self, key: Key, now_s: float) -> None:
        """An attempt that counts against the allowance is about to be made."""
        record = self._records.get(key)
        if record is not None:
            record.retries.add(now_s)

    def observe(self, attempted: Attempted, now_s: float) -> None:
        """Learn from one attempt. One that was cancelled says nothing, one never sent (no id)
        neither; but if it was a probe, another may go."""
        key = attempted.endpoint, attempted.credential
        if key[0] not in self._endpoints:
            return
        record = self._record(key)
        began_s = now_s - attempted.total_ms / 1000
        if attempted.failure == "":
            self._answered(key, record, attempted, began_s, now_s)
        elif attempted.failure == "cancelled":
            _void(record, attempted, began_s)
            if not attempted.id:
                record.silence.not_begun()
        elif attempted.id:
            self._failed(record, attempted, began_s, now_s)
        if self._loads and key in self._loads:
            self._weigh(self._loads[key], attempted, now_s)
        self._touch(key, record, now_s)

    def heard(self, key: Key) -> None:
        """A stream has begun: it may take its time to end."""
        record = self._records.get(key)
        if record is not None:
            record.silence.heard()

    def dry(self, key: Key, wait_s: float, now_s: float) -> None:
        """An answer brought word that nothing is left of a rate limit for so long."""
        if key[0] not in self._endpoints:
            return
        record = self._record(key)
        until_s = now_s + min(wait_s, BENCHES[Failure.RATE_LIMIT].asked_most_s)
        record.dry_until_s = max(record.dry_until_s, until_s)
        self._touch(key, record, now_s)

    def vitals(self, now_s: float) -> Mapping[Key, Vitals]:
        """By endpoint and credential; an absent one is well. The same object until something
        changes, and never changed itself."""
        if now_s >= self._next_change_s:
            self._wake(now_s)
        if self._changed:
            fresh = {key: self._vitals_of(key, now_s) for key in self._changed}
            self._vitals = {**self._vitals, **fresh}
            self._changed = set()
        return self._vitals

    def shares(self, now_s: float) -> Mapping[Key, float]:
        """Of those that are just back from an outage, how many of their requests they may have."""
        if not self._ramping:
            return NOTHING
        breakers = {key: self._records[key].breaker for key in self._ramping}
        self._ramping = {key for key, of in breakers.items() if now_s < of.ramps_until_s}
        return {key: breakers[key].share(now_s) for key in self._ramping}

    def loads(self, now_s: float) -> Mapping[Key, float]:
        """How busy those are that others serve the same as. On trial one is not: it is to be
        tried."""
        if not self._loads:
            return NOTHING
        return {
            key: 0.0 if self._is_on_trial(key, now_s) else load.now(now_s)
            for key, load in self._loads.items()
        }

    def _is_on_trial(self, key: Key, now_s: float) -> bool:
        record = self._records.get(key)
        return record is not None and record.breaker.state(now_s) == "half_open"

    def _weigh(self, load: Load, attempted: Attempted, now_s: float) -> None:
        load.in_hand -= load.in_hand > 0
        if attempted.failure in RULES and RULES[Failure(attempted.failure)].trips_breaker:
            load.saw(FAILED_MS, now_s, leaps=True)
        elif attempted.failure == "":
            first_ms, total_ms = attempted.first_token_ms, attempted.total_ms
            first_ms = total_ms if first_ms is None else first_ms
            load.saw(first_ms, now_s, leaps=first_ms < AT_ONCE_SHARE * total_ms)

    def _answered(
        self, key: Key, record: Record, attempted: Attempted, began_s: float, now_s: float
    ) -> None:
        if record.breaker.good(began_s, now_s):
            # The outage is over, and what it did to the record with it.
            record.success = 1.0
            self._ramping.add(key)
            if key in self._loads:
                self._loads[key].forget()
        record.judge(True, now_s)
        record.gates_in_a_row = 0
        record.pace(attempted)
        first_ms = attempted.first_token_ms
        record.silence.answered((attempted.total_ms if first_ms is None else first_ms) / 1000)
        retirement = self._retired.get(attempted.endpoint)
        if retirement is not None and began_s > retirement.asked_s:
            del self._retired[attempted.endpoint]
            self._touch_all(attempted.endpoint)

    def _failed(self, record: Record, attempted: Attempted, began_s: float, now_s: float) -> None:
        failure = Failure(attempted.failure)
        if attempted.status is not None:
            record.silence.heard()
        rule = RULES[failure]
        if rule.trips_breaker:
            record.breaker.bad(began_s, now_s, self._dice())
            record.judge(False, now_s)
        else:
            _void(record, attempted, began_s)
        if rule.gates:
            record.gate(BENCHES[failure], attempted.retry_after_s, now_s)
        if rule.retires:
            retirement = self._retired.setdefault(attempted.endpoint, Retirement())
            retirement.renew(_for_good(attempted), began_s, now_s)
            self._next_change_s = min(self._next_change_s, retirement.until_s)
            self._touch_all(attempted.endpoint)

    def _record(self, key: Key) -> Record:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = Record()
        return record

    def _touch(self, key: Key, record: Record, now_s: float) -> None:
        self._changed.add(key)
        changes_s = _changes_s(record, now_s)
        if changes_s < self._next_change_s:
            self._next_change_s = changes_s

    def _touch_all(self, endpoint: str) -> None:
        """Every credential of the endpoint, those that were never used too."""
        for secret in self._endpoints[endpoint].secrets:
            self._changed.add((endpoint, secret.id))
        self._changed.update(key for key in self._records if key[0] == endpoint)

    def _wake(self, now_s: float) -> None:
        """A breaker's or a retirement's time is over, or a fault is to be forgiven some more."""
        for name, retirement in self._retired.items():
            if retirement.until_s <= now_s:
                self._touch_all(name)
        self._next_change_s = min(
            (of.until_s for of in self._retired.values() if of.until_s > now_s), default=NEVER_S
        )
        for key, record in self._records.items():
            self._touch(key, record, now_s)

    def _is_retired(self, key: Key, now_s: float) -> bool:
        retirement = self._retired.get(key[0])
        return retirement is not None and now_s < retirement.until_s

    def _vitals_of(self, key: Key, now_s: float) -> Vitals:
        retired = self._is_retired(key, now_s)
        record = self._records.get(key)
        if record is None:
            return Vitals(retired=retired)
        state = record.breaker.state(now_s)
        return Vitals(
            state,
            max(record.gate_until_s, record.dry_until_s),
            retired,
            record.first_token_ms,
            record.tokens_per_s,
            # On trial it stands where it stood: behind others nobody would try it.
            1.0 if state == "half_open" else record.success_now(now_s),
            record.gate_until_s,
        )


def _void(record: Record, attempted: Attempted, began_s: float) -> None:
    """Who was kept out was not the probe, and must not end it."""
    if not attempted.kept_out:
        record.breaker.void(began_s)


def _average(known: float | None, seen: float) -> float:
    return seen if known is None else known + PACE_WEIGHT * (seen - known)


def _changes_s(record: Record, now_s: float) -> float:
    """When the record's vitals will next change by themselves."""
    changes_s = record.breaker.changes_s(now_s)
    if record.success < 1.0 and record.success_now(now_s) < 1.0:
        changes_s = min(changes_s, now_s + FORGIVE_STEP_S)
    return changes_s


def _for_good(attempted: Attempted) -> bool:
    """Whether the provider said outright that the model is gone, not just that it is not there.
    A dialect calls another status than 404 MODEL_GONE only for its code or its words."""
    message = attempted.message.lower()
    return attempted.status != 404 or any(words in message for words in GONE_WORDS)
