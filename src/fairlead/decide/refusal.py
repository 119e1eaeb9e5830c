"""Which error to tell when no candidate is left, and what to say in it."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from fairlead.decide.cost import usd
from fairlead.decide.eligible import HEALTHY, room_needed
from fairlead.decide.plan import Considered
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import Request
from fairlead.types.decision import Rejected, View
from fairlead.types.errors import (
    BadRequest,
    ContextTooLong,
    Forbidden,
    GatewayError,
    OverBudget,
    Unavailable,
)

MOST_TOLD = 4


def refusal(request: Request, considered: Considered, view: View) -> GatewayError:
    """The error for a request that nobody may or can answer.

    Told by whoever came closest: rules are asked in a fixed order, and an endpoint that only a rate
    limit kept back would have answered, however many others are too small.
    """
    for rules, render in _CLOSEST_FIRST:
        near = [one for one in considered.rejected if one.rule in rules]
        if near:
            return render(near, request, considered, view)
    # Nobody was left out, so there is nobody: no fault of the key's.
    return Unavailable(f"nothing serves {considered.route.name!r}: there is no endpoint at all")


def _unavailable(
    near: list[Rejected], request: Request, considered: Considered, view: View
) -> GatewayError:
    return Unavailable(
        f"no endpoint of {considered.route.name!r} is available now: {_counted(near)}",
        retry_after_s=_soonest_s(near, view),
    )


def _over_budget(
    near: list[Rejected], request: Request, considered: Considered, view: View
) -> GatewayError:
    left = usd(max(view.affordable_nano_usd or 0, 0))
    return OverBudget(f"the budget has {left} USD left, which affords no answer: {_counted(near)}")


def _beyond_wishes(
    near: list[Rejected], request: Request, considered: Considered, view: View
) -> GatewayError:
    param = "max_latency" if near[0].rule == "latency" else "max_cost"
    return BadRequest(
        f"no permitted endpoint keeps within the request's limits: {_each(near)}", param=param
    )


def _unpriced(
    near: list[Rejected], request: Request, considered: Considered, view: View
) -> GatewayError:
    wished = request.narrowing.max_cost_nano_usd is not None
    return (_beyond_wishes if wished else _over_budget)(near, request, considered, view)


def _too_long(
    near: list[Rejected], request: Request, considered: Considered, view: View
) -> GatewayError:
    largest = max([endpoint.model.context_tokens or 0 for endpoint in _endpoints(near, view)])
    return ContextTooLong(
        f"about {room_needed(request, considered.task):,} tokens are needed, input and answer"
        f" together; the largest permitted model holds {largest:,}"
    )


def _answer_too_long(
    near: list[Rejected], request: Request, considered: Considered, view: View
) -> GatewayError:
    most = max([endpoint.model.max_output_tokens or 0 for endpoint in _endpoints(near, view)])
    return ContextTooLong(
        f"{request.max_output_tokens:,} tokens of output were asked for; the longest answer of a"
        f" permitted model has {most:,}",
        param="max_tokens",
    )


def _impossible(
    near: list[Rejected], request: Request, considered: Considered, view: View
) -> GatewayError:
    return BadRequest(f"no permitted endpoint can take this request: {_counted(near)}")


def _forbidden(
    near: list[Rejected], request: Request, considered: Considered, view: View
) -> GatewayError:
    removed = Counter(one.rule for one in near).most_common()
    told = ", ".join(f"{rule} removed {count}" for rule, count in removed)
    why = _counted(near)
    return Forbidden(f"no endpoint of {considered.route.name!r} is permitted: {told}: {why}")


_Render = Callable[[list[Rejected], Request, Considered, View], GatewayError]

_CLOSEST_FIRST: tuple[tuple[frozenset[str], _Render], ...] = (
    (frozenset({"rate_limit"}), _unavailable),
    (frozenset({"retired"}), _unavailable),
    (frozenset({"latency"}), _beyond_wishes),
    (frozenset({"budget"}), _over_budget),
    (frozenset({"price_unknown"}), _unpriced),
    (frozenset({"price"}), _beyond_wishes),
    (frozenset({"output"}), _answer_too_long),
    (frozenset({"context"}), _too_long),
    (frozenset({"lifecycle"}), _unavailable),
    (frozenset({"dialect", "modality", "capability"}), _impossible),
    (frozenset({"policy", "zone", "model_list"}), _forbidden),
)
"""The rules from the last that is asked to the first, and who tells of them."""


def _counted(rejected: Iterable[Rejected]) -> str:
    """Each reason once, with the number of endpoints where it is more than one."""
    reasons = Counter(one.reason for one in rejected).most_common(MOST_TOLD)
    return "; ".join(
        reason if count == 1 else f"{reason} ({count} endpoints)" for reason, count in reasons
    )


def _each(rejected: Sequence[Rejected]) -> str:
    """Where the figures are each endpoint's own."""
    told = [f"{one.endpoint} {one.reason}" for one in rejected[:MOST_TOLD]]
    more = len(rejected) - len(told)
    return "; ".join([*told, *([f"and {more} more"] if more else [])])


def _endpoints(rejected: Iterable[Rejected], view: View) -> list[Endpoint]:
    names = {one.endpoint for one in rejected}
    return [endpoint for endpoint in view.catalog.endpoints if endpoint.name in names]


def _soonest_s(near: Iterable[Rejected], view: View) -> float | None:
    """Until the first of them may be asked again, where that is known."""
    waits = [
        view.vitals.get((endpoint.name, credential), HEALTHY).gate_until_s - view.now_s
        for endpoint in _endpoints(near, view)
        for credential in ([secret.id for secret in endpoint.secrets] or [""])
    ]
    return min([wait_s for wait_s in waits if wait_s > 0], default=None)
