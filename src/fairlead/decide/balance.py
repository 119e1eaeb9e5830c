"""Which of several endpoints that serve the same comes first: the less busy of two drawn. Pure.

To take the least busy of all would send everybody there at once, as nobody sees what the others are
about to do; the better of two drawn at random spreads them nearly as well as knowing would
(Mitzenmacher, "The power of two choices in randomized load balancing").
"""

from collections.abc import Mapping, Sequence

from fairlead.types.decision import Attempt


def balanced(
    attempts: Sequence[Attempt], loads: Mapping[tuple[str, str], float], dice: float
) -> tuple[Attempt, ...]:
    """The attempts with twins in the order of their loads, but for the first. Twins serve one model
    in one zone at one cost; they share the places that they have by rank, and nobody else moves."""
    groups: dict[object, list[int]] = {}
    for place, attempt in enumerate(attempts):
        if attempt.key in loads:
            endpoint, cost = attempt.endpoint, attempt.expected_cost_nano_usd
            groups.setdefault((endpoint.model.name, endpoint.zone, cost), []).append(place)
    ordered = list(attempts)
    for places in groups.values():
        by_endpoint: dict[str, list[Attempt]] = {}
        for place in places:
            by_endpoint.setdefault(attempts[place].endpoint.name, []).append(attempts[place])
        if len(by_endpoint) > 1:
            twins = _in_turn(list(by_endpoint.values()), loads, dice)
            for place, attempt in zip(places, [one for twin in twins for one in twin], strict=True):
                ordered[place] = attempt
    return tuple(ordered)


def _in_turn(
    twins: list[list[Attempt]], loads: Mapping[tuple[str, str], float], dice: float
) -> list[list[Attempt]]:
    """The better of two drawn, then the others from the least busy on. Each twin is its attempts
    with one credential after the other."""
    drawn = int(dice * len(twins))
    other = int((dice * len(twins) - drawn) * (len(twins) - 1))
    other += other >= drawn
    first = min(twins[drawn], twins[other], key=lambda twin: loads[twin[0].key])
    rest = [twin for twin in twins if twin is not first]
    return [first, *sorted(rest, key=lambda twin: loads[twin[0].key])]
