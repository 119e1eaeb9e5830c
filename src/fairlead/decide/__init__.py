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
from fairlead.types.decision import Attempt, Caller, Plan, View

GONE = frozenset({"retired", "lifecycle"})
"""Rules by which a model is left out for good."""


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
    offers, unable, kept_back = eligible.eligible(request, task, endpoints, grant, view)
    attempts = score.rank(offers, task, rule, view.dice, view.shares, view.loads)
    considered = Considered(route, rule, task, grant, attempts, (*refused, *unable))
    if kept_back:
        considered = replace(considered, spare=_spare(kept_back, considered, view))
    heirs = policy.successors(route, view.catalog)
    if heirs:
        moving = lifecycle.is_moving(endpoints, view)
        if attempts or moving or any([one.rule in GONE for one in unable]):
            considered = _with_heirs(considered, request, heirs, view, moving)
    if considered.attempts and considered.attempts[0].endpoint.model.shift is not None:
        considered = lifecycle.shifted(considered, view)
    if considered.spare:
        considered = _with_spare(considered)
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
    offers, unable, kept_back = eligible.eligible(request, task, heirs, grant, view)
    stand_ins = score.rank(offers, task, rule, view.dice, view.shares, view.loads)
    spare = _spare(kept_back, considered, view) if kept_back else ()
    if not moving:
        stand_ins = tuple([replace(one, stands_in=True) for one in stand_ins])
        spare = tuple([replace(one, stands_in=True) for one in spare])
    return replace(
        considered,
        attempts=considered.attempts + stand_ins,
        rejected=(*considered.rejected, *unable),
        spare=considered.spare + spare,
    )


def _spare(
    kept_back: Sequence[eligible.KeptBack], considered: Considered, view: View
) -> tuple[Attempt, ...]:
    """Those whom only breakers and forecasts of rate limits stand in the way of: to be asked once
    nobody else is left. An answer may come, a refusal never is one. Who fails least comes first."""
    offers = [one.offer for one in kept_back]
    why = {_key(one.offer): one.why.reason for one in kept_back}
    ill = {_key(offer): (offer.vitals.state == "open", -offer.vitals.success) for offer in offers}
    ranked = score.rank(offers, considered.task, considered.rule, view.dice)
    return tuple(
        [
            replace(attempt, last_resort=why[attempt.key])
            for attempt in sorted(ranked, key=lambda one: ill[one.key])
        ]
    )


def _with_spare(considered: Considered) -> Considered:
    """Those of last resort behind all others: they are left out no more."""
    attempts, spare = considered.attempts, considered.spare
    told = {(one.endpoint.name, one.last_resort) for one in spare}
    if attempts:
        ceiling = 0.5 * min([one.score.total for one in attempts])
        spare = tuple([score.scaled(one, ceiling) for one in spare])
    return replace(
        considered,
        attempts=attempts + spare,
        rejected=tuple(
            [one for one in considered.rejected if (one.endpoint, one.reason) not in told]
        ),
    )


def _key(offer: eligible.Offer) -> tuple[str, str]:
    return (offer.endpoint.name, offer.secret.id if offer.secret else "")
