"""What happened. Ledger, health, learner, journal, log and metrics all read these and only these.

No fact holds a prompt, an answer or a secret.
"""

from typing import Literal, Protocol

from msgspec import Struct

from fairlead.types.chat import FinishReason, Usage
from fairlead.types.decision import Plan

Basis = Literal[
    "provider_usage",
    "provider_zero",
    "partial_estimate",
    "lease_expired_max",
    "rejected_zero",
    "price_unknown",
]
"""What a settled amount rests on: reported usage, a reported zero, our estimate of an answer cut
short, the reserve of an attempt whose process died, nothing sent or accepted, or no price known."""


class Attempted(Struct, frozen=True):
    """One try at one endpoint. ``failure`` is empty when it answered in full."""

    id: str
    endpoint: str
    provider: str
    model: str
    zone: str
    credential: str
    """The credential's id, never the credential."""
    failure: str
    """A ``Failure``, ``cancelled``, or empty."""
    message: str
    status: int | None
    """HTTP status from upstream, None when none came."""
    began_ms: float
    """After the request's arrival."""
    first_token_ms: float | None
    """From the attempt's start to the first content."""
    total_ms: float
    usage: Usage | None
    cost_nano_usd: int | None
    """None when the price is unknown."""
    basis: Basis
    price_version: str
    retry_after_s: float | None = None
    kept_out: bool = False
    """Its breaker said no, and for want of anybody else it was made all the same."""


class Exchanged(Struct, frozen=True):
    """One request that reached dispatch, start to end."""

    request_id: str
    at_ms: int
    """Unix milliseconds of arrival."""
    caller: str
    caller_name: str
    dialect: str
    operation: str
    asked: str
    """The model or route named in the request."""
    route: str
    task: str
    difficulty: float
    stream: bool
    attempts: tuple[Attempted, ...]
    outcome: Literal["ok", "failed", "cancelled"]
    status: int
    """What the caller got."""
    code: str
    """The error's code; empty when ok."""
    finish: FinishReason | None
    usage: Usage | None
    cost_nano_usd: int | None
    """Sum over attempts; None when any is unknown."""
    expected_cost_nano_usd: int | None
    baseline_nano_usd: int | None
    """What the baseline model would have cost with the same tokens."""
    first_token_ms: float | None
    """From arrival to the first content."""
    total_ms: float
    overhead_ms: float
    """Time inside the gateway before the first attempt was sent."""
    reason: str
    dropped: tuple[str, ...] = ()
    """Fields a crossing left behind."""
    estimated_input_tokens: int | None = None
    """Of text alone, so that it can be held against what was reported; None with anything else."""
    workflow: str = ""
    step: str = ""
    plan: Plan | bytes = b""
    """For explain by request id; as JSON, or as it is for whoever keeps it to write."""


class Refused(Struct, frozen=True):
    """A request that was turned away before dispatch."""

    request_id: str
    at_ms: int
    caller: str
    caller_name: str
    dialect: str
    asked: str
    status: int
    code: str
    message: str
    total_ms: float
    operation: str = ""
    route: str = ""
    task: str = ""
    difficulty: float = 0.0
    """These, and the plan, are known where it was refused for want of a candidate."""
    workflow: str = ""
    step: str = ""
    plan: bytes = b""


Fact = Attempted | Exchanged | Refused
"""Attempted is told as each attempt ends, so that health knows at once; the others once."""


class Sink(Protocol):
    """A listener to facts. Must not raise and must not block."""

    def __call__(self, fact: Fact, /) -> None: ...
