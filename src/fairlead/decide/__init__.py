"""The decision: pure arithmetic on a View. Same inputs, same plan. No clock, no dice, no IO.

``decide`` is what a request runs: ``consider``, which previews run as well, and then the refusal
when no candidate is left.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from fairlead.decide import classify, eligible, lifecycle, plan, policy, refusal, score
from fairlead.decide.plan import Considered
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import Request
from fairlead.types.decision import Caller, Plan, View

GONE = frozenset({"retired", "lifecycle"})
"""Rules by which a model is left out for good."""
OURS = frozenset({"rate_limit", "health"})
"""Rules by which we may keep an endpoint back that has not said no."""


def decide(request: Request, caller: Caller, view: View) -> Plan:
    """Whom to ask, in order, and why.

    Raises UnknownModel and Forbidden as ``consider`` does; and when no candidate is left Forbidden,
    BadRequest, ContextTooLong, OverBudget or Unavailable, after what stood in the way.
    """
    return decided(consider(request, caller, view), request, view)


def decided(considered: Considered, request: Request, view: View) -> Plan:
    """The plan for what was considered. Raises as ``decide`` does when no candidate is left."""
    if considered.plan is None:
        raise refusal.refusal(request, considered, view)
    return considered.plan


def consider(request: Request, caller: Caller, view: View) -> Considered:
    """All candidates and what became of each; its ``plan`` is None when none is left.

    Raises UnknownModel, and Forbidden when the key may not ask for the route or no rule of the
    route is for such a request.
    """
    task = classify.classify(request)
    route = policy.route_for(request, caller, view.catalog)
    rule = policy.rule_for(route, task)
    grant, refused = policy.grant(request, caller, route, rule, view)
    endpoints = policy.scope(route, view.catalog)
    offers, unable = eligible.eligible(request, task, endpoints, grant, view)
    attempts = score.rank(offers, task, rule, view.dice, view.shares, view.loads)
    considered = Considered(route, rule, task, grant, attempts, (*refused, *unable))
    heirs = policy.successors(route, view.catalog)
    if heirs:
        moving = lifecycle.is_moving(endpoints, view)
        if attempts or moving or any([one.rule in GONE for one in unable]):
            considered = _with_heirs(considered, request, heirs, view, moving)
    if not considered.attempts:
        considered = _least_bad(considered, request, endpoints, heirs, view)
    elif considered.attempts[0].endpoint.model.shift is not None:
        considered = lifecycle.shifted(considered, view)
    if not considered.attempts:
        return considered
    planned = plan.plan(considered, request, view)
    return Considered(
        route, rule, task, grant, considered.attempts, considered.rejected, plan=planned
    )


def _with_heirs(
    considered: Considered,
    request: Request,
    heirs: Sequence[Endpoint],
    view: View,
    moving: bool,
) -> Considered:
    """The successors of a model that was asked for by name, behind all that serve the model. Once
    its requests are ``moving`` to them they are as good as any."""
    task, rule, grant = considered.task, considered.rule, considered.grant
    offers, unable = eligible.eligible(request, task, heirs, grant, view)
    ranked = score.rank(offers, task, rule, view.dice, view.shares, view.loads)
    stand_ins = ranked if moving else tuple([replace(one, stands_in=True) for one in ranked])
    return replace(
        considered,
        attempts=considered.attempts + stand_ins,
        rejected=(*considered.rejected, *unable),
    )


def _least_bad(
    considered: Considered,
    request: Request,
    endpoints: Sequence[Endpoint],
    heirs: Sequence[Endpoint],
    view: View,
) -> Considered:
    """Where only breakers and forecasts of rate limits stand in the way, they do not: an answer may
    come, a refusal never is one. Who fails least comes first. The successors of a model only once
    it is gone."""
    kept_back = {one.endpoint for one in considered.rejected if one.rule in OURS}
    for stands_in, pool in ((False, endpoints), (True, heirs)):
        among = [endpoint for endpoint in pool if endpoint.name in kept_back]
        offers, _ = eligible.eligible(
            request, considered.task, among, considered.grant, view, desperate=True
        )
        ranked = score.rank(offers, considered.task, considered.rule, view.dice)
        ill = {
            _key(offer): (offer.vitals.state == "open", -offer.vitals.success) for offer in offers
        }
        attempts = tuple(
            [
                replace(attempt, stands_in=stands_in, last_resort=True)
                for attempt in sorted(ranked, key=lambda one: ill[one.key])
            ]
        )
        if attempts:
            asked = {attempt.endpoint.name for attempt in attempts}
            rejected = [one for one in considered.rejected if one.endpoint not in asked]
            return replace(considered, attempts=attempts, rejected=tuple(rejected))
    return considered


def _key(offer: eligible.Offer) -> tuple[str, str]:
    return (offer.endpoint.name, offer.secret.id if offer.secret else "")
