"""A decision as JSON, for the journal, the preview and headers. Prints what was decided, no more.

Amounts are decimal strings of dollars ("0.000123"), exact; null where a price is unknown. Scores
have three decimals.
"""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Encoder

from fairlead.decide.cost import usd
from fairlead.decide.plan import Considered
from fairlead.types.decision import Attempt, Plan, Rejected, Score, Task


class _Task(Struct):
    kind: str
    difficulty: float
    input_tokens: int
    output_tokens: int
    needs: Sequence[str]
    cues: Sequence[str]


class _Candidate(Struct, omit_defaults=True):
    endpoint: str
    model: str
    zone: str
    score: Score
    expected_cost_usd: str | None
    expected_ms: int
    credential: str = ""
    max_output_tokens: int | None = None
    """The cap that a budget forces on its answer."""
    stands_in: bool = False
    last_resort: str = ""
    """Why it is to be asked only when all before it have failed."""


class _Explained(Struct):
    route: str
    reason: str | UnsetType
    task: _Task
    candidates: Sequence[_Candidate]
    rejected: Sequence[Rejected]
    expected_cost_usd: str | UnsetType | None = UNSET
    baseline_cost_usd: str | UnsetType | None = UNSET
    max_attempts: int | UnsetType = UNSET
    deadline_s: float | UnsetType = UNSET


_encode = Encoder().encode


def as_json(decision: Plan | Considered) -> bytes:
    """Compact JSON. Where no candidate was left there is no plan to tell: ``reason`` and all after
    ``rejected`` are absent."""
    if isinstance(decision, Considered):
        if decision.plan is None:
            task, rejected = _task(decision.task), decision.rejected
            return _encode(_Explained(decision.route.name, UNSET, task, (), rejected))
        decision = decision.plan
    return _encode(
        _Explained(
            decision.route,
            decision.reason,
            _task(decision.task),
            [_candidate(attempt) for attempt in decision.attempts],
            decision.rejected,
            usd(decision.attempts[0].expected_cost_nano_usd),
            usd(decision.baseline_nano_usd),
            decision.max_attempts,
            decision.deadline_s,
        )
    )


def _task(task: Task) -> _Task:
    return _Task(
        task.kind,
        int(task.difficulty * 1_000 + 0.5) / 1_000,
        task.input_tokens,
        task.output_tokens,
        sorted(task.needs),
        task.cues,
    )


def _candidate(attempt: Attempt) -> _Candidate:
    endpoint, score = attempt.endpoint, attempt.score
    return _Candidate(
        endpoint.name,
        endpoint.model.name,
        endpoint.zone,
        # To three decimals: three times as fast as round(), which is exact where nobody looks.
        Score(
            int(score.total * 1_000 + 0.5) / 1_000,
            int(score.quality * 1_000 + 0.5) / 1_000,
            int(score.cost * 1_000 + 0.5) / 1_000,
            int(score.speed * 1_000 + 0.5) / 1_000,
        ),
        usd(attempt.expected_cost_nano_usd),
        int(attempt.expected_ms),
        attempt.secret.id if attempt.secret else "",
        attempt.max_output_tokens,
        attempt.stands_in,
        attempt.last_resort,
    )
