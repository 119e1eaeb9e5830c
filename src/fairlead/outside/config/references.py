"""Whether every name in the settings leads somewhere: providers, models, zones."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from fairlead.decide.policy import matches
from fairlead.outside.config.kinds import KINDS, runs
from fairlead.outside.config.problems import Mistake, did_you_mean, quoted
from fairlead.outside.config.settings import ProviderSettings, Settings
from fairlead.types.catalog import Endpoint

ALWAYS_ZONES = frozenset({"local", "cloud"})
"""Known even while nothing runs there: a local server may be found later."""


def dangling(
    settings: Settings,
    providers: Sequence[ProviderSettings],
    endpoints: Sequence[Endpoint],
    aliases: Mapping[str, str],
) -> Iterator[Mistake]:
    """A mistake for each name that stands for nothing, with the nearest one that does."""
    models = {name for each in endpoints for name in _names(each)} | set(aliases)
    known: Mapping[str, Collection[str]] = {
        "provider": [provider.name for provider in providers],
        "model": models,
        "zone": {provider.zone for provider in providers}
        | {endpoint.zone for endpoint in endpoints}
        | ALWAYS_ZONES,
    }
    silent = _is_silent(settings, providers, endpoints)
    simulated = {each.name for each in providers if runs(each.kind) == "simulated"}
    for use in settings.uses:
        if use.of == "provider" and use.name in simulated:
            message = f"{quoted(use.name)} is simulated: its models come with it"
            yield Mistake(message, place=use.place)
        elif use.of == "model" and silent:
            continue
        elif not any(matches(use.name, name) for name in known[use.of]):
            hint = did_you_mean(use.name, known[use.of])
            if use.of == "provider" and use.name in KINDS:
                hint = f"write `{use.name}:` under `providers`"
            elif use.of == "model" and not use.name.endswith("*"):
                told = "`models` must say who serves it"
                hint = f"{hint} Else {told}" if hint else told
            elif use.of != "model" and not hint and known[use.of]:
                hint = f"known: {', '.join(sorted(known[use.of]))}"
            yield Mistake(f"there is no {use.of} {quoted(use.name)}", hint, use.place)


def _names(endpoint: Endpoint) -> tuple[str, str, str]:
    return (endpoint.model.name, endpoint.name, endpoint.upstream_model)


def _is_silent(
    settings: Settings, providers: Sequence[ProviderSettings], endpoints: Sequence[Endpoint]
) -> bool:
    """Whether a local server that should tell its models has told none: it may be down, and may
    yet serve whatever name is asked for. The gateway has to start all the same."""
    telling = {each.provider for each in endpoints} | {model.at for model in settings.models}
    return any(runs(each.kind) == "local" and each.name not in telling for each in providers)
