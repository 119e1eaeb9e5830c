"""What a decision may look at, and what was decided, with the reasons."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from fairlead.types.catalog import Catalog, Endpoint, Secret

TaskKind = Literal[
    "chat",
    "extract",
    "classify",
    "summarise",
    "draft",
    "translate",
    "code",
    "mathematics",
    "reason",
    "plan",
    "tool_use",
    "embed",
]


class Limits(Struct, frozen=True):
    """What a key may use. None means unlimited; money is integer nano-dollars."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budget_day_nano_usd: int | None = None
    budget_month_nano_usd: int | None = None


class Caller(Struct, frozen=True):
    """Who holds the key. Without keys there is one caller, ``local``, with no limits."""

    id: str
    name: str
    routes: tuple[str, ...] = ()
    """Routes it may ask for; empty means all. A trailing ``*`` matches any ending."""
    models: tuple[str, ...] = ()
    """Models and endpoints that may answer it; empty means all."""
    zones: tuple[str, ...] = ()
    """Zones its data may go to; empty means all."""
    limits: Limits = Limits()

    @property
    def has_budget(self) -> bool:
        limits = self.limits
        return limits.budget_day_nano_usd is not None or limits.budget_month_nano_usd is not None


class Task(Struct, frozen=True):
    """What a request is about, how hard it is and what it needs. All of it is read off the
    request; nothing is guessed from who asks."""

    kind: TaskKind
    difficulty: float
    """0 (anyone can) to 1 (needs the best)."""
    input_tokens: int
    """Estimate, images included."""
    output_tokens: int
    """Expected length of the answer, reasoning included."""
    needs: frozenset[str] = frozenset()
    """Capabilities and modalities an endpoint must have."""
    cues: tuple[str, ...] = ()
    """What in the request led to ``kind`` and ``difficulty``, for people."""
    turn: int = 1
    """How many user turns the conversation has."""


class Vitals(Struct, frozen=True):
    """How an endpoint has been doing with one credential."""

    state: Literal["closed", "open", "half_open"] = "closed"
    gate_until_s: float = 0.0
    """Monotonic time before which it should not be asked: it said so, or has nothing left of a rate
    limit."""
    retired: bool = False
    first_token_ms: float | None = None
    """Moving average; None until measured."""
    tokens_per_s: float | None = None
    success: float = 1.0
    """Moving average of outcomes, 0 to 1."""
    asked_until_s: float = 0.0
    """The part of ``gate_until_s`` that it asked for itself, by ``retry-after``."""


class View(Struct, frozen=True):
    """Everything a decision may look at, frozen at one instant. Clock and dice are numbers."""

    now_s: float
    """Monotonic seconds."""
    today: str
    """ISO date, for prices and lifecycles."""
    dice: float
    """Uniform in [0, 1)."""
    catalog: Catalog
    vitals: Mapping[tuple[str, str], Vitals] = {}
    """By (endpoint name, credential id); an absent one is healthy and unmeasured."""
    chars_per_token: Mapping[str, float] = {}
    """Learned per model name; absent means the default of ``decide.classify``."""
    affordable_nano_usd: int | None = None
    """What the caller's tightest budget has left; None means no budget."""
    shares: Mapping[tuple[str, str], float] = {}
    """Of those just back from an outage: how many of their requests they may have, 0 to 1."""
    loads: Mapping[tuple[str, str], float] = {}
    """Of endpoints that serve the same as others: how busy they are, in no unit."""
    at_ms: int = 0
    """Unix milliseconds, for what changes within a day."""


class Rejected(Struct, frozen=True):
    endpoint: str
    rule: str
    """Stable word: policy, zone, model_list, dialect, capability, context, output, modality,
    lifecycle, retired, health, rate_limit, price, price_unknown, latency, budget."""
    reason: str
    """For people: what it lacks, with the numbers."""


class Score(Struct, frozen=True):
    """Why a candidate stands where it stands. Parts are 0 to 1, higher is better."""

    total: float
    quality: float
    cost: float
    speed: float


class Attempt(Struct, frozen=True):
    """One endpoint with one credential that may be tried."""

    endpoint: Endpoint
    secret: Secret | None
    score: Score
    expected_cost_nano_usd: int | None
    """None when its price is unknown."""
    worst_cost_nano_usd: int | None
    expected_ms: float
    max_output_tokens: int | None = None
    """A cap to impose on the answer, because the budget affords no more; None imposes none."""
    stands_in: bool = False
    """It serves the declared successor of the model that was asked for by name: to be asked only
    once that one is gone."""
    last_resort: str = ""
    """Why we would not ask it: its breaker is open, or its rate limit used up. It is asked all the
    same once nobody better off is left."""

    @property
    def key(self) -> tuple[str, str]:
        """The breaker's key: one endpoint with one credential."""
        return (self.endpoint.name, self.secret.id if self.secret else "")


class Grant(Struct, frozen=True):
    """The endpoints this request may reach. Made by ``decide.policy`` alone; every hop of the
    request draws from it, and ``dispatch`` goes nowhere else."""

    endpoints: frozenset[str]


class Plan(Struct, frozen=True):
    """Whom to ask, in order, and why."""

    route: str
    task: Task
    grant: Grant
    attempts: tuple[Attempt, ...]
    rejected: tuple[Rejected, ...]
    max_attempts: int
    deadline_s: float
    """Seconds after arrival when the request gives up."""
    reason: str
    """One line for people: why the first one is first."""
    baseline_nano_usd: int | None = None
    """What the baseline model would be expected to cost for the same request."""
    rescue: bool = True
    """Whether another attempt may go on with a text whose stream broke."""
