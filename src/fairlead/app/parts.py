"""One of each part, joined: started in order, stopped in reverse. Reads no configuration file."""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from socket import socket
from sys import stderr, stdout
from time import time
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import asdict

from fairlead import __version__
from fairlead.app.handover import Before, Others, Place
from fairlead.dispatch import Dispatch
from fairlead.gateway import Gateway
from fairlead.outside import descriptors, pepper
from fairlead.outside.claims import Claims
from fairlead.outside.config.settings import Listen, ServerSettings
from fairlead.outside.drains import Mark
from fairlead.outside.folder import Folder
from fairlead.outside.journal import Journal
from fairlead.outside.log import Log
from fairlead.outside.metrics import Live, Metrics
from fairlead.outside.signers import Signers
from fairlead.outside.store import Store
from fairlead.outside.upstream import HttpUpstream
from fairlead.server.admin import Admin
from fairlead.server.http import Listener
from fairlead.server.limits import Limits
from fairlead.server.replays import Replays
from fairlead.state import State
from fairlead.state.keys import Keys, any_in_force, list_keys
from fairlead.types.catalog import Catalog
from fairlead.types.errors import OurError
from fairlead.types.facts import Sink

OTHER_FILES = 100
"""Open at any time: the store, the log, the loop's own."""
USER_AGENT = f"fairlead/{__version__}"


class Running(Struct, frozen=True):
    """A gateway that serves."""

    address: str
    """Such as ``http://127.0.0.1:4600``."""
    state: State
    store: Store
    journal: Journal
    log: Log | None
    recovered: int
    """Attempts that a killed process had left open."""
    in_flight: Callable[[], int]
    """Requests being served."""
    before: int | None
    """The process whose place it has taken."""
    given: asyncio.Event
    """Its own place is another's now."""
    others: Others


@asynccontextmanager
async def running(
    catalog: Catalog,
    server: ServerSettings,
    folder: Folder,
    env: Mapping[str, str],
    cut: asyncio.Event | None = None,
    take_over: bool = False,
) -> AsyncGenerator[Running]:
    """Serve for as long as the context is open, and until what runs then has finished; once
    ``cut`` is set it is cut off. With ``take_over`` in the place of the process that serves the
    folder, if one does. Raises OurError when the folder is in use, when its keys have lost their
    pepper, or when other machines could call without a key; OSError when the address cannot be
    had."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        log = _log(server.log, stack)
        before = await Before.meet(folder, stack) if take_over else Before()
        stack.callback((mark := Mark(folder.path)).close)
        store = Store(folder.database, loop, lock=before.lock)
        stack.push_async_callback(store.close)
        state = _state(catalog, folder, store, server.listen, stack)
        others = Others(folder, store, state)
        others.recover(await before.hand_over(store))
        upstream = HttpUpstream(USER_AGENT)
        stack.push_async_callback(upstream.close)
        dispatch = Dispatch(state, upstream, Signers(env, loop.time).sign, random.random)

        journal = Journal(store)
        metrics = Metrics(_live(state, store, journal, log, lambda: listener))
        store.on_commit = metrics.committed
        sinks: tuple[Sink, ...] = (journal, metrics) if log is None else (journal, metrics, log)
        gateway = Gateway(state, dispatch, sinks)

        limits = _limits(server, descriptors.raised())
        state.answer_memory.most_bytes = limits.max_answer_bytes
        state.body_memory.most_bytes = limits.max_bodies_bytes
        admin = Admin(gateway, state, metrics.render, limits)
        replays = Replays(gateway, state.idempotency)
        stack.push_async_callback(replays.close)
        listener = Listener(gateway, admin, limits, replays, state.body_memory)
        admin.ready = lambda: not listener.leaving
        place = Place(folder, server.listen, store, state, listener, mark)
        stack.push_async_callback(place.close)  # later than the stop: who stops can be followed
        stack.push_async_callback(listener.stop, server.drain_s, server.drain_delay_s, cut)
        listener.load.on_busy = upstream.be_busy
        if log is not None:
            listener.load.tell = _warning(log)
        address = await _opened(listener, place, before, others, store, server.listen)
        yield Running(
            address=f"http://{address}",
            state=state,
            store=store,
            journal=journal,
            log=log,
            recovered=others.orphans,
            before=before.process,
            given=place.given,
            others=others,
            in_flight=lambda: listener.in_flight,
        )


def _state(
    catalog: Catalog, folder: Folder, store: Store, listen: Listen, stack: AsyncExitStack
) -> State:
    claims = Claims(folder.claims)
    stack.callback(claims.close)
    return State(catalog, store, _keys(folder, store, listen), random.random, claims)


def _limits(server: ServerSettings, files: int) -> Limits:
    """A request takes a connection of ours beside its caller's, and there are other files."""
    said = {name: value for name, value in asdict(server.limits).items() if value is not None}
    limits = Limits(**{"max_body_bytes": server.max_body_bytes, **said})
    fit = max(1, (files - OTHER_FILES) // 2)
    # A body that is larger than the memory for all of them would be told to come again for ever.
    largest = limits.max_body_bytes
    of_all = server.limits.max_bodies_bytes or max(limits.max_bodies_bytes, largest)
    return replace(
        limits,
        max_connections=min(limits.max_connections, fit),
        max_bodies_bytes=of_all,
        max_body_bytes=min(largest, of_all),
    )


def _warning(log: Log) -> Callable[[str], None]:
    return lambda line: log.note("warning", line, int(time() * 1000))


async def _opened(
    listener: Listener, place: Place, before: Before, others: Others, store: Store, at: Listen
) -> str:
    """The address. What may fail comes first; a socket that the other one has as well is listened
    on when that one has heard of it, and who connects meanwhile is in its queue."""
    sockets = before.sockets_for(at)
    address = "" if sockets else await _listen(listener, at)
    if not await before.is_over(store):
        others.recover(None)
    await place.open()
    return address or await _listen(listener, at, sockets)


async def _listen(listener: Listener, at: Listen, sockets: Sequence[socket] = ()) -> str:
    """The address with the port that was taken. Raises OSError with the address as its file."""
    try:
        return Listen(*await listener.start(at.host, at.port, sockets)).written
    except OSError as error:
        number = error.errno or 0
        said = os.strerror(number) if number > 0 else str(error.strerror)  # a name's are negative
        raise OSError(number, said, at.written) from error


def _keys(folder: Folder, store: Store, listen: Listen) -> Keys:
    rows = list_keys(store)
    keys = Keys(pepper.load(folder.pepper, in_use=any_in_force(rows)), rows)
    if not (listen.is_loopback or keys.exist):
        raise OurError(
            f"{listen.host} can be reached from other machines, and there are no keys:"
            " make one with `fairlead keys create NAME`, or listen on 127.0.0.1"
        )
    return keys


def _log(where: str, stack: AsyncExitStack) -> Log | None:
    """Raises OurError when the file cannot be opened."""
    if where == "none":
        return None
    standard: Mapping[str, BinaryIO] = {"stderr": stderr.buffer, "stdout": stdout.buffer}
    stream = standard.get(where)
    if stream is None:
        try:
            stream = Path(where).open("ab")  # noqa: SIM115 - the stack closes it
        except OSError as error:
            told = f"the log cannot be kept in {where}: {error.strerror}; server.log says where"
            raise OurError(told) from error
        stack.push(stream)
    return stack.enter_context(closing(Log(stream)))


def _live(
    state: State,
    store: Store,
    journal: Journal,
    log: Log | None,
    listener: Callable[[], Listener],
) -> Live:
    loop = asyncio.get_running_loop()
    return Live(
        vitals=lambda: state.health.vitals(loop.time()),
        in_flight=lambda: listener().in_flight,
        shed=lambda: listener().load.shed,
        answer_bytes=lambda: state.answer_memory.taken_bytes,
        body_bytes=lambda: state.body_memory.taken_bytes,
        open_holds=lambda: state.ledger.open_holds,
        rows_waiting=lambda: store.rows_waiting,
        records_lost=lambda: journal.lost + (log.lost if log else 0),
        generation=lambda: state.registry.catalog.generation,
    )
