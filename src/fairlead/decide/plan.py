"""From ranked attempts to a Plan: how many, until when, and the one line that says why."""

from msgspec import Struct

from fairlead.decide.cost import expected_nano_usd, rates_on, usd
from fairlead.types.catalog import Model, Route, Rule
from fairlead.types.chat import Request, Usage
from fairlead.types.decision import Attempt, Grant, Plan, Rejected, Task, View

OUTPUT_WEIGHT = 5
"""An output token costs about as much as five input tokens, at most vendors."""
HARD, MIDDLING = 0.6, 0.3


class Considered(Struct, frozen=True):
    """Every candidate and what became of it, whether or not one is left."""

    route: Route
    rule: Rule
    task: Task
    grant: Grant
    attempts: tuple[Attempt, ...]
    """In order."""
    rejected: tuple[Rejected, ...]
    spare: tuple[Attempt, ...] = ()
    """Those of last resort, until they stand behind the others."""
    plan: Plan | None = None
    """None when no attempt is left."""
    merit: str = ""
    """Why the first is first, where that is not its rank."""
    note: str = ""
    """What else there is to say about it."""


def plan(considered: Considered, request: Request, view: View) -> Plan:
    """The plan for what was considered, which must have left at least one attempt."""
    route, task, asked = considered.route, considered.task, request.narrowing.deadline_s
    return Plan(
        route=route.name,
        task=task,
        grant=considered.grant,
        attempts=considered.attempts,
        rejected=considered.rejected,
        max_attempts=max(route.max_attempts, 1),
        deadline_s=route.deadline_s if asked is None else min(route.deadline_s, asked),
        reason=_reason(considered) + (_resting(considered, view) if view.shares else ""),
        baseline_nano_usd=_baseline(task, view),
        rescue=route.rescue,
    )


def baseline_nano_usd(plan: Plan, usage: Usage | None, today: str) -> int | None:
    """What the baseline model would have cost with the tokens really used: the plan's figure in
    proportion to its tokens, weighted. An estimate, for reports of savings only."""
    expected = plan.baseline_nano_usd
    if expected is None or usage is None:
        return expected
    planned = plan.task.input_tokens + OUTPUT_WEIGHT * plan.task.output_tokens
    used = usage.input_tokens + OUTPUT_WEIGHT * usage.output_tokens
    return expected * used // max(planned, 1)


def _baseline(task: Task, view: View) -> int | None:
    model = _baseline_model(task, view)
    if model is None:
        return None
    rates = rates_on(model, view.today, task.input_tokens)
    return expected_nano_usd(rates, task.input_tokens, task.output_tokens)


def _baseline_model(task: Task, view: View) -> Model | None:
    """The one that the catalogue names, or the strongest with a price that does such tasks."""
    catalog = view.catalog
    if catalog.baseline in catalog.by_name and task.kind != "embed":
        return catalog.by_name[catalog.baseline][0].model
    embeds, best = task.kind == "embed", None
    for endpoint in catalog.endpoints:
        model = endpoint.model
        if best is not None and model.strength <= best.strength:
            continue
        if model.prices and ("embed" in model.can) == embeds:
            best = model
    return best


def _reason(considered: Considered) -> str:
    task, attempts = considered.task, considered.attempts
    first = attempts[0]
    grade = "hard" if task.difficulty >= HARD else "easy"
    if MIDDLING <= task.difficulty < HARD:
        grade = "medium"
    merit = considered.merit or _merit(considered, first)
    note = f"; {considered.note}" if considered.note else ""
    return f"{first.endpoint.model.name}: {task.kind}, {grade}; {merit}{note}"


def _merit(considered: Considered, first: Attempt) -> str:
    attempts = considered.attempts
    if first.last_resort:
        return "the least bad where nobody is well"
    if first.stands_in:
        return f"successor of {considered.route.name}, which is retired"
    attempts = tuple([one for one in attempts if not (one.stands_in or one.last_resort)])
    if len(attempts) == 1:
        return "the only candidate left"
    if considered.rule.ordered:
        return "first on the route's list that can answer"
    best = max(attempts, key=_quality)
    if best.score.quality <= first.score.quality:
        return f"best expected quality ({first.score.quality:.2f})"
    return f"good enough ({first.score.quality:.2f}){_advantage(first, best)}"


def _quality(attempt: Attempt) -> float:
    return attempt.score.quality


def _advantage(first: Attempt, best: Attempt) -> str:
    """What choosing the first saves against the best."""
    name = best.endpoint.model.name
    cost, best_cost = first.expected_cost_nano_usd, best.expected_cost_nano_usd
    if cost is not None and best_cost is not None and cost < best_cost:
        if cost == 0:
            return f" and free, where {name} would cost {usd(best_cost)} USD"
        if best_cost >= 2 * cost:
            return f" at 1/{best_cost // cost} of the cost of {name}"
        return f" at {100 * cost // best_cost}% of the cost of {name}"
    if first.expected_ms < best.expected_ms:
        return f" and {best.expected_ms / first.expected_ms:.1f} times as fast as {name}"
    # Neither dearer nor slower and yet better: only an outage that is just over puts it behind.
    return ""


def _resting(considered: Considered, view: View) -> str:
    """Who leaves this request to the first because it is just back from an outage."""
    first, *others = considered.attempts
    back = next(
        (one.endpoint.name for one in others if one.key in view.shares and not one.last_resort),
        None,
    )
    if back is None or first.key in view.shares:
        return ""
    return f"; {back} is just back from an outage"
