"""What the demo found out: one row a step, the totals, and the JSON object of ``--json``."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

NANO = 1_000_000_000


class Done(Struct, frozen=True):
    """One step, asked and answered; ``error`` is empty when all went well."""

    step: int
    title: str
    task: str = ""
    model: str = ""
    endpoint: str = ""
    zone: str = ""
    attempts: int = 0
    cost_nano_usd: int | None = None
    flagship_nano_usd: int | None = None
    """What the flagship would have cost with the same tokens."""
    latency_ms: float = 0.0
    why: str = ""
    failed: tuple[tuple[str, str], ...] = ()
    """Endpoints that failed before one answered, with how."""
    home: str = ""
    """The zone it had to stay in; empty means any."""
    error: str = ""

    @property
    def explained(self) -> str:
        """Why this model, and what went wrong on the way to it."""
        if self.error:
            return self.error
        mishaps = ", ".join(f"{endpoint} failed ({failure})" for endpoint, failure in self.failed)
        return f"{mishaps}; first choice was {self.why}" if mishaps else self.why


class Totals(Struct, frozen=True):
    steps: int
    models_used: int
    failovers: int
    """Steps that another endpoint than the first one tried has answered."""
    cost_nano_usd: int | None
    """None as soon as one is unknown."""
    flagship_nano_usd: int | None
    left_zone: int
    """Sensitive requests that reached an endpoint outside their zone, by the providers' logs."""
    failed: int


def totals(done: Sequence[Done], left_zone: int) -> Totals:
    return Totals(
        steps=len(done),
        models_used=len({each.model for each in done if each.model}),
        failovers=sum(bool(each.failed) for each in done),
        cost_nano_usd=_sum([each.cost_nano_usd for each in done]),
        flagship_nano_usd=_sum([each.flagship_nano_usd for each in done]),
        left_zone=left_zone,
        failed=sum(bool(each.error) for each in done),
    )


def as_json(done: Sequence[Done], total: Totals) -> dict[str, Any]:
    return {
        "steps": [
            {
                "step": each.step,
                "task": each.task,
                "model": each.model,
                "endpoint": each.endpoint,
                "zone": each.zone,
                "attempts": each.attempts,
                "cost_usd": _usd(each.cost_nano_usd),
                "latency_ms": round(each.latency_ms, 1),
                "why": each.explained,
                **({"error": each.error} if each.error else {}),
            }
            for each in done
        ],
        "totals": {
            "steps": total.steps,
            "models_used": total.models_used,
            "failovers": total.failovers,
            "cost_usd": _usd(total.cost_nano_usd),
            "flagship_only_cost_usd": _usd(total.flagship_nano_usd),
            "left_zone": total.left_zone,
        },
    }


def _sum(amounts: Sequence[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _usd(nano_usd: int | None) -> float | None:
    """For JSON only: everything before it is counted in integers."""
    return None if nano_usd is None else nano_usd / NANO
