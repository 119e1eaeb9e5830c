"""One ledger and several processes: they take over from one another, and die, at any point.

The real ledger, store, ``Place``, ``Before`` and ``Others``; requests are reduced to what a ledger
sees of them. The books know nothing of processes: what was sent costs its reserve until it is known
what it cost, and no key is ever beyond its budget.
"""

import asyncio
from contextlib import suppress
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from facts import attempt, attempted, endpoint
from fairlead.app import handover
from fairlead.app.handover import GIVE_UP_S, TURN_S, WAITS_S, Before, Others, Place
from fairlead.outside.config.settings import Listen
from fairlead.outside.folder import Folder
from fairlead.outside.handover import Offer, TakeOver
from fairlead.outside.store import Store
from fairlead.state import State
from fairlead.state.keys import Keys
from fairlead.state.ledger import AT_ONCE
from fairlead.types.catalog import Catalog
from fairlead.types.decision import Caller, Limits
from fairlead.types.errors import OurError, OverBudget, Overloaded
from prove.simulation.chance import Chance
from prove.simulation.invariants import BALANCES, Broken, must
from prove.simulation.loop import Stuck, VirtualLoop
from prove.simulation.machine import Crash, Machine
from prove.simulation.result import Result
from prove.simulation.story import MIDNIGHTS_S, STARTS_S
from prove.simulation.town import Citizen, Link, Mark, Town

PROCESS: "ContextVar[Process | None]" = ContextVar("process", default=None)
HANGS_S = 500.0


class Sent(Struct):
    """What was really sent: it costs its reserve until it is over, for ever if its process died."""

    name: str
    key_id: str
    day: str
    worst: int
    cost: int | None = None
    acknowledged: bool = False


class Truth:
    def __init__(self, machine: Machine, limits: dict[str, Limits]) -> None:
        self._machine = machine
        self._limits = limits
        self.sent: dict[str, Sent] = {}

    def spent(self, key_id: str, begins: str) -> int:
        """At worst, in the day or month whose ISO dates begin so."""
        return sum(
            one.worst if one.cost is None else one.cost
            for one in self.sent.values()
            if one.key_id == key_id and one.day.startswith(begins)
        )

    def send(self, sent: Sent) -> None:
        must(sent.name not in self.sent, "an attempt is sent once", sent.name)
        self.sent[sent.name] = sent
        limits = self._limits[sent.key_id]
        for begins, limit in (
            (sent.day, limits.budget_day_nano_usd),
            (sent.day[:7], limits.budget_month_nano_usd),
        ):
            spent = self.spent(sent.key_id, begins)
            within = limit is None or spent <= limit
            must(within, "no process spends another's money", f"{sent}: {spent} of {limit}")

    def settled(self) -> None:
        """All is over, and on disk."""
        rows = self._machine.disk.rows("SELECT attempt_id, nano, basis FROM settle")
        settled = {name: (nano, basis) for name, nano, basis in rows}
        for one in self.sent.values():
            nano, basis = settled.pop(one.name, (None, "nothing"))
            if basis == "lease_expired_max":
                must(not one.acknowledged, "nothing acknowledged is lost", one.name)
                must(nano == one.worst, "an orphan costs its reserve", f"{one}: {nano}")
            elif basis != "nothing" or one.acknowledged or self._limits[one.key_id] != Limits():
                # Where no budget waits for it, an intent may die with its process.
                must(nano == one.cost, "each attempt is settled on disk", f"{one}: {nano}, {basis}")
        for key_id, window, nano, total in self._machine.disk.rows(BALANCES):
            must(nano == total, "a balance is the sum of its settles", f"{key_id} {window}")


class Process(Citizen):
    """A gateway, reduced to its ledger."""

    def __init__(self, town: Town, machine: Machine, number: int, lock: int | None) -> None:
        super().__init__(town)
        self.number = number
        self.machine = machine
        self.open = 0
        self.mark = Mark(self)
        self.accepts = False
        self.offered = lock is None
        """The lock is its own, or came with an Offer."""
        folder = Folder(Path(f"/simulated/{number}"))
        self.store = Store(folder.database, town.loop, lock=lock)
        self.writer = machine.writer
        state = State(Catalog(endpoints=(endpoint(),)), self.store, Keys(b""), lambda: 0.0)
        self.ledger = state.ledger
        self.others = Others(folder, self.store, state)
        town.moving = self
        listener: Any = self
        mark: Any = self.mark
        self.place = Place(folder, Listen("127.0.0.1", 1), self.store, state, listener, mark)

    @property
    def has_lock(self) -> bool:
        """As with flock(2): a descriptor that was passed on holds the same lock."""
        return not self.dead and self.offered and self.store.lock is not None

    def listening(self) -> list[int]:
        return []

    async def hand_over(self) -> None:
        """As the listener: who connects from now on reaches the other one."""
        await asyncio.sleep(self.town.delay_s())
        self.accepts = False

    def die(self) -> None:
        if self.writer is not None:
            self.writer.dead = True
        self.accepts = False
        super().die()

    async def serve(self) -> None:
        await self.place.open()
        self.accepts = True

    async def look_after(self) -> None:
        """Follow the others; and once another serves, finish what is open and go."""
        following = self.spawn(self.others.follow(lambda line: None))
        await self.place.given.wait()
        following.cancel()
        while self.open or self.ledger.open_holds:  # noqa: ASYNC110 - time is free here
            await asyncio.sleep(0.1)
        await self.place.close()
        await self.store.flush()
        self.mark.close()
        self.die()


class Handing:
    """One seed."""

    def __init__(self, seed: int, machine: Machine) -> None:
        self.seed = seed
        self.machine = machine
        self.chance = chance = Chance(f"handing {seed}")
        self.fate = Chance(f"taking over {seed}")
        self.slow = Chance(f"slow to start {seed}")
        machine.boot(chance)
        machine.is_locked = lambda: any(one.has_lock for one in self.alive)
        machine.wall_s = chance.one_of(MIDNIGHTS_S) - STARTS_S - chance.between(0.0, 60.0)
        machine.slow_disk_s = chance.one_of((1e-4, 2e-3, 0.05))
        late_s = chance.one_of((0.0, 1e-6, 1e-3))
        self.loop = machine.loop = VirtualLoop(Chance(f"{seed} loop"), STARTS_S, late_s)
        self.town = Town(self.loop, chance, chance.one_of((1e-4, 0.01, 0.3)))
        self.worst = chance.whole(10, 100)
        day = int(self.worst * chance.one_of((1.0, 2.5, 5.0)))
        limits = {
            "a": Limits(budget_day_nano_usd=day, budget_month_nano_usd=int(day * 1.2)),
            "b": Limits(budget_day_nano_usd=day * 2),
            "c": Limits(),
        }
        self.callers = [Caller(key, key, limits=limit) for key, limit in limits.items()]
        self.truth = Truth(machine, limits)
        self.processes: list[Process] = []
        self.trace: list[tuple[float, str, str]] = []
        self.over = 0
        self.crashes = 0

    def note(self, what: str, detail: object = "") -> None:
        self.trace.append((round(self.loop.time(), 6), what, str(detail)))

    def run(self) -> Result:
        Broken.first = None
        factory: Any = self._task
        self.loop.set_task_factory(factory)
        patched = {
            "drains": self.town,
            "asked": self.town.asked,
            "to_thread": self.town.to_thread,
            "Door": self.town.make_door,
        }
        before = {name: getattr(handover, name) for name in patched}
        for name, value in patched.items():
            setattr(handover, name, value)
        try:
            self.loop.run_until_complete(self._live())
        except Broken:
            pass
        except Stuck as error:
            Broken("nothing hangs", str(error))
        finally:
            for process in self.processes:
                process.die()
            with suppress(Broken, Crash):
                self.loop.bury()
            for name, value in before.items():
                setattr(handover, name, value)
        self.note("end", Broken.first or "")
        sent = self.truth.sent.values()
        return Result(
            kind="handing",
            seed=self.seed,
            requests=self.over,
            sent=len(sent),
            crashes=self.crashes,
            cancelled=0,
            answered=sum(one.acknowledged for one in sent),
            replayed=0,
            broken=str(Broken.first or ""),
            trace=self.trace,
        )

    def _task(self, loop: Any, coro: Any, **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **more)
        process = PROCESS.get()
        if process is not None:
            process.tasks.append(task)
        return task

    @property
    def alive(self) -> list[Process]:
        return [one for one in self.processes if not one.dead]

    async def _live(self) -> None:
        chance = self.chance
        count = chance.whole(6, 40)
        await self._start()
        for number in range(count):
            self.loop.call_at(STARTS_S + 20 * chance.random(), self._asks, number)
        for _ in range(chance.whole(1, 3)):
            self.loop.call_at(STARTS_S + 20 * chance.random(), self._begins, self._take_over)
        for _ in range(chance.one_of((0, 0, 1, 1, 2))):
            self.loop.call_at(STARTS_S + 20 * chance.random(), self._kill)
        until_s = self.loop.time() + HANGS_S
        while self.over < count:
            await asyncio.sleep(0.5)
            must(self.loop.time() < until_s, "nothing hangs", f"{self.over} of {count}")
            if self._may_start():
                await self._start()
        await asyncio.sleep(60.0)
        if self._may_start():
            await self._start()
            await asyncio.sleep(5.0)
        self._ends()

    def _ends(self) -> None:
        serving = [one for one in self.alive if one.accepts]
        must(len(serving) == 1, "one process serves", f"{[one.number for one in serving]}")
        must(self.alive == serving, "who has handed over goes", f"{len(self.alive)} run")
        must(not self.town.marks, "no mark stays", f"{len(self.town.marks)}")
        self.truth.settled()
        [process] = serving
        door = self.town.door
        finds = door is not None and door.owner is process
        must(finds, "the next one finds who serves", f"process {process.number}")
        now_ms = self.machine.now_ms()
        must(not process.ledger.inherited, "nothing stays inherited", f"{process.number}")
        for caller in self.callers:
            told, limits = process.ledger.affordable_nano_usd(caller, now_ms), caller.limits
            rows = dict(
                self.machine.disk.rows(
                    'SELECT "window", nano FROM spend WHERE key_id = ?', (caller.id,)
                )
            )
            day = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
            lefts = [
                max(0, limit - rows.get(window, 0))
                for window, limit in (
                    (f"day:{day}", limits.budget_day_nano_usd),
                    (f"month:{day[:7]}", limits.budget_month_nano_usd),
                )
                if limit is not None
            ]
            left = min(lefts) if lefts else None
            must(told == left, "the ledger knows what is left", f"{caller.id}: {told}, not {left}")

    def _may_start(self) -> bool:
        """Where the folder's lock is held, even by one that is about to take over, none begins."""
        return not any(one.accepts or one.has_lock for one in self.alive)

    def _process(self, lock: int | None) -> Process:
        process = Process(self.town, self.machine, len(self.processes), lock)
        self.processes.append(process)
        return process

    def _begins(self, what: Any, *args: Any, process: Process | None = None) -> None:
        context = copy_context()
        context.run(PROCESS.set, process)
        task = self.loop.create_task(what(*args), context=context)
        if process is not None:
            process.tasks.append(task)

    async def _start(self) -> None:
        """A process begins where none serves."""
        process = self._process(None)
        process.others.recover(None)
        self.note("starts", f"process {process.number}, {process.others.orphans} orphans")
        await process.serve()
        self._begins(process.look_after, process=process)

    async def _take_over(self) -> None:
        door = self.town.door
        if door is None or door.owner.dead:
            return
        new = self._process(-1)
        self.note("takes over", f"process {new.number}")
        try:
            await self._in_place_of(door, new)
        except (OurError, OSError) as error:
            # Whoever is left goes on, if it need not be waited for any longer.
            others = [one for one in self.alive if one is not new and one.has_lock]
            must(
                bool(new.dead or others or not new.offered),
                "who is left serves",
                f"process {new.number}: {error}",
            )
            self.note("gives up", f"process {new.number}")
            await new.place.close()
            new.die()
            return
        if not new.dead:
            self.note("has taken over", f"process {new.number}, {new.others.orphans} orphans")
            self._begins(new.look_after, process=new)

    async def _in_place_of(self, door: Any, new: Process) -> None:
        """As ``running`` does."""
        old: Process = door.owner
        ours, theirs = new.talk(old)
        self._begins(door.knocked, theirs, process=old)
        await ours.say(TakeOver())
        if not isinstance(offer := await ours.hear(), Offer):
            raise ConnectionResetError
        link: Any = Link(ours)
        before = Before(link, offer)
        new.offered = True
        self._may_die(old)
        if self.slow.happens(0.2):  # it starts slowly, or hangs: another one may take its turn
            await asyncio.sleep(self.slow.between(TURN_S - 1.0, GIVE_UP_S))
        yours = await before.hand_over(new.store)
        self._may_die(old)
        if not new.dead:
            new.others.recover(yours)
        await asyncio.sleep(self.town.delay_s())
        if self.fate.happens(0.1):  # it hangs
            await asyncio.sleep(self.fate.between(WAITS_S - 1.0, GIVE_UP_S))
        if not (new.dead or await before.is_over(new.store) or new.dead):
            new.others.recover(None)
        if not new.dead:
            await new.serve()

    def _may_die(self, process: Process) -> None:
        if self.fate.happens(0.1) and not process.dead:
            self._dies(process)

    def _kill(self) -> None:
        if self.alive:
            self._dies(self.chance.one_of(self.alive))

    def _dies(self, process: Process) -> None:
        self.note("dies", f"process {process.number}")
        self.crashes += 1
        if self.town.door is not None and self.town.door.owner is process:
            self.town.door = None
        process.die()

    def _asks(self, number: int) -> None:
        accepting = [one for one in self.alive if one.accepts]
        if not accepting:
            self.over += 1
            return
        process = self.chance.one_of(accepting)
        process.open += 1
        self._begins(self._attempt, process, f"r{number}.1", process=process)

    async def _attempt(self, process: Process, name: str) -> None:
        try:
            await self._holds(process, name)
        except (OverBudget, Overloaded) as refusal:
            self.note("refused", f"{name}: {refusal.code}")
        except asyncio.CancelledError:
            pass
        finally:
            self.over += 1
            process.open -= 1

    async def _holds(self, process: Process, name: str) -> None:
        """As a Trial does: hold, wait for the disk, send, settle."""
        chance, machine = self.chance, self.machine
        caller = chance.one_of(self.callers)
        # Another attempt of a request that the old one has already begun.
        await asyncio.sleep(chance.one_of((0.0, 0.0, 0.5, 3.0)))
        now_ms = machine.now_ms()
        hold = process.ledger.hold(name, name, caller, attempt(self.worst), now_ms)
        try:
            if hold.durable is not AT_ONCE:
                await hold.durable
        except (OverBudget, Overloaded, asyncio.CancelledError):
            if not process.dead:
                process.ledger.settle(hold, attempted(id=name, cost_nano_usd=0), machine.now_ms())
            raise
        self.note("sent", f"{name} of {caller.id} by process {process.number}")
        sent = Sent(name, caller.id, hold.day, self.worst)
        self.truth.send(sent)
        await asyncio.sleep(chance.random() * chance.one_of((0.1, 5.0)))
        sent.cost = chance.whole(0, self.worst)
        settled = process.ledger.settle(
            hold, attempted(id=name, cost_nano_usd=sent.cost), machine.now_ms()
        )
        await settled
        sent.acknowledged = True
        self.note("settled", name)


def hand(seed: int, machine: Machine) -> Result:
    return Handing(seed, machine).run()
