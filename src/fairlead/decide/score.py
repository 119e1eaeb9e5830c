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

Two things sink an offer below all that have neither, whatever its total: a half-open breaker (it is
on trial), and a quality below FLOOR of the best offer's (it would be cheap and wrong: this is what
keeps a route weighted for cost from sending proofs to a tiny model). They stay in the plan, last,
for when nothing else is left. So that totals still explain the order, a sunk total is scaled to at
most half of the lowest total above it.

Equal totals are ordered by cost, then by name; between endpoints that serve one model at one cost
the dice decides, so that twins share the load. A route with an ordered list keeps its list's order
and has totals for information only, but half-open breakers sink there as well.
"""

from collections.abc import Sequence
from itertools import groupby
from math import log

from msgspec.structs import replace

from fairlead.decide.eligible import Offer
from fairlead.decide.policy import position
from fairlead.decide.quality import expected_quality
from fairlead.types.catalog import Rule, Weights
from fairlead.types.decision import Attempt, Score, Task

COST_SPAN = (10.0, 100.0)
TIME_SPAN = (4.0, 100.0)
"""Least and greatest factor between the ends of a scale."""
FLOOR = 0.6


def rank(offers: Sequence[Offer], task: Task, rule: Rule, dice: float) -> tuple[Attempt, ...]:
    """Attempts, best first. The same offers and dice give the same order."""
    if not offers:
        return ()
    scores = _scores(offers, task, rule.weights)
    if rule.ordered:
        return _in_listed_order(offers, scores, rule.models, dice)
    floor = FLOOR * max([score.quality for score in scores])
    above: list[Attempt] = []
    sunk: list[Attempt] = []
    for offer, score in zip(offers, scores, strict=True):
        healthy = offer.vitals.state != "half_open" and score.quality >= floor
        (above if healthy else sunk).append(_attempt(offer, score))
    above.sort(key=_order)
    if not sunk:
        return _spread(above, dice)
    if above:
        sunk = [_scaled(attempt, 0.5 * above[-1].score.total) for attempt in sunk]
    sunk.sort(key=_order)
    return _spread(above, dice) + _spread(sunk, dice)


def _scores(offers: Sequence[Offer], task: Task, weights: Weights) -> list[Score]:
    quality_share, cost_share, speed_share = _shares(weights)
    costs = _utilities([offer.expected_nano_usd for offer in offers], COST_SPAN)
    speeds = _utilities([offer.expected_ms for offer in offers], TIME_SPAN)
    scores = []
    for offer, cost, speed in zip(offers, costs, speeds, strict=True):
        quality = expected_quality(task, offer.endpoint.model) * offer.vitals.success
        total = quality_share * quality + cost_share * cost + speed_share * speed
        scores.append(Score(total, quality, cost, speed))
    return scores


def _shares(weights: Weights) -> tuple[float, float, float]:
    whole = weights.quality + weights.cost + weights.speed
    if whole <= 0:
        return 1.0, 0.0, 0.0
    return weights.quality / whole, weights.cost / whole, weights.speed / whole


def _utilities(
    amounts: Sequence[int | None] | Sequence[float], span: tuple[float, float]
) -> list[float]:
    """1 for the least, 0 for the greatest if they are far apart; None counts as the greatest."""
    known = [amount for amount in amounts if amount is not None]
    greatest = max(known, default=0)
    least = max(min(known, default=0), greatest / span[1])
    if least <= 0:
        return [0.0 if amount is None else 1.0 for amount in amounts]
    whole = log(max(greatest / least, span[0]))
    pessimistic = 1.0 - log(greatest / least) / whole
    return [
        pessimistic if amount is None else 1.0 - log(max(amount / least, 1.0)) / whole
        for amount in amounts
    ]


def _attempt(offer: Offer, score: Score) -> Attempt:
    return Attempt(
        offer.endpoint,
        offer.secret,
        score,
        offer.expected_nano_usd,
        offer.worst_nano_usd,
        offer.expected_ms,
        offer.max_output_tokens,
    )


def _order(attempt: Attempt) -> tuple[float, bool, int, str, str]:
    cost = attempt.expected_cost_nano_usd
    endpoint = attempt.endpoint
    return (-attempt.score.total, cost is None, cost or 0, endpoint.model.name, endpoint.name)


def _scaled(attempt: Attempt, ceiling: float) -> Attempt:
    score = attempt.score
    lowered = Score(score.total * ceiling, score.quality, score.cost, score.speed)
    return replace(attempt, score=lowered)


def _spread(attempts: list[Attempt], dice: float) -> tuple[Attempt, ...]:
    """Let the dice say which of several equal endpoints of one model comes first."""
    if len({attempt.score.total for attempt in attempts}) == len(attempts):
        return tuple(attempts)
    spread: list[Attempt] = []
    for _, equals in groupby(attempts, key=lambda attempt: _order(attempt)[:-1]):
        twins = [list(twin) for _, twin in groupby(equals, key=lambda a: a.endpoint.name)]
        first = int(dice * len(twins))
        for twin in twins[first:] + twins[:first]:
            spread += twin
    return tuple(spread)


def _in_listed_order(
    offers: Sequence[Offer], scores: Sequence[Score], models: Sequence[str], dice: float
) -> tuple[Attempt, ...]:
    listed: dict[tuple[bool, int], list[Attempt]] = {}
    for offer, score in zip(offers, scores, strict=True):
        place = (offer.vitals.state == "half_open", position(offer.endpoint, models) or 0)
        listed.setdefault(place, []).append(_attempt(offer, score))
    ordered: tuple[Attempt, ...] = ()
    for place in sorted(listed):
        ordered += _spread(sorted(listed[place], key=_order), dice)
    return ordered
