"""What happens to a simulated process from outside: the events of a story, each by its name."""

from typing import Any

from msgspec.structs import replace

from fairlead.outside.store import Store
from fairlead.state import State
from fairlead.state.keys import REVOKE, list_keys
from fairlead.types.catalog import Endpoint
from prove.simulation.loop import VirtualLoop
from prove.simulation.machine import Crash
from prove.simulation.story import Event
from prove.simulation.watching import Watching


class Trouble:
    _world: Any
    _loop: VirtualLoop
    state: State
    store: Store
    watching: Watching

    def _happens(self, event: Event) -> None:
        if self.watching.dead:
            return
        self._world.note(event.what, event.amount)
        getattr(self, f"_{event.what}")(event.amount)

    def _crash(self, amount: float) -> None:
        raise Crash

    def _crash_at_commit(self, amount: float) -> None:
        disk = self._world.machine.disk
        disk.crash_at_commit = disk.commits + int(amount)
        disk.crash_before = self._world.chance.happens(0.5)

    def _forget_answers(self, amount: float) -> None:
        self.state.idempotency.forget(self._world.machine.now_ms())
        self._world.owed.forgotten()

    def _stall_loop(self, amount: float) -> None:
        self._loop.stall(amount)

    def _stick_disk(self, amount: float) -> None:
        """Once more does not loosen it: what waits for it waits on."""
        machine = self._world.machine
        machine.stuck_until_s = max(machine.stuck_until_s, self._loop.time() + amount)

    def _fill_disk(self, amount: float) -> None:
        self._world.machine.disk.full_until_s = self._loop.time() + amount

    def _set_clock(self, amount: float) -> None:
        machine = self._world.machine
        machine.wall_s += amount
        self._world.owed.clock_set()
        self.state.ledger.today(machine.now_ms())  # as any request would ask

    def _swing_clock(self, amount: float) -> None:
        """Set twice the same way, and then back."""
        chance = self._world.chance
        after_s = 0.0
        for step in (amount, amount, -2 * amount):
            after_s += chance.one_of((0.01, 0.1, 1.0))
            self._loop.call_later(after_s, self._happens, Event(0.0, "set_clock", step))

    def _revoke(self, amount: float) -> None:
        world = self._world
        holder = world.chance.one_of(world.story.holders[:-1])
        name = holder.row.caller.id
        world.machine.disk.connection.execute(REVOKE, (world.machine.now_ms(), name, name))
        self.state.keys.replace(list_keys(self.store))
        world.books.revoked.setdefault(name, self._loop.time())

    def _reload(self, amount: float) -> None:
        """Another configuration: an endpoint is gone, or has another patience."""
        world = self._world
        endpoints = list(world.catalog.endpoints)
        changed = world.chance.one_of(endpoints)
        index = endpoints.index(changed)
        if len(endpoints) > 1 and world.chance.happens(0.3):
            del endpoints[index]
        else:
            patience = replace(changed.timeouts, stall_s=changed.timeouts.stall_s + 0.1)
            endpoints[index] = replace(changed, timeouts=patience)
        by_name: dict[str, tuple[Endpoint, ...]] = {}
        for one in endpoints:
            for name in (one.model.name, one.name):
                by_name[name] = (*by_name.get(name, ()), one)
        world.catalog = replace(
            world.catalog,
            endpoints=tuple(endpoints),
            by_name=by_name,
            generation=world.catalog.generation + 1,
        )
        self.state.swap(world.catalog)
        world.books.forget([changed.name], {changed.name} - {one.name for one in endpoints})
