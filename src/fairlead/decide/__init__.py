"""The decision: pure arithmetic on a View. Same inputs, same plan. No clock, no dice, no IO.

``decide`` is what a request runs; ``consider`` is the same without the refusal, for previews.
"""

from msgspec.structs import replace

from fairlead.decide import classify, eligible, plan, policy, refusal, score
from fairlead.decide.plan import Considered
from fairlead.types.chat import Request
from fairlead.types.decision import Caller, Plan, View


def decide(request: Request, caller: Caller, view: View) -> Plan:
    """Whom to ask, in order, and why.

    Raises UnknownModel and Forbidden as ``consider`` does; and when no candidate is left Forbidden,
    BadRequest, ContextTooLong, OverBudget or Unavailable, after what stood in the way.
    """
    considered = consider(request, caller, view)
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
    attempts = score.rank(offers, task, rule, view.dice)
    considered = Considered(route, rule, task, grant, attempts, (*refused, *unable))
    if not attempts:
        return considered
    return replace(considered, plan=plan.plan(considered, request, view))
