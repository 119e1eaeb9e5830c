"""Settings held against what exists, to a Catalog: who serves what, and that every name leads
somewhere. Opens nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from fairlead.decide.policy import position
from fairlead.decide.routes import default_routes
from fairlead.outside.config.kinds import is_private, runs
from fairlead.outside.config.problems import ConfigError, Mistake, quoted
from fairlead.outside.config.providers import StatedProvider, filled
from fairlead.outside.config.references import dangling
from fairlead.outside.config.settings import ModelSettings, ProviderSettings, Settings
from fairlead.types.catalog import Catalog, Endpoint, Model, Price, Rates, Route

ANTHROPIC = "anthropic_messages"
CONFIGURED = "configuration"
FREE = (
    Price(
        rates=Rates(
            input=0, output=0, cached_read=0, cached_write=0, cached_write_1h=0, reasoning=0
        ),
        source="local server",
    ),
)
"""Of a server on this machine or its network: it costs, but not by the token."""

REMOTE_ENDINGS = ("-cloud", ":cloud")
"""Ollama serves these from its makers' machines (docs.ollama.com/cloud): neither local nor free."""


class Catalogue(Protocol):
    """What is known of models, by the kind of provider that serves them."""

    @property
    def aliases(self) -> Mapping[str, str]: ...

    def find(self, kind: str, model: str) -> Model | None: ...

    def recommended(self, kind: str) -> tuple[str, ...]: ...


class Found(Protocol):
    """A local server that answered."""

    @property
    def provider(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def address(self) -> str: ...

    @property
    def models(self) -> tuple[Model, ...]: ...


def build(
    settings: Settings,
    catalogue: Catalogue,
    found: Sequence[Found] = (),
    simulated: Sequence[Endpoint] = (),
) -> Catalog:
    """``found``: local servers that answered. ``simulated``: what a provider of that kind serves.
    Raises ConfigError when a name leads nowhere."""
    providers = (*settings.providers, *_discovered(settings, found))
    endpoints = _unique(
        endpoint
        for provider in providers
        for endpoint in _served_by(provider, settings, catalogue, found, simulated)
    )
    aliases = _aliases(catalogue, _index(endpoints))
    mistakes = [
        *dangling(settings, providers, endpoints, aliases),
        *_shifts_without_a_day(settings, endpoints),
    ]
    if mistakes:
        raise ConfigError(settings.source.problem(mistake) for mistake in mistakes)
    present = tuple(
        _succeeded(each, aliases) for each in endpoints if each.provider not in settings.absent
    )
    by_name = _index(present)
    routes = [*default_routes(), *(_resolved(route, aliases) for route in settings.routes)]
    baseline = aliases.get(settings.server.baseline, settings.server.baseline)
    return Catalog(
        endpoints=present,
        by_name=by_name,
        routes={route.name: route for route in routes},
        aliases={alias: name for alias, name in aliases.items() if name in by_name},
        baseline=baseline if baseline in by_name else "",
    )


def unserved(catalog: Catalog) -> tuple[str, ...]:
    """What routes ask for and nobody serves at present; one line each."""
    return tuple(
        f"route {quoted(route.name)}: nothing serves {quoted(pattern)} at present"
        for route in catalog.routes.values()
        for rule in route.rules
        for pattern in rule.models
        if all(position(endpoint, (pattern,)) is None for endpoint in catalog.endpoints)
    )


def _discovered(settings: Settings, found: Sequence[Found]) -> Iterator[ProviderSettings]:
    """Servers that no provider stands for yet, if they are wanted."""
    if not settings.server.discover:
        return
    names = {provider.name for provider in settings.providers}
    addresses = {_spot(provider.address) for provider in settings.providers}
    for each in found:
        if each.provider not in names and _spot(each.address) not in addresses:
            yield filled(each.provider, StatedProvider(kind=each.kind, address=each.address))


def _served_by(
    provider: ProviderSettings,
    settings: Settings,
    catalogue: Catalogue,
    found: Sequence[Found],
    simulated: Sequence[Endpoint],
) -> Sequence[Endpoint]:
    """The models placed at a provider; without any, what was found there or is recommended."""
    if runs(provider.kind) == "simulated":
        return simulated
    here = {
        model.name: model
        for each in found
        if _spot(each.address) == _spot(provider.address)
        for model in each.models
    }
    placed = [model for model in settings.models if model.at == provider.name]
    if not placed:
        names = here or catalogue.recommended(provider.kind)
        placed = [ModelSettings(name=name, at=provider.name) for name in names]
    endpoints = []
    for placement in placed:
        upstream = placement.upstream_model or placement.name
        known = here.get(upstream) or catalogue.find(provider.kind, upstream)
        model = _model(placement, _spoken(provider, known or Model(name=placement.name)))
        endpoints.append(_endpoint(provider, upstream, model))
    return endpoints


def _spoken(provider: ProviderSettings, known: Model) -> Model:
    """Known of a model as its makers serve it. Other servers that take a last assistant turn may
    well answer it with a new one: only who runs them can say."""
    if provider.dialect == ANTHROPIC or "prefill" not in known.can:
        return known
    return msgspec.structs.replace(known, can=known.can - {"prefill"})


def _model(placement: ModelSettings, known: Model) -> Model:
    """What the settings say of a model, over what is known of it."""
    rates = placement.rates
    prices = known.prices if rates is None else (Price(rates=rates, source=CONFIGURED),)
    context, output = placement.context_tokens, placement.max_output_tokens
    return msgspec.structs.replace(
        known,
        name=placement.name,
        prices=prices,
        context_tokens=known.context_tokens if context is None else context,
        max_output_tokens=known.max_output_tokens if output is None else output,
        strength=known.strength if placement.strength is None else placement.strength,
        accepts=known.accepts if placement.accepts is None else placement.accepts,
        can=(known.can | placement.gains) - placement.loses,
        retires=known.retires if placement.retires is None else placement.retires,
        successor=known.successor if placement.successor is None else placement.successor,
        shift=placement.shift,
    )


def _endpoint(provider: ProviderSettings, upstream_model: str, model: Model) -> Endpoint:
    remote = provider.kind == "ollama" and upstream_model.endswith(REMOTE_ENDINGS)
    if not model.prices and _charges_nothing(provider) and not remote:
        model = msgspec.structs.replace(model, prices=FREE)
    return Endpoint(
        name=f"{provider.name}/{model.name}",
        provider=provider.name,
        model=model,
        upstream_model=upstream_model,
        dialect=provider.dialect,
        base_url=provider.address,
        signer=provider.signer,
        secrets=provider.secrets,
        zone="cloud" if remote else provider.zone,
        timeouts=provider.timeouts,
        expected_first_token_ms=provider.first_token_ms,
        expected_tokens_per_s=provider.tokens_per_s,
    )


def _spot(address: str) -> str:
    """An address to compare by: people write this machine's in two ways."""
    return address.rstrip("/").replace("://localhost", "://127.0.0.1", 1)


def _charges_nothing(provider: ProviderSettings) -> bool:
    near = is_private(urlsplit(provider.address).hostname or "")
    return runs(provider.kind) == "local" and near


def _unique(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    return tuple({endpoint.name: endpoint for endpoint in endpoints}.values())


def _index(endpoints: Sequence[Endpoint]) -> Mapping[str, tuple[Endpoint, ...]]:
    """By model name, upstream name and endpoint name. An endpoint's name means that endpoint
    alone, though a reseller may well call a model ``openai/gpt-5-mini`` too."""
    index: dict[str, tuple[Endpoint, ...]] = {}
    for endpoint in endpoints:
        for name in {endpoint.model.name, endpoint.upstream_model}:
            index[name] = (*index.get(name, ()), endpoint)
    return index | {endpoint.name: (endpoint,) for endpoint in endpoints}


def _shifts_without_a_day(settings: Settings, endpoints: Sequence[Endpoint]) -> Iterator[Mistake]:
    """The catalogue may know the day, so that is known only now."""
    known = {(each.provider, each.model.name): each.model.retires for each in endpoints}
    for placed in settings.models:
        if placed.shift is not None and not known.get((placed.at, placed.name), "unknown"):
            message = f"`shift` needs a day: nobody knows when {quoted(placed.name)} retires"
            yield Mistake(message, "such as `retires: 2027-03-31`", placed.place)


def _succeeded(endpoint: Endpoint, aliases: Mapping[str, str]) -> Endpoint:
    """With its successor called by the name that it is served under."""
    name = aliases.get(endpoint.model.successor)
    if name is None:
        return endpoint
    model = msgspec.structs.replace(endpoint.model, successor=name)
    return msgspec.structs.replace(endpoint, model=model)


def _aliases(catalogue: Catalogue, by_name: Mapping[str, object]) -> Mapping[str, str]:
    """Other names for what is served, unless something else has that name already."""
    return {
        alias: name
        for alias, name in catalogue.aliases.items()
        if name in by_name and alias not in by_name
    }


def _resolved(route: Route, aliases: Mapping[str, str]) -> Route:
    """A route whose rules call models by the names that they are served under."""
    rules = tuple(
        msgspec.structs.replace(rule, models=tuple(aliases.get(each, each) for each in rule.models))
        for rule in route.rules
    )
    return msgspec.structs.replace(route, rules=rules)
