"""From a configuration file, the environment and this machine to a Catalog. Changes nothing."""

from asyncio import to_thread
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from fairlead.outside.config import Catalogue, Settings, available, build, default_settings, load
from fairlead.outside.config.kinds import is_private, runs
from fairlead.outside.config.settings import ProviderSettings
from fairlead.outside.discovery import USUAL, Probe, Server, Target, discover
from fairlead.outside.simulated import profiles
from fairlead.types.catalog import Catalog, Endpoint

SIMULATED = ProviderSettings(name="simulated", kind="simulated")

Simulate = Callable[[], Awaitable[Sequence[Endpoint]]]
"""Starts the simulated providers if they do not run yet, and says what they serve."""


class Loaded(Struct, frozen=True):
    """What there is to serve with."""

    settings: Settings
    found: tuple[Server, ...]
    """Local model servers that answered."""
    catalog: Catalog
    falls_back: bool = False
    """Nothing was found and nothing configured: the models are simulated."""


class Sources(Struct, frozen=True):
    """Where a Catalog comes from. ``config`` is None where there is no file to read."""

    config: Path | None
    env: Mapping[str, str]
    catalogue: Catalogue
    probe: Probe
    simulate: Simulate

    async def load(self) -> Loaded:
        """Read and look again. Raises ConfigError with every problem."""
        settings = await to_thread(self.settings)
        found = await discover(self.probe, tuple(_targets(settings)))
        falls_back = self.config is None and not settings.providers and not found
        if falls_back:
            settings = replace(settings, providers=(SIMULATED,))
        simulated: Sequence[Endpoint] = ()
        if any(runs(provider.kind) == "simulated" for provider in settings.providers):
            simulated = await self.simulate()
        catalog = build(settings, self.catalogue, found, simulated)
        return Loaded(settings, found, catalog, falls_back)

    def settings(self) -> Settings:
        """What the file says now, or else the environment. Blocks. Raises ConfigError."""
        if self.config is None:
            return default_settings(self.env)
        return available(load(self.config), self.env)


async def as_if_simulated() -> Sequence[Endpoint]:
    """What the simulated providers would serve, for previews: nothing is started."""
    return profiles.as_if_running()


def _targets(settings: Settings) -> Iterator[Target]:
    """Servers to ask for their models: the declared ones that nobody placed models at, and the
    usual ports of this machine."""
    placed = {model.at for model in settings.models}
    declared = [
        Target(provider.name, provider.kind, provider.address)
        for provider in settings.providers
        if provider.name not in placed and _tells_its_models(provider)
    ]
    yield from declared
    if settings.server.discover:
        addresses = {target.address for target in declared}
        yield from (target for target in USUAL if target.address not in addresses)


def _tells_its_models(provider: ProviderSettings) -> bool:
    near = is_private(urlsplit(provider.address).hostname or "")
    return runs(provider.kind) == "local" or (not provider.kind and near)
