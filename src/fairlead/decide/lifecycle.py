"""A model that will retire: its requests move to its successor, a few at first. Knows no clock.

Which requests move is drawn with the dice of the View: the same View gives the same plan. Nothing
moves to a successor that fails; the old model answers for as long as it is there.
"""

from calendar import timegm
from collections.abc import Sequence

from msgspec.structs import replace

from fairlead.decide.plan import Considered
from fairlead.decide.score import another
from fairlead.types.catalog import Endpoint, Model
from fairlead.types.decision import Attempt, View, Vitals

CANARY_TIME = 0.25
"""For this part of the time only the first few move; then more and more, all of them on the day."""
WELL = 0.8
"""Recent success below which nothing moves to an endpoint."""
UNKNOWN = Vitals()


def moved_share(model: Model, at_ms: int) -> float:
    """How many of a model's requests its successor gets by now, 0 to 1."""
    shift, retires = model.shift, model.retires
    if shift is None or not retires or not model.successor:
        return 0.0
    year, month, day = retires.split("-")
    left_s = timegm((int(year), int(month), int(day), 0, 0, 0, 0, 0, 0)) - at_ms / 1000
    gone_by = 1.0 - left_s / shift.over_s
    if gone_by < 0.0:
        return 0.0
    ramp = (gone_by - CANARY_TIME) / (1.0 - CANARY_TIME)
    return min(shift.canary + (1.0 - shift.canary) * max(ramp, 0.0), 1.0)


def is_moving(endpoints: Sequence[Endpoint], view: View) -> bool:
    """Whether the successor of any of these answers some of its requests already."""
    return any(
        [
            endpoint.model.shift is not None and moved_share(endpoint.model, view.at_ms) > 0.0
            for endpoint in endpoints
        ]
    )


def shifted(considered: Considered, view: View) -> Considered:
    """The successor before the first, where that retires and this request has moved."""
    model = considered.attempts[0].endpoint.model
    share = moved_share(model, view.at_ms)
    if another(another(view.dice)) >= share:
        return replace(considered, note=_moved(model, share)) if share else considered
    heirs = [one for one in considered.attempts if _serves(one.endpoint, model.successor)]
    well = [one for one in heirs if _is_well(one, view)]
    told = f"{model.successor} succeeds {model.name}, which retires on {model.retires}"
    if not well:
        ill = heirs or any(
            [
                one.rule == "health" and _serves(endpoint, model.successor)
                for one in considered.rejected
                for endpoint in view.catalog.by_name.get(one.endpoint, ())
            ]
        )
        return replace(considered, note=f"{told}, but fails" if ill else "")
    others = [one for one in considered.attempts if one not in well]
    merit = f"{told}; {_moved(model, share)}"
    return replace(considered, attempts=(*well, *others), merit=merit)


def _moved(model: Model, share: float) -> str:
    return f"{share:.0%} of its requests go to {model.successor} by now"


def _serves(endpoint: Endpoint, name: str) -> bool:
    return name in (endpoint.model.name, endpoint.name, endpoint.upstream_model)


def _is_well(attempt: Attempt, view: View) -> bool:
    """Whether it answers, and this request is of its share if it is just back from an outage."""
    if another(view.dice) >= view.shares.get(attempt.key, 1.0):
        return False
    return view.vitals.get(attempt.key, UNKNOWN).success >= WELL
