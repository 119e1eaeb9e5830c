"""Every request on record: a sink that writes, and the questions that are asked of the record.

Holds who asked, who answered, what it cost and why; never a prompt, an answer or a secret.
"""

from functools import partial
from typing import Literal

import msgspec
from msgspec import Struct

from fairlead.decide.explain import as_json
from fairlead.outside.group import Params
from fairlead.outside.store import Store
from fairlead.outside.text import storable
from fairlead.types.chat import Usage
from fairlead.types.decision import Plan
from fairlead.types.errors import BadRequest, NotFound, Overloaded
from fairlead.types.facts import Attempted, Exchanged, Fact, Refused

ADD = (
    "INSERT OR IGNORE INTO exchange VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
    " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# Any id that begins with the text sorts from it on and before it with the last character there is.
FIND = """
SELECT rowid, * FROM exchange WHERE request_id >= :text AND request_id < :text || char(0x10FFFF)
ORDER BY request_id LIMIT 2
"""
RECENT = """
SELECT rowid, * FROM exchange
WHERE at_ms >= :since_ms
  AND (:caller IS NULL OR :caller IN (caller, caller_name))
  AND (:model IS NULL OR model = :model)
  AND (:task IS NULL OR task = :task)
  AND (:outcome IS NULL OR outcome = :outcome)
ORDER BY at_ms DESC, rowid DESC LIMIT :limit
"""
FOLLOW = "SELECT rowid, * FROM exchange WHERE rowid > ? ORDER BY rowid LIMIT ?"
LAST = "SELECT coalesce(max(rowid), 0) FROM exchange"
USAGE = """
SELECT CASE :by WHEN 'model' THEN model WHEN 'key' THEN caller_name WHEN 'task' THEN task
       WHEN 'endpoint' THEN endpoint ELSE date(at_ms / 1000, 'unixepoch') END AS name,
       count(*) AS requests,
       sum(outcome = 'failed') AS failures,
       sum(outcome = 'refused') AS refused,
       sum(coalesce(input_tokens, 0)) AS input_tokens,
       sum(coalesce(output_tokens, 0)) AS output_tokens,
       sum(coalesce(cost_nano, 0)) AS cost_nano,
       sum(cost_nano IS NULL) AS unknown_costs,
       sum(CASE WHEN cost_nano IS NULL THEN 0 ELSE coalesce(baseline_nano, 0) END)
         AS baseline_nano,
       sum(coalesce(baseline_nano - cost_nano, 0)) AS saved_nano
FROM exchange WHERE at_ms >= :since_ms GROUP BY 1 ORDER BY cost_nano DESC, requests DESC, name
"""

UsageBy = Literal["model", "key", "task", "endpoint", "day"]


class Entry(Struct, frozen=True):
    """One request, as recorded. Times in ms, money in nano-dollars, None where unknown."""

    rowid: int
    request_id: str
    at_ms: int
    caller: str
    caller_name: str
    dialect: str
    operation: str
    asked: str
    route: str
    task: str
    difficulty: float
    stream: bool
    outcome: Literal["ok", "failed", "cancelled", "refused"]
    status: int
    code: str
    finish: str
    model: str
    """With ``endpoint`` and ``zone``: of the last attempt, which answered if any did."""
    endpoint: str
    zone: str
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    cached_read_tokens: int | None
    reasoning_tokens: int | None
    cost_nano: int | None
    """Of all attempts."""
    expected_nano: int | None
    baseline_nano: int | None
    first_token_ms: float | None
    total_ms: float
    overhead_ms: float
    reason: str
    """Why this model, or why it was refused."""
    dropped: str
    """Fields that the crossing left behind, separated by commas."""
    workflow: str
    step: str
    tries: str
    """The attempts as JSON."""
    plan: str
    """The plan as JSON; empty when there was none."""

    @property
    def attempted(self) -> tuple[Attempted, ...]:
        return msgspec.json.decode(self.tries, type=tuple[Attempted, ...])


class Filter(Struct, frozen=True):
    """Which entries are wanted. None means any."""

    caller: str | None = None
    """A key's id or name."""
    model: str | None = None
    task: str | None = None
    outcome: str | None = None
    since_ms: int = 0


class UsageRow(Struct, frozen=True):
    """What a model, key, task, endpoint or day used."""

    name: str
    requests: int
    failures: int
    refused: int
    input_tokens: int
    output_tokens: int
    cost_nano: int
    """Of the requests whose cost is known."""
    unknown_costs: int
    """How many requests have a cost that nobody knows."""
    baseline_nano: int
    """What the baseline model would have cost for those."""
    saved_nano: int
    """Against the baseline, where both are known; negative when it would have been cheaper."""


class Journal:
    """A sink, and the queries. Queries block: from the loop, ask in a thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lost = 0
        """Entries that the store had no room for."""

    def __call__(self, fact: Fact) -> None:
        if isinstance(fact, Exchanged | Refused):
            try:
                self._store.append_later(ADD, partial(self._row, fact))
            except Overloaded:
                self.lost += 1

    def find(self, request_id: str) -> Entry:
        """The entry with this id, or whose id alone begins with it. Raises NotFound, BadRequest
        when several do."""
        entries = self._entries(FIND, {"text": request_id})
        if not entries:
            raise NotFound(f"there is no request {request_id!r} on record")
        if len(entries) > 1 and entries[0].request_id != request_id:
            raise BadRequest(f"several requests begin with {request_id!r}: give more of the id")
        return entries[0]

    def recent(self, limit: int, wanted: Filter = Filter()) -> list[Entry]:  # noqa: B008 - frozen
        """The latest first."""
        return self._entries(RECENT, msgspec.structs.asdict(wanted) | {"limit": limit})

    def follow(self, after_rowid: int, limit: int = 1000) -> list[Entry]:
        """What was recorded after this row, in order."""
        return self._entries(FOLLOW, (after_rowid, limit))

    def last_rowid(self) -> int:
        """Where to begin to follow; 0 for an empty record."""
        return int(self._store.read(LAST)[0][0])

    def usage(self, by: UsageBy, since_ms: int = 0) -> list[UsageRow]:
        """The dearest first."""
        rows = self._store.read(USAGE, {"by": by, "since_ms": since_ms})
        return [msgspec.convert(dict(row), UsageRow) for row in rows]

    def _row(self, fact: Exchanged | Refused) -> Params | None:
        try:
            return _exchanged(fact) if isinstance(fact, Exchanged) else _refused(fact)
        except UnicodeEncodeError:
            self.lost += 1
            return None

    def _entries(self, sql: str, params: Params | dict[str, str | int | None]) -> list[Entry]:
        rows = self._store.read(sql, params)
        return [msgspec.convert(dict(row), Entry, strict=False) for row in rows]


def _exchanged(fact: Exchanged) -> Params:
    last, usage = fact.attempts[-1] if fact.attempts else None, fact.usage
    return (
        fact.request_id,
        fact.at_ms,
        fact.caller,
        fact.caller_name,
        fact.dialect,
        fact.operation,
        storable(fact.asked),
        fact.route,
        fact.task,
        fact.difficulty,
        fact.stream,
        fact.outcome,
        fact.status,
        fact.code,
        fact.finish or "",
        *((last.model, last.endpoint, last.zone) if last else ("", "", "")),
        len(fact.attempts),
        *(_tokens(usage) if usage else (None, None, None, None)),
        _amount(fact.cost_nano_usd),
        _amount(fact.expected_cost_nano_usd),
        _amount(fact.baseline_nano_usd),
        fact.first_token_ms,
        fact.total_ms,
        fact.overhead_ms,
        fact.reason,
        ",".join(fact.dropped),
        storable(fact.workflow),
        storable(fact.step),
        msgspec.json.encode(fact.attempts).decode(),
        _json(fact.plan),
    )


def _refused(fact: Refused) -> Params:
    return (
        *(fact.request_id, fact.at_ms, fact.caller, fact.caller_name, fact.dialect),
        *(fact.operation, storable(fact.asked), fact.route, fact.task, fact.difficulty, False),
        *("refused", fact.status, fact.code, ""),
        *("", "", "", 0),
        *(None, None, None, None),
        *(0, None, None),
        *(None, fact.total_ms, fact.total_ms),
        *(storable(fact.message), "", storable(fact.workflow), storable(fact.step)),
        *("[]", _json(fact.plan)),
    )


def _json(plan: Plan | bytes) -> str:
    return (plan if isinstance(plan, bytes) else as_json(plan)).decode()


LARGEST = 2**53
"""A lie about tokens is recorded as this; SQLite's integers end not far beyond."""


def _tokens(usage: Usage) -> tuple[int, ...]:
    tokens: tuple[int, ...] = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_read_tokens,
        usage.reasoning_tokens,
    )
    if max(tokens) > LARGEST:
        tokens = tuple(min(count, LARGEST) for count in tokens)
    return tokens


def _amount(nano_usd: int | None) -> int | None:
    return nano_usd if nano_usd is None or nano_usd < LARGEST else LARGEST
