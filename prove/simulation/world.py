"""One seed, from its story to its end: processes that live and die, clients, trouble, and peace."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from fairlead.dispatch import Dispatch
from fairlead.gateway import CUT, Answer, Call, Gateway
from fairlead.outside.journal import Journal
from fairlead.outside.signers import Signers
from fairlead.outside.store import Store
from fairlead.state import State
from fairlead.state.keys import ADD, Keys, list_keys
from fairlead.types.catalog import Catalog, Endpoint
from prove.simulation.again import IN_USE, Owed, with_forgetting, with_keys
from prove.simulation.chance import Chance
from prove.simulation.clients import Client
from prove.simulation.front import Front, Names
from prove.simulation.headroom import Headroom
from prove.simulation.invariants import Books, Broken, Request, must
from prove.simulation.loop import Stuck, VirtualLoop
from prove.simulation.machine import Crash, Machine
from prove.simulation.result import Result
from prove.simulation.stopping import TURNED_AWAY, Stop, with_stops
from prove.simulation.story import LIST, PEPPER, STARTS_S, Ask, Event, Story, tell
from prove.simulation.trouble import Trouble
from prove.simulation.vendors import Exchange, Vendors
from prove.simulation.watching import REQUEST, Watching
from prove.simulation.wire import Response

HANGS_S = 2_000.0
"""No client waits so long, whatever happens."""
CALM_S = 20.5
"""By then every breaker lets a probe through, and every short gate is open."""
SHORT_S = 15.0
"""A gate that is no longer than this."""
LONG_CALM_S = 90_000.0
"""By then a model that was gone may be asked again."""
MOST_AT_LAST = 3
"""Keys that are asked for once more."""
PATIENT: Mapping[str, Any] = {
    **dict.fromkeys(("leaves_s", "leaves_after", "idles_s", "body_after_s")),
    "dies_then": False,
}
LONG_WAYS = ("quota", "401", "404", "410")


class World:
    def __init__(self, seed: int, machine: Machine, served: bool) -> None:
        """``served``: callers come over the wire, and not to the gateway itself."""
        self.served = served
        self.story: Story = tell(seed)
        self.chance = Chance(f"world {seed}")
        self.machine = machine
        self.catalog: Catalog = self.story.catalog
        self.holders = {one.row.caller.id: one for one in self.story.holders}
        # Chances of their own: one draw more in the gateway leaves the rest of the world as it was.
        self.dice = Chance(f"{seed} dice").random
        self.vendors = Vendors(self.story.vendors, Chance(f"{seed} vendors"), REQUEST.get)
        self.vendors.began = self._began
        self.books = Books(machine, self._price)
        self.vendors.announced = self.books.announced
        self.owed = Owed(machine)
        if served:
            story, chance = self.story, Chance(f"{seed} again")
            story.asks = with_keys(story.asks, len(story.holders), story.storm_s, chance)
            story.events = with_forgetting(story.events, story.storm_s, chance)
            self.vendors.headroom = Headroom(Chance(f"{seed} headroom"))
            chance = Chance(f"{seed} stops")
            story.events = with_stops(story.events, story.asks, story.storm_s, chance)
        self.endpoints = {one.endpoint.name: one.endpoint for one in self.story.vendors}
        self.trace: list[tuple[float, str, str]] = []
        self.crashes = 0
        self.process: Process | None = None
        self.stopped_well = False
        """The last process ended by itself, on a disk that took what it had."""
        self.slack_s = _slack_s(self.story)

    def run(self) -> Result:
        machine, story = self.machine, self.story
        machine.boot(self.chance)
        machine.wall_s, machine.slow_disk_s = story.wall_s, story.slow_disk_s
        for holder in story.holders:
            caller = holder.row.caller
            lists = [
                msgspec.json.encode(names).decode()
                for names in (caller.routes, caller.models, caller.zones)
            ]
            limits = astuple(caller.limits)
            row = (caller.id, caller.name, holder.row.digest, *lists, *limits, 0)
            machine.disk.connection.execute(ADD, row)
        now_s = STARTS_S
        Broken.first = None
        with suppress(Broken):
            while (again_s := self._live_once(now_s)) is not None:
                now_s = again_s
        broken = str(Broken.first or "")
        self.note("end", broken)
        requests = self.books.requests.values()
        return Result(
            kind="served" if self.served else "world",
            seed=story.seed,
            requests=len(requests),
            sent=sum(len(one.sent) for one in requests),
            crashes=self.crashes,
            cancelled=sum(one.outcome in ("left", "cancelled") for one in requests),
            answered=sum(one.outcome == "ok" for one in requests),
            replayed=sum(one.outcome == "ok" and not one.sent for one in requests),
            broken=broken,
            trace=self.trace,
        )

    def note(self, what: str, detail: object = "") -> None:
        self.trace.append((round(self.machine.now_s(), 6), what, str(detail)))

    def _live_once(self, now_s: float) -> float | None:
        """One process, until the end or its crash; then when the next one starts."""
        story, machine = self.story, self.machine
        loop = VirtualLoop(Chance(self.chance.random()), now_s, story.late_s, story.round_s)
        machine.loop = loop
        trouble: list[str] = []
        loop.set_exception_handler(lambda _, context: trouble.append(str(context)))
        try:
            self.process = Process(self, loop)
            goes_on = loop.run_until_complete(self.process.live())
            must(not trouble, "nothing goes wrong unseen", "; ".join(trouble))
            if not goes_on:
                return None
            self.note("stopped")
            return loop.time() + self.chance.one_of((0.01, 0.5, 3.0))
        except Crash:
            self.crashes += 1
            self.note("crash")
            return loop.time() + self.chance.one_of((0.01, 0.5, 3.0))
        except Stuck as error:
            raise Broken("nothing hangs", str(error)) from error
        finally:
            if self.process is not None:
                self.process.die()
            try:
                loop.bury()
            except Stuck as error:
                raise Broken("what is cancelled ends", str(error)) from error

    def _price(self, exchange: Exchange) -> int | None:
        prices = self.endpoints[exchange.endpoint].model.prices
        if not prices or exchange.said is None:
            return None
        rates, said = prices[0].rates, exchange.said
        pico = said.input_tokens * (rates.input or 0) + said.output_tokens * (rates.output or 0)
        return -(-pico // 1_000)

    def _began(self, exchange: Exchange) -> None:
        self.note("sent", f"request {exchange.request} to {exchange.endpoint}: {exchange.how}")
        self.books.began(exchange)
        request = self.books.requests[exchange.request]
        if self.process is not None and self.process.stop is not None:
            self.process.stop.sends(request)
        if request.ask.key:
            self.owed.sends(request)

    def allowed(self, ask: Ask, holder_models: tuple[str, ...], zones: tuple[str, ...]) -> set[str]:
        """Where this request may go, by rules simpler than the gateway's."""
        asked = ask.model
        return {
            one.name
            for one in self.catalog.endpoints
            if asked in self.catalog.routes or asked in (one.name, one.model.name)
            if not holder_models or one.name in holder_models
            if not zones or one.zone in zones
            if not ask.zone or one.zone == ask.zone
        }


def _slack_s(story: Story) -> float:
    """By how much a request may end after its deadline: for what stood still around it."""
    stood_s = sum(one.amount for one in story.events if one.what in ("stall_loop", "stick_disk"))
    disk_s = 24 * (story.slow_disk_s + story.late_s)
    return 2.0 + stood_s + disk_s


class Process(Trouble):
    """The gateway's parts, from one start to the end, a stop or a crash."""

    def __init__(self, world: World, loop: VirtualLoop) -> None:
        self._world = world
        self._loop = loop
        machine = world.machine
        self.store = Store(Path("simulated.db"), loop)
        self.writer = machine.writer
        keys, self.names = Keys(PEPPER, list_keys(self.store)), Names()
        self.state = State(world.catalog, self.store, keys, world.dice, self.names)
        recovered = self.state.ledger.recover(machine.now_ms())
        world.note("start", f"{recovered} attempts were left open")
        must(not (recovered and world.stopped_well), "who stops leaves nothing open", "")
        world.stopped_well = False
        world.books.recovered()
        self.watching = Watching(world.books, self.state)
        env = {secret.env: secret.env for one in world.endpoints.values() for secret in one.secrets}
        dispatch = Dispatch(self.state, world.vendors, Signers(env, loop.time).sign, world.dice)
        self.gateway = Gateway(self.state, dispatch, (Journal(self.store), self.watching.told))
        self.front: Front | None = None
        self.stop: Stop | None = None
        self._cut = asyncio.Event()
        self._ended: asyncio.Future[None] = loop.create_future()
        if world.served:
            setattr(self.gateway, "answer", self._answer)  # noqa: B010 - an ear
        self._running = 0
        self._to_come = 0
        self._all_over: asyncio.Future[None] = loop.create_future()
        factory: Any = self._task
        loop.set_task_factory(factory)

    def die(self) -> None:
        self.watching.dead = True
        if self.writer is not None:
            self.writer.dead = True
        self._world.vendors.forget_connections()

    async def live(self) -> bool:
        """Until the end of the story, or True: it was told to stop before that."""
        if not self._world.served:
            await self._live()
            return False
        await self._serve()
        living = self._loop.create_task(self._live())
        await asyncio.wait((living, self._ended), return_when=asyncio.FIRST_COMPLETED)
        return living.cancel()

    async def _live(self) -> None:
        world, loop = self._world, self._loop
        for event in world.story.events:
            if event.at_s >= loop.time():
                loop.call_at(event.at_s, self._happens, event)
        for ask in world.story.asks:
            if ask.at_s >= loop.time():
                self._to_come += 1
                loop.call_at(ask.at_s, self._starts, ask)
        if self._to_come:
            try:
                await asyncio.wait_for(self._all_over, HANGS_S)
            except TimeoutError:
                hanging = [one.ask.number for one in self._unfinished()]
                raise Broken("nothing hangs", f"requests {hanging}") from None
        over_s = STARTS_S + world.story.storm_s
        await asyncio.sleep(max(0.0, over_s - loop.time()))
        if self.stop is not None:
            await self._ended
        await self._idle()
        await self._heal()
        await self._idle()

    def _task(self, loop: Any, coro: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **more)
        number = REQUEST.get(0)
        if number:
            self._world.books.requests[number].tasks.append(task)
        return task

    async def _serve(self) -> None:
        """As ``app.parts`` and ``app.upkeep`` do."""
        self.front = Front(self._loop, self.gateway, self.state)
        await self.front.open()
        self._world.owed.begins()
        self._forget_answers(0.0)

    def _tell_to_stop(self, amount: float) -> None:
        """By a signal; what follows is what ``app.parts`` does."""
        if self.front is None or self.stop is not None:
            if self.stop is not None and not self._cut.is_set():
                self.stop.again_s = self._loop.time()
                self._cut.set()
            return
        machine = self._world.machine
        delay_s = self._world.chance.one_of((0.0, 0.0, 0.3))
        self.stop = Stop(
            machine, self.front.site, self._loop.time(), delay_s, amount, self._world.slack_s
        )
        self._stopping = self._loop.create_task(self._stops(self.front, self.stop))

    async def _stops(self, front: Front, stop: Stop) -> None:
        world = self._world
        await front.listener.stop(stop.window_s, stop.delay_s, self._cut)
        await front.replays.close()
        await self.store.close()
        stop.is_over(world.vendors.open, world.books.unsettled)
        world.stopped_well = world.machine.disk.full_until_s < stop.told_s
        until_s = self._loop.time() + HANGS_S
        while self._running:
            await asyncio.sleep(0.05)
            must(self._loop.time() < until_s, "nothing hangs", f"{self._running} requests")
        self._ended.set_result(None)

    def _unfinished(self) -> list[Request]:
        return [one for one in self._world.books.requests.values() if one.finished_s is None]

    def _starts(self, ask: Ask) -> None:
        if self.watching.dead:
            return
        self._to_come -= 1
        self._running += 1
        task = self._asks(ask)
        if ask.leaves_s is not None:
            self._loop.call_later(ask.leaves_s, task.cancel)

    def _asks(self, ask: Ask) -> asyncio.Task[str]:
        world = self._world
        holder = world.story.holders[ask.holder]
        caller = holder.row.caller
        client = Client(ask, holder.key, lambda: request.texts)
        call = client.call(world.machine.now_ms(), self._loop.time())
        route = world.catalog.routes.get(ask.model)
        most, deadline_s = (route.max_attempts, route.deadline_s) if route else (3, 600.0)
        request = Request(
            ask=ask,
            caller=caller,
            arrived_s=call.arrived_s,
            allowed=world.allowed(ask, caller.models, caller.zones),
            most_attempts=most,
            deadline_s=deadline_s,
        )
        world.books.requests[ask.number] = request
        world.note("asks", f"request {ask.number} for {ask.model}, {caller.id}, {ask.dialect}")
        context = copy_context()
        context.run(REQUEST.set, ask.number)
        return self._loop.create_task(self._has(client, call, request), context=context)

    def _answer(self, call: Call) -> Coroutine[Any, Any, Answer]:
        """The gateway decides now, for one that the listener has read."""
        request = self._world.books.requests[REQUEST.get()]
        request.arrived_s = call.arrived_s
        self._decides(request)
        return Gateway.answer(self.gateway, call)

    def _decides(self, request: Request) -> None:
        """A reload may have come since it was asked."""
        caller = request.caller
        request.seen = True
        request.allowed = self._world.allowed(request.ask, caller.models, caller.zones)
        if not caller.has_budget:
            request.well = [name for name in request.allowed if self.watching.is_well(name)]

    async def _has(self, client: Client, call: Call, request: Request) -> str:
        outcome = "cancelled"
        try:
            if self.front is None:
                self._decides(request)
                outcome = await client.have(self.gateway, call)
            else:
                outcome = await self._has_from(self.front, client, request)
        except asyncio.CancelledError:
            if not self.watching.dead:
                stays = request.ask.leaves_s is None
                must(not stays, "who stays is not cancelled", call.request_id)
        except Exception as error:
            where = f"{call.request_id}: {error!r}"
            raise Broken("no error but the gateway's own", where) from error
        finally:
            if not self.watching.dead:
                self._finished(request, outcome, len(client.received))
        return outcome

    async def _has_from(self, front: Front, client: Client, request: Request) -> str:
        """Until the server has done with it as well."""
        owed, outcome, response = self._world.owed, "cancelled", Response()
        request.client = client
        turn = owed.asks(request, response) if request.ask.key else None
        if turn is not None:
            client.texts = lambda: owed.texts(turn)
        try:
            outcome = await client.have_from(front.site, response)
            if outcome == "ok":
                self._world.books.acknowledged(request)
                if turn is not None:
                    owed.acknowledged(turn)
                if request.ask.dies_then:
                    self._loop.call_soon(self._happens, Event(0.0, "crash"))
        except asyncio.CancelledError:
            if self.watching.dead or request.ask.leaves_s is None:
                raise
        await self._has_done(request)
        self._is_turned_away(request, outcome, response)
        if turn is not None:
            owed.over(turn, outcome, cut=self.stop is not None and self.stop.cuts)
        return outcome

    def _is_turned_away(self, request: Request, outcome: str, response: Response) -> None:
        where = f"request {request.ask.number}, {outcome}"
        must(outcome != "500", "no error but the gateway's own", where)
        shut = CUT.encode() in response.body
        if self.stop is not None:
            self.stop.ends(request, outcome, shut)
        else:
            must(not shut and outcome not in TURNED_AWAY, "who asks is answered", where)

    async def _has_done(self, request: Request) -> None:
        while left := [task for task in request.tasks if not task.done()]:
            try:
                done, _ = await asyncio.wait(left, timeout=HANGS_S)
            except asyncio.CancelledError:  # its caller's, who has left before
                if self.watching.dead:
                    raise
            else:
                must(bool(done), "nothing hangs", f"request {request.ask.number}: {left}")

    def _finished(self, request: Request, outcome: str, pieces: int) -> None:
        world, ask = self._world, request.ask
        world.note("ends", f"request {ask.number}: {outcome}")
        if outcome == "ok" and self.front is None:
            world.books.acknowledged(request)
        world.books.finished(request, outcome, world.slack_s + ask.slow_s * (pieces + 1))
        self._running -= 1
        if not self._running and not self._to_come and not self._all_over.done():
            self._all_over.set_result(None)

    async def _idle(self) -> None:
        """Nothing is left of any request once the disk had time."""
        machine = self._world.machine
        trouble_s = max(machine.stuck_until_s, machine.disk.full_until_s) - self._loop.time()
        await asyncio.sleep(max(0.0, trouble_s) + 5.0 + 4 * machine.slow_disk_s)
        ledger = self.state.ledger
        in_flight = len(self._world.vendors.open)
        self._world.books.idle(
            ledger.open_holds, ledger.repeated_settles, in_flight, self.store.rows_waiting
        )
        going_on = 0 if self.front is None else self.front.replays.going_on
        under_way = len(self.names.taken), going_on
        must(under_way == (0, 0), "nothing is being answered when idle", f"{under_way}")

    async def _heal(self) -> None:
        """Once all endpoints are well and time has passed, each answers the first who asks."""
        world = self._world
        exchanges = [one for each in world.story.vendors for one in each.exchanges]
        long = any(one.how in LONG_WAYS or (one.dry_s or 0.0) > SHORT_S for one in exchanges)
        calm_s = LONG_CALM_S if long else CALM_S
        await asyncio.sleep(calm_s)
        world.note("calm")
        world.machine.disk.crash_at_commit = 0
        holder = len(world.story.holders) - 1
        first = world.catalog.endpoints[0]
        if world.served and self.watching.is_well(first.name):
            asked = replace(_plain(first, holder), model=LIST)
            await self._asks_again(1_000, asked)
            whom = world.books.requests[1_000].sent[0].endpoint
            must(whom == first.name, "who is well again has its place", f"{first.name}, not {whom}")
        for number, endpoint in enumerate(world.catalog.endpoints, 1_001):
            outcome = await self._asks_again(number, _plain(endpoint, holder))
            must(outcome == "ok", "who is well again answers", f"{endpoint.name}: {outcome}")
        keyed = [one for one in world.story.asks if one.key and not one.says]
        for number, ask in enumerate(keyed[:MOST_AT_LAST], 1_100):
            outcome = await self._asks_again(number, replace(ask, says=ask.number, **PATIENT))
            must(outcome != IN_USE, "nothing is being answered when idle", f"{ask.key}")

    async def _asks_again(self, number: int, ask: Ask) -> str:
        self._running += 1
        self._to_come += 1  # nobody ends the wait for all
        return await self._asks(replace(ask, number=number))


def _plain(endpoint: Endpoint, holder: int) -> Ask:
    return Ask(
        number=0,
        at_s=0.0,
        holder=holder,
        dialect=endpoint.dialect,
        model=endpoint.name,
        stream=False,
        words=2,
        padding=0,
        max_tokens=None,
        zone="",
        leaves_s=None,
        leaves_after=None,
        slow_s=0.0,
    )


def simulate(seed: int, machine: Machine, served: bool = False) -> Result:
    return World(seed, machine, served).run()
