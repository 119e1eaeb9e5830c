"""Quality, cost and speed: one number per offer, and the order that follows from it.

Theory of operation
-------------------
Each offer gets three utilities between 0 and 1, and their mean weighted by the route is its total.

Quality   expected_quality(task, model) x the endpoint's recent success. A model that answers well
          on an endpoint that fails one time in three is worth two thirds of it.
Cost      A line on a logarithmic scale: the cheapest offer 1, the dearest 0. Ten times dearer is
Speed     the same step from 1 to 10 cents as from 10 to 100. Speed is the expected time to the
          complete answer on such a scale, the fastest 1, the slowest 0.

A scale that always stretched from end to end would turn a difference of 1 % into all or nothing,
and one free model would press all the priced ones together. So a scale spans at least a factor of
COST_SPAN[0] (TIME_SPAN[0]), and whatever is cheaper than 1/COST_SPAN[1] of the dearest (faster than
1/TIME_SPAN[1] of the slowest) counts as exactly that: free is 100 times cheaper, not infinitely.

An offer of unknown price has the cost utility of the dearest: unknown is never cheap. Where all the
others are free it has none at all.

Two things sink an offer below all that have neither, whatever its total: a quality below FLOOR of
the best offer's (it would be cheap and wrong: this is what keeps a route weighted for cost from
sending proofs to a tiny model), and an outage that is just over, where the dice say that this
request is not of the share that it may have yet. They stay in the plan, last, for when nothing else
is left. So that totals still explain the order, a sunk total is scaled to at most half of the
lowest total above it. A half-open breaker sinks nobody: only the next request can try whether it is
well, and only where it stood before would it be asked. Those of last resort (``decide``) are scaled
down in the same way; their parts compare them with each other.

Equal totals are ordered by cost, then by name. Endpoints that serve one model in one zone at one
cost are twins: they share the places that they have by their totals, and who comes first is decided
by how busy they are (``decide.balance``), or by the dice where nobody knows.

A route with an ordered list keeps its list's order and has totals for information only, but those
just back from an outage sink there as well.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import log

from msgspec.structs import replace

from fairlead.decide.balance import balanced
from fairlead.decide.eligible import Offer
from fairlead.decide.policy import position
from fairlead.decide.quality import expected_quality
from fairlead.types.catalog import Rule, Weights
from fairlead.types.decision import Attempt, Score, Task

COST_SPAN = (10.0, 100.0)
TIME_SPAN = (4.0, 100.0)
"""Least and greatest factor between the ends of a scale."""
FLOOR = 0.6
NOTHING: Mapping[tuple[str, str], float] = {}
NOBODY: frozenset[tuple[str, str]] = frozenset()


def rank(
    offers: Sequence[Offer],
    task: Task,
    rule: Rule,
    dice: float,
    shares: Mapping[tuple[str, str], float] = NOTHING,
    loads: Mapping[tuple[str, str], float] = NOTHING,
) -> tuple[Attempt, ...]:
    """Attempts, best first. The same offers, dice, shares and loads give the same order."""
    if not offers:
        return ()
    attempts = _scored(offers, task, rule.weights)
    resting = _resting(shares, dice) if shares else NOBODY
    if rule.ordered:
        return _in_listed_order(attempts, rule.models, dice, resting, loads)
    floor = FLOOR * max([attempt.score.quality for attempt in attempts])
    above: list[Attempt] = []
    sunk: list[Attempt] = []
    for attempt in attempts:
        sinks = attempt.score.quality < floor or (resting and attempt.key in resting)
        (sunk if sinks else above).append(attempt)
    first = _sorted(above, dice, loads)
    if first:
        sunk = [scaled(attempt, 0.5 * first[-1].score.total) for attempt in sunk]
    return first + _sorted(sunk, dice, loads)


def _scored(offers: Sequence[Offer], task: Task, weights: Weights) -> list[Attempt]:
    quality_share, cost_share, speed_share = _shares(weights)
    costs = _utilities(_costs(offers), COST_SPAN)
    speeds = _utilities([offer.expected_ms for offer in offers], TIME_SPAN)
    attempts = []
    for offer, cost, speed in zip(offers, costs, speeds, strict=True):
        quality = expected_quality(task, offer.endpoint.model) * offer.vitals.success
        total = quality_share * quality + cost_share * cost + speed_share * speed
        attempts.append(
            Attempt(
                offer.endpoint,
                offer.secret,
                Score(total, quality, cost, speed),
                offer.expected_nano_usd,
                offer.worst_nano_usd,
                offer.expected_ms,
                offer.max_output_tokens,
            )
        )
    return attempts


def _shares(weights: Weights) -> tuple[float, float, float]:
    whole = weights.quality + weights.cost + weights.speed
    if whole <= 0:
        return 1.0, 0.0, 0.0
    return weights.quality / whole, weights.cost / whole, weights.speed / whole


def _costs(offers: Sequence[Offer]) -> list[int]:
    """Expected costs in nano-dollars, for comparison only: an unknown one counts as the dearest,
    and as more than free."""
    costs = [offer.expected_nano_usd for offer in offers]
    dearest = max([cost for cost in costs if cost is not None], default=0)
    return [max(dearest, 1) if cost is None else cost for cost in costs]


def _utilities(amounts: Sequence[float], span: tuple[float, float]) -> list[float]:
    """1 for the least, and 0 for the greatest where they are far enough apart."""
    greatest = max(amounts)
    least = max(min(amounts), greatest / span[1])
    if least <= 0:
        return [1.0] * len(amounts)
    whole = log(max(greatest / least, span[0]))
    return [1.0 if amount <= least else 1.0 - log(amount / least) / whole for amount in amounts]


def _order(attempt: Attempt) -> tuple[float, bool, int, str, str]:
    cost = attempt.expected_cost_nano_usd
    endpoint = attempt.endpoint
    return (-attempt.score.total, cost is None, cost or 0, endpoint.model.name, endpoint.name)


def scaled(attempt: Attempt, ceiling: float) -> Attempt:
    """With its total as a share of the ceiling."""
    score = attempt.score
    lowered = Score(score.total * ceiling, score.quality, score.cost, score.speed)
    return replace(attempt, score=lowered)


def _sorted(
    attempts: Sequence[Attempt], dice: float, loads: Mapping[tuple[str, str], float]
) -> tuple[Attempt, ...]:
    """Best first; where loads are known, twins by their loads."""
    ranked = _ranked(attempts, dice)
    return balanced(ranked, loads, dice) if loads else ranked


def _ranked(attempts: Sequence[Attempt], dice: float) -> tuple[Attempt, ...]:
    """Best first. Among equal endpoints of one model the dice say who comes first."""
    totals = {-attempt.score.total: attempt for attempt in attempts}
    if len(totals) == len(attempts):
        return tuple([totals[total] for total in sorted(totals)])
    ordered: list[Attempt] = []
    for _, equals in groupby(sorted(attempts, key=_order), key=lambda one: _order(one)[:-1]):
        twins = [list(twin) for _, twin in groupby(equals, key=lambda one: one.endpoint.name)]
        first = int(dice * len(twins))
        for twin in twins[first:] + twins[:first]:
            ordered += twin
    return tuple(ordered)


def _in_listed_order(
    attempts: Sequence[Attempt],
    models: Sequence[str],
    dice: float,
    resting: frozenset[tuple[str, str]],
    loads: Mapping[tuple[str, str], float],
) -> tuple[Attempt, ...]:
    places: dict[tuple[bool, int], list[Attempt]] = {}
    for attempt in attempts:
        place = (bool(resting) and attempt.key in resting, position(attempt.endpoint, models) or 0)
        places.setdefault(place, []).append(attempt)
    ordered: tuple[Attempt, ...] = ()
    for place in sorted(places):
        ordered += _sorted(places[place], dice, loads)
    return ordered


def _resting(shares: Mapping[tuple[str, str], float], dice: float) -> frozenset[tuple[str, str]]:
    """Who is just back from an outage and leaves this request to others."""
    drawn = another(dice)
    return frozenset([key for key, share in shares.items() if drawn >= share])


def another(dice: float) -> float:
    """A number from the digits of the dice that come later: what is drawn by it goes its own way,
    whatever else the dice decide."""
    return dice * 4_096 % 1.0
