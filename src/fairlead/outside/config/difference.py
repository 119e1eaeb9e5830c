"""What a new catalogue changes, in lines for people."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TypeVar

import msgspec

from fairlead.types.catalog import Catalog, Endpoint, Price, Rates, Route, Rule, Shift, Timeouts

T = TypeVar("T")

PICO_USD_PER_TOKEN = 1_000_000
"""One dollar per million tokens."""

Facets = Mapping[str, str]
"""What can differ about a thing, as words by word."""


def difference(old: Catalog, new: Catalog) -> tuple[str, ...]:
    """``+`` what is new, ``-`` what is gone, ``~`` what has changed and how. A provider that comes
    or goes is one line, its endpoints not told one by one."""
    before, after = _endpoints(old), _endpoints(new)
    came = {each.provider for each in new.endpoints} - {each.provider for each in old.endpoints}
    went = {each.provider for each in old.endpoints} - {each.provider for each in new.endpoints}
    stayed_before = {name: each for name, each in before.items() if each.provider not in went}
    stayed_after = {name: each for name, each in after.items() if each.provider not in came}
    return (
        *(f"+ provider {name}: {_count(name, new)}" for name in sorted(came)),
        *(f"- provider {name}: {_count(name, old)}" for name in sorted(went)),
        *_compared("endpoint", stayed_before, stayed_after, _endpoint_facets),
        *_compared("route", old.routes, new.routes, _route_facets),
        *_changed("baseline", {"": old.baseline or "none"}, {"": new.baseline or "none"}),
    )


def _endpoints(catalog: Catalog) -> Mapping[str, Endpoint]:
    return {endpoint.name: endpoint for endpoint in catalog.endpoints}


def _count(provider: str, catalog: Catalog) -> str:
    count = sum(each.provider == provider for each in catalog.endpoints)
    return f"{count} endpoint" if count == 1 else f"{count} endpoints"


def _compared(
    what: str, old: Mapping[str, T], new: Mapping[str, T], facets: Callable[[T], Facets]
) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield f"+ {what} {name}"
        elif name not in new:
            yield f"- {what} {name}"
        elif old[name] != new[name]:
            yield from _changed(f"{what} {name}", facets(old[name]), facets(new[name]))


def _changed(what: str, old: Facets, new: Facets) -> Iterator[str]:
    changes = [
        f"{facet} {old.get(facet, 'none')} -> {new.get(facet, 'none')}".lstrip()
        for facet in dict.fromkeys((*old, *new))
        if old.get(facet) != new.get(facet)
    ]
    if changes:
        yield f"~ {what}: {', '.join(changes)}"


def _endpoint_facets(endpoint: Endpoint) -> Facets:
    model = endpoint.model
    return {
        "address": endpoint.base_url,
        "dialect": endpoint.dialect,
        "zone": endpoint.zone,
        "signer": endpoint.signer,
        "credentials": _words(secret.id for secret in endpoint.secrets),
        "name there": endpoint.upstream_model,
        "context": _known(model.context_tokens),
        "max output": _known(model.max_output_tokens),
        "price": _words((_price(price) for price in model.prices), "unknown"),
        "strength": f"{model.strength:g}",
        "capabilities": _words(sorted(model.can)),
        "accepts": _words(sorted(model.accepts)),
        "open weights": str(model.open_weights),
        "released": model.released or "unknown",
        "retires": model.retires or "never",
        "successor": model.successor or "none",
        "shift": _shift(model.shift),
        "simulated": str(endpoint.simulated),
        "timeouts": _timeouts(endpoint.timeouts),
        "expected first token": f"{endpoint.expected_first_token_ms:g}ms",
        "expected speed": f"{endpoint.expected_tokens_per_s:g} tokens/s",
    }


def _route_facets(route: Route) -> Facets:
    facets = {
        "zones": _words(route.zones, "any"),
        "attempts": str(route.max_attempts),
        "deadline": f"{route.deadline_s:g}s",
        "rescue": str(route.rescue),
        "description": route.description or "none",
    }
    for number, rule in enumerate(route.rules, 1):
        prefix = f"rule {number} " if number > 1 else ""
        facets |= {f"{prefix}{facet}": value for facet, value in _rule_facets(rule).items()}
    return facets


def _rule_facets(rule: Rule) -> Facets:
    stated = msgspec.structs.asdict(rule.when).items()
    when = (
        f"{name} {_words(value) if isinstance(value, tuple) else value}"
        for name, value in stated
        if value not in (None, ())
    )
    weights = rule.weights
    ratio = f"{weights.quality:g}/{weights.cost:g}/{weights.speed:g}"
    return {
        "when": _words(when, "always"),
        "models": _words(rule.models, "all"),
        "weights": "in order" if rule.ordered else ratio,
    }


def _price(price: Price) -> str:
    """Dollars per million tokens, with what applies when."""
    tiers = (f"above {tier.above_input_tokens} {_rates(tier.rates)}" for tier in price.tiers)
    since = f"from {price.effective_from}" if price.effective_from else ""
    until = f"until {price.effective_until}" if price.effective_until else ""
    parts = (_rates(price.rates), *tiers, since, until, f"({price.source})")
    return " ".join(part for part in parts if part)


def _rates(rates: Rates) -> str:
    stated = msgspec.structs.asdict(rates).items()
    return " ".join(
        f"{name} ${Decimal(rate) / PICO_USD_PER_TOKEN:f}"
        for name, rate in stated
        if rate is not None
    )


def _timeouts(timeouts: Timeouts) -> str:
    return f"{timeouts.connect_s:g}s/{timeouts.first_token_s:g}s/{timeouts.stall_s:g}s"


def _shift(shift: Shift | None) -> str:
    return f"{shift.canary:.0%} over {shift.over_s:g}s" if shift else "none"


def _known(tokens: int | None) -> str:
    return "unknown" if tokens is None else str(tokens)


def _words(words: Iterable[str], none: str = "none") -> str:
    return ", ".join(words) or none
