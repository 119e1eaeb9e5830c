"""The real listener of a simulated process, on a wire that is none.

All of it runs but ``Load``: that looks at how long the turns of a real CPU are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from fairlead.gateway import Gateway
from fairlead.server import http, replays
from fairlead.server.admin import Admin
from fairlead.server.http import Listener
from fairlead.server.limits import Limits
from fairlead.server.replays import Replays
from fairlead.state import State
from prove.simulation.loop import VirtualLoop
from prove.simulation.machine import Machine
from prove.simulation.watching import REQUEST
from prove.simulation.wire import Site


class Names:
    """In the place of ``outside.claims``: what a process has claimed ends with it."""

    def __init__(self) -> None:
        self.taken: set[bytes] = set()

    def take(self, name: bytes) -> bool:
        self.taken.add(name)
        return True

    def give_back(self, name: bytes) -> None:
        self.taken.discard(name)


class Front:
    def __init__(self, loop: VirtualLoop, gateway: Gateway, state: State) -> None:
        self._loop = loop
        limits = Limits()
        self.replays = Replays(gateway, state.idempotency)
        admin = Admin(gateway, state, bytes, limits)
        self.listener = Listener(gateway, admin, limits, self.replays, state.body_memory)

    async def open(self) -> None:
        await self.listener.start("127.0.0.1", 1)
        self.listener.load.stop()

    @property
    def site(self) -> Site:
        assert self._loop.site is not None
        return self._loop.site


@contextmanager
def in_place_of_chance_and_threads(machine: Machine) -> Iterator[None]:
    """A request has the number of who sent it, and what blocks is done at once."""
    with (
        patch.object(http, "new_id", lambda now_s: f"r{REQUEST.get(0)}"),
        patch.object(replays, "to_thread", machine.to_thread),
    ):
        yield
