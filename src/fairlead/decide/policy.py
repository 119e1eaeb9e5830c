"""Which endpoints a request may reach: the only maker of a ``Grant``. Knows no quality, no cost.

Policy narrows and nothing widens it: every list that is given must allow an endpoint. Whatever is
odd (an empty pattern, an endpoint without a zone) means no, and an exception here ends the request.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from fairlead.types.catalog import Catalog, Endpoint, Route, Rule, When
from fairlead.types.chat import Request
from fairlead.types.decision import Caller, Grant, Rejected, Task, View
from fairlead.types.errors import Forbidden, UnknownModel


def route_for(request: Request, caller: Caller, catalog: Catalog) -> Route:
    """The route asked for; a model or endpoint asked for by name is a route of its own, over just
    the endpoints that serve it. Names that exist win over aliases, routes over models.

    Raises UnknownModel (with the nearest names this caller may see) and Forbidden.
    """
    route = _named(request.model, catalog)
    if route is None:
        alias = catalog.aliases.get(request.model)
        route = None if alias is None else _named(alias, catalog)
    if route is None:
        raise UnknownModel(unknown(request.model, caller, catalog), param="model")
    if caller.routes and not _listed(route.name, caller.routes):
        raise Forbidden(
            f"this key may not ask for {route.name!r}, but for {', '.join(caller.routes)}",
            param="model",
        )
    return route


def may_ask(caller: Caller, name: str, catalog: Catalog) -> bool:
    """Whether a name belongs on the list of what this caller can ask for: the key allows the name,
    and one of the endpoints behind it. What a route leads to depends on the request."""
    if caller.routes and not _listed(name, caller.routes):
        return False
    return name in catalog.routes or any(
        (not caller.models or position(endpoint, caller.models) is not None)
        and (not caller.zones or endpoint.zone in caller.zones)
        for endpoint in serving(name, catalog)
    )


def rule_for(route: Route, task: Task) -> Rule:
    """The first rule whose conditions hold. Raises Forbidden when none does."""
    for rule in route.rules:
        if rule.when == _ALWAYS or _holds(rule.when, task):
            return rule
    raise Forbidden(
        f"route {route.name!r} has no rule for this request: {task.kind}, difficulty"
        f" {task.difficulty:.2f}, about {task.input_tokens:,} tokens of input",
        param="model",
    )


def scope(route: Route, catalog: Catalog) -> Sequence[Endpoint]:
    """The endpoints a route is about, before any rule is applied."""
    if route.name in catalog.routes:
        return catalog.endpoints
    return serving(route.name, catalog)


def successors(route: Route, catalog: Catalog) -> Sequence[Endpoint]:
    """Where a model was asked for by name: the endpoints of its declared successors, in order. An
    endpoint that was asked for by name is meant alone."""
    if route.name in catalog.routes:
        return ()
    known = list(serving(route.name, catalog))
    if any([endpoint.name == route.name for endpoint in known]):
        return ()
    heirs: list[Endpoint] = []
    for endpoint in known:
        heirs_of_one = catalog.by_name.get(endpoint.model.successor, ())
        heirs += [heir for heir in heirs_of_one if heir not in known and heir not in heirs]
    return heirs


def grant(
    request: Request, caller: Caller, route: Route, rule: Rule, view: View
) -> tuple[Grant, tuple[Rejected, ...]]:
    """The endpoints that every list allows, and for the others the first list that does not."""
    zones = [
        (zones, whose)
        for zones, whose in (
            (caller.zones, "this key"),
            (route.zones, "the route"),
            (request.narrowing.zones, "the request"),
        )
        if zones
    ]
    lists = [
        (patterns, word, whose)
        for patterns, word, whose in (
            (caller.models, "policy", "this key"),
            (rule.models, "model_list", "the route"),
            (request.narrowing.models, "model_list", "the request"),
        )
        if patterns
    ]
    endpoints = (*scope(route, view.catalog), *successors(route, view.catalog))
    if not zones and not lists:
        return Grant(frozenset([endpoint.name for endpoint in endpoints])), ()
    allowed: list[str] = []
    rejected: list[Rejected] = []
    for endpoint in endpoints:
        refusal = _refusal(endpoint, zones, lists)
        if refusal is None:
            allowed.append(endpoint.name)
        else:
            rejected.append(refusal)
    return Grant(frozenset(allowed)), tuple(rejected)


def matches(pattern: str, name: str) -> bool:
    """Exactly, or any ending after a trailing ``*``."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def position(endpoint: Endpoint, patterns: Sequence[str]) -> int | None:
    """Which of the patterns names the endpoint first, or None."""
    names = (endpoint.model.name, endpoint.name, endpoint.upstream_model)
    for index, pattern in enumerate(patterns):
        if any([matches(pattern, name) for name in names]):
            return index
    return None


_ALWAYS = When()

_Zones = Sequence[tuple[Sequence[str], str]]
_Lists = Sequence[tuple[Sequence[str], str, str]]


def _refusal(endpoint: Endpoint, zones: _Zones, lists: _Lists) -> Rejected | None:
    for allowed, whose in zones:
        if not endpoint.zone or endpoint.zone not in allowed:
            reason = f"zone {endpoint.zone!r} is not among those of {whose}: {', '.join(allowed)}"
            return Rejected(endpoint.name, "zone", reason)
    for patterns, word, whose in lists:
        if position(endpoint, patterns) is None:
            return Rejected(endpoint.name, word, f"not on the model list of {whose}")
    return None


def _named(name: str, catalog: Catalog) -> Route | None:
    route = catalog.routes.get(name)
    if route is None and serving(name, catalog):
        return Route(name=name, rules=(Rule(),))
    return route


def serving(name: str, catalog: Catalog) -> Sequence[Endpoint]:
    """Endpoints by any of their names, or by ``provider/`` before one."""
    found = catalog.by_name.get(name)
    if found is not None:
        return found
    provider, _, model = name.partition("/")
    return [
        endpoint for endpoint in catalog.by_name.get(model, ()) if endpoint.provider == provider
    ]


def _listed(name: str, patterns: Iterable[str]) -> bool:
    return any(matches(pattern, name) for pattern in patterns)


def _holds(when: When, task: Task) -> bool:
    """Whether every stated condition is met."""
    needs = task.needs
    return all(
        (
            not when.tasks or task.kind in when.tasks,
            when.input_tokens_over is None or task.input_tokens > when.input_tokens_over,
            when.input_tokens_under is None or task.input_tokens < when.input_tokens_under,
            when.tools is None or when.tools == ("tools" in needs),
            when.images is None or when.images == ("image" in needs),
            when.json is None or when.json == bool(needs & {"json_object", "json_schema"}),
            when.difficulty_over is None or task.difficulty > when.difficulty_over,
            when.difficulty_under is None or task.difficulty < when.difficulty_under,
        )
    )


def unknown(name: str, caller: Caller, catalog: Catalog) -> str:
    """Suggests only what the caller could see: names it may not use stay secret."""
    seen = {
        known
        for endpoint in catalog.endpoints
        if not caller.models or position(endpoint, caller.models) is not None
        if not caller.zones or endpoint.zone in caller.zones
        for known in (endpoint.name, endpoint.model.name)
    } | set(catalog.routes)
    if caller.routes:
        seen = {known for known in seen if _listed(known, caller.routes)}
    near = get_close_matches(name, sorted(seen), n=3)
    # Who has pointed an application here that asks for a model of its vendor's sees this first.
    hint = f"; did you mean {' or '.join(near)}?" if near else "; GET /v1/models lists them"
    return f"no route, model or endpoint is called {name!r}{hint}"
