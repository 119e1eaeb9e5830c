"""All simulated providers together: start them, make them fail, read what they saw, stop them."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType

from fairlead.outside.simulated.faults import Fault
from fairlead.outside.simulated.log import ServedLog
from fairlead.outside.simulated.profiles import PROFILES, PROVIDERS, endpoints
from fairlead.outside.simulated.server import ProviderServer
from fairlead.types.catalog import Endpoint


class SimulatedProviders:
    """``time_scale``: 1 answers as slowly as a real model, 0 at once. ``watched``: strings to
    look for in every request, told in the log. Use as ``async with``, or start and stop."""

    def __init__(
        self,
        time_scale: float = 1.0,
        watched: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.log = ServedLog(watched, clock)
        self.addresses: Mapping[str, str] = {}
        """By provider name, once started: what an endpoint's ``base_url`` is."""
        self._time_scale = time_scale
        self._running = AsyncExitStack()
        self._servers = {
            provider.name: ProviderServer(
                provider,
                {each.model.name: each for each in PROFILES if each.provider == provider.name},
                self.log,
                time_scale,
            )
            for provider in PROVIDERS
        }

    async def start(self, only: Sequence[str] = ()) -> Mapping[str, str]:
        """Serve, all or ``only`` the named providers. Returns ``addresses``."""
        addresses = {}
        for name, server in self._servers.items():
            if not only or name in only:
                self._running.push_async_callback(server.stop)
                addresses[name] = await server.start()
        self.addresses = addresses
        return addresses

    async def stop(self) -> None:
        await self._running.aclose()
        self.addresses = {}

    async def __aenter__(self) -> "SimulatedProviders":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Rows for the catalogue, of the providers that are running."""
        return endpoints(self.addresses, self._time_scale)

    def fail(self, provider: str, fault: Fault, model: str = "*") -> None:
        self._servers[provider].faults.set(model, fault)

    def heal(self, provider: str, model: str = "*") -> None:
        self._servers[provider].faults.clear(model)
