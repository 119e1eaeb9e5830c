"""``fairlead serve``, but for what it prints: load, run, keep up to date, stop when told."""

import asyncio
import gc
import signal
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import FrameType

import uvloop
from msgspec import Struct
from msgspec.structs import replace

from fairlead.app.parts import USER_AGENT, Running, running
from fairlead.app.sources import Loaded, Sources
from fairlead.app.upkeep import Say, Upkeep
from fairlead.outside.config import Catalogue
from fairlead.outside.config.settings import Listen, ServerSettings
from fairlead.outside.folder import Folder
from fairlead.outside.simulated.providers import SimulatedProviders
from fairlead.outside.upstream import HttpUpstream
from fairlead.types.catalog import Endpoint

COLLECTED = (100_000, 20, 50)
"""Thresholds of the cycle collector (``gc.set_threshold``). What a request makes is freed without
it, but with the usual 700 it looks through what waits for the disk many times: a twentieth of all
CPU. Requests leave hardly any cycles behind."""
STOPPING = (signal.SIGINT, signal.SIGTERM)


class Serving(Struct, frozen=True):
    """What the command line and the environment say. None: as the configuration has it."""

    config: Path | None
    env: Mapping[str, str]
    catalogue: Catalogue
    listen: Listen | None = None
    data: Path | None = None
    take_over: bool = False
    """In the place of the process that serves this folder, if one does."""
    watched: bool = False
    """What we say and what goes to standard error is read on one terminal."""


def serve(serving: Serving, started: Callable[[Loaded, Running], None], say: Say) -> None:
    """Serve until SIGTERM or SIGINT; a second one cuts off what still runs. ``started`` is told
    once, ``say`` of what happens later.

    Raises ConfigError, OurError and OSError when it cannot start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(serving, started, say))


async def _serve(serving: Serving, started: Callable[[Loaded, Running], None], say: Say) -> None:
    async with AsyncExitStack() as stack:
        told = stack.enter_context(_signals())
        try:
            async with _broken_off_by(told.stop):
                source = await stack.enter_async_context(sources(serving))
                loaded = await source.load()
                server = _server(serving, loaded.settings.server)
                to_the_end = await stack.enter_async_context(_ended_last())
                starts = running(
                    *(loaded.catalog, server, Folder(Path(server.data)), serving.env),
                    *(told.cut, serving.take_over),
                )
                gateway = await stack.enter_async_context(starts)
        except BrokenOff:
            say("stopped before it served")
            return
        started(loaded, gateway)
        # What lives from here to the end need not be looked at by every collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTED)
        twice = serving.watched and server.log in ("stderr", "stdout")
        noted = replace(gateway, log=None) if twice else gateway
        upkeep = Upkeep(source, noted, loaded, say)
        chores = [
            asyncio.ensure_future(chore)
            for chore in (
                upkeep.follow_file(),
                upkeep.follow_signal(told.again),
                upkeep.forget_daily(),
                upkeep.follow_others(),
                _then(gateway.given, told.stop),
                upkeep.forget_answers(),
            )
        ]
        # A key that is revoked while answers finish opens nothing either.
        to_the_end.append(asyncio.ensure_future(upkeep.follow_keys()))
        await _until(told.stop, [*chores, *map(asyncio.shield, to_the_end)])
        if gateway.given.is_set():
            say("another process has taken over")
        if count := gateway.in_flight():
            requests = "1 request has" if count == 1 else f"{count} requests have"
            say(f"stopping once {requests} ended; Ctrl-C cuts off what still runs")


class BrokenOff(Exception):
    pass


@asynccontextmanager
async def _broken_off_by(stop: asyncio.Event) -> AsyncGenerator[None]:
    """What waits for another process, or for endpoints, stops at once. Raises BrokenOff."""
    try:
        async with asyncio.timeout(None) as limit:
            watching = asyncio.ensure_future(_expire(limit, stop))
            try:
                yield
            finally:
                watching.cancel()
    except TimeoutError as error:
        if limit.expired():
            raise BrokenOff from error
        raise


async def _expire(limit: asyncio.Timeout, stop: asyncio.Event) -> None:
    await stop.wait()
    limit.reschedule(asyncio.get_running_loop().time())


@asynccontextmanager
async def _ended_last() -> AsyncGenerator[list["asyncio.Future[None]"]]:
    """What is put into it goes on until then."""
    going_on: list[asyncio.Future[None]] = []
    try:
        yield going_on
    finally:
        await _cancelled(going_on)


@asynccontextmanager
async def sources(serving: Serving) -> AsyncGenerator[Sources]:
    """With the simulated providers, which start when they are asked for and stop at the end."""
    simulated, probe = SimulatedProviders(), HttpUpstream(USER_AGENT)

    async def simulate() -> Sequence[Endpoint]:
        if not simulated.addresses:
            await simulated.start()
        return simulated.endpoints()

    try:
        yield Sources(serving.config, serving.env, serving.catalogue, probe.probe, simulate)
    finally:
        await simulated.stop()
        await probe.close()


def _server(serving: Serving, settings: ServerSettings) -> ServerSettings:
    return replace(
        settings,
        listen=serving.listen or settings.listen,
        data=str(serving.data or settings.data),
    )


class Told(Struct, frozen=True):
    """What signals told us; each is set from the first time on."""

    stop: asyncio.Event
    cut: asyncio.Event
    """Told to stop once more: whoever watches does not want to wait."""
    again: asyncio.Event
    """Read everything again."""


@contextmanager
def _signals() -> Iterator[Told]:
    """From its end on all are ignored: nothing is left to stop, and what a signal does by default,
    or what a loop does to its handlers when it closes, would make a clean end look like a death."""
    loop = asyncio.get_running_loop()
    told = Told(asyncio.Event(), asyncio.Event(), asyncio.Event())

    def interrupt() -> None:
        (told.cut if told.stop.is_set() else told.stop).set()

    def soon(callback: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        def handler(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(callback)

        return handler

    for number in STOPPING:
        signal.signal(number, soon(interrupt))
    signal.signal(signal.SIGHUP, soon(told.again.set))
    try:
        yield told
    finally:
        for number in (*STOPPING, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


async def _until(stop: asyncio.Event, chores: Sequence["asyncio.Future[None]"]) -> None:
    """Raises what a chore raises: a gateway that nobody keeps up to date must not seem well."""
    told = asyncio.ensure_future(_until_set(stop))
    waiting = {told, *chores}
    try:
        while not told.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
    finally:
        await _cancelled(waiting)


async def _cancelled(tasks: Collection["asyncio.Future[None]"]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


async def _then(first: asyncio.Event, second: asyncio.Event) -> None:
    await first.wait()
    second.set()


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
