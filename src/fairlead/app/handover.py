"""One process takes over from another: what each of the two does. Restarts cut nothing off."""

import asyncio
import json
import os
from asyncio import to_thread
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from logging import getLogger
from socket import socket
from time import monotonic, time

from fairlead.outside import database, drains
from fairlead.outside.config.settings import Listen
from fairlead.outside.drains import Mark
from fairlead.outside.folder import Folder
from fairlead.outside.handover import (
    Borrow,
    Door,
    Gone,
    Lent,
    Link,
    NotNow,
    Offer,
    Ready,
    Refused,
    Serving,
    TakeOver,
    Talk,
    Yours,
    asked,
)
from fairlead.outside.store import Store
from fairlead.server.http import Listener
from fairlead.state import State
from fairlead.state.ledger import SETTLED, Wanted
from fairlead.types.errors import OurError, OverBudget, Overloaded

log = getLogger("fairlead")

MUTE = "another server is using {}, and takes no other in its place: stop that one first"
AGAIN_S = 0.02
"""The one that serves may be about to change."""
GIVE_UP_S = 10.0
FIRST_WORD_S = 5.0
"""Who connects knows what it wants; but a busy machine may let it wait."""
TURN_S = 5.0
"""One that starts may take its time, but not another's that asks by then: that one waits for
GIVE_UP_S. To start takes a second."""
WAITS_S = 8.0
"""For the other one to serve, once all is its own. Requests wait meanwhile, as long as GIVE_UP_S,
so none of them need fail."""
LET_GO_S = 1.0
"""The system takes its time to close what a dead process had open."""
LOOK_S = 0.25


class Place:
    """Of the process that serves: it gives its place to the next one that asks for it."""

    def __init__(
        self,
        folder: Folder,
        listen: Listen,
        store: Store,
        state: State,
        listener: Listener,
        mark: Mark,
    ) -> None:
        self.given = asyncio.Event()
        """Another process serves."""
        self._folder = folder
        self._listen = listen
        self._store = store
        self._state = state
        self._ledger = state.ledger
        self._listener = listener
        self._mark = mark
        self._lends = False
        self._giving: asyncio.Task[object] | None = None
        self._offered_s: float | None = None
        """When we began to wait for the next one to be ready. None: we do not."""
        self._door = Door(folder.door, self._meet)

    async def open(self) -> None:
        """Where the folder takes no socket, one serves all the same."""
        try:
            await self._door.open()
        except OSError as error:
            log.warning("no other process can take over from this one: %s", error)

    async def close(self) -> None:
        """Whoever is about to take over may do so first."""
        if self._giving is not None:
            await asyncio.wait((self._giving,), timeout=GIVE_UP_S)
        await self._door.close()

    # As the ledger sees the process that serves, once that is another.

    def note(self, attempt_id: str) -> None:
        try:
            self._mark.add(attempt_id)
        except OSError as error:
            why = f"records cannot be stored now: {error.strerror}"
            raise Overloaded(why, retry_after_s=1) from error

    async def ask(self, wanted: Wanted) -> None:
        until_s = monotonic() + GIVE_UP_S
        wish = Borrow(*(getattr(wanted, name) for name in Borrow.__struct_fields__))
        while monotonic() < until_s:
            # It may be we who serve, again.
            answer = await asked(self._folder.door, wish) if self._lends else self._lent(wish)
            if isinstance(answer, Lent):
                return
            if isinstance(answer, Refused):
                raise OverBudget(answer.why, retry_after_s=answer.retry_after_s)
            await asyncio.sleep(AGAIN_S)
        raise Overloaded("no process that serves answers for the budgets", retry_after_s=1)

    # What others ask for.

    async def _meet(self, talk: Talk) -> None:
        message = await talk.hear(FIRST_WORD_S)
        try:
            if isinstance(message, TakeOver):
                await self._give(talk)
            elif isinstance(message, Borrow) and not self._lends:
                await talk.say(self._lent(message))
        except OSError:
            pass  # who asked is gone

    def _lent(self, wish: Borrow) -> Lent | Refused:
        wanted = Wanted(*(getattr(wish, name) for name in Wanted.__struct_fields__))
        try:
            self._ledger.grant(wanted, int(time() * 1000))
        except OverBudget as refusal:
            return Refused(refusal.message, refusal.retry_after_s)
        return Lent()

    async def _give(self, talk: Talk) -> None:
        await self._end_turn()
        if self._giving is not None or self._store.lock is None:
            await talk.say(Refused("another one is taking over", None))
            return
        self._giving = asyncio.current_task()
        self._offered_s = monotonic()
        try:
            listen = self._listen
            offer = Offer(os.getpid(), listen.host, listen.port)
            await talk.say(offer, [self._store.lock, *self._listener.listening()])
            ready = await talk.hear()
            self._offered_s = None
            if isinstance(ready, Ready):
                await self._give_all(talk)
        finally:
            self._giving = self._offered_s = None

    async def _end_turn(self) -> None:
        """Of one that has said nothing since it was made an offer, as one that hangs. Nothing is
        its own yet, and it learns that it is not heard any more."""
        giving, since_s = self._giving, self._offered_s
        if giving is not None and since_s is not None and monotonic() - since_s > TURN_S:
            giving.cancel()
            await asyncio.wait((giving,))

    async def _give_all(self, talk: Talk) -> None:
        self._lends = True
        try:
            self._mark.begin(self._ledger.open_attempts)
            self._ledger.lend(self)
            await self._store.flush()
            await talk.say(Yours(self._state.limits.levels()))
            if isinstance(await talk.hear(WAITS_S), Serving):
                await self._listener.hand_over()
                self._store.unlock()
                self.given.set()
        except (OSError, OurError) as error:
            with suppress(OSError):
                why = (error.strerror or "") if isinstance(error, OSError) else error.message
                await talk.say(Refused(why, None))
        finally:
            if not self.given.is_set():
                self._lends = False
                self._ledger.lend(None)
                with suppress(OSError):
                    self._mark.withdraw()
                await self.open()  # the other one may have put its door there


class Others:
    """As seen by the process that serves: those that handed over and finish what they had."""

    def __init__(self, folder: Folder, store: Store, state: State) -> None:
        self._folder = folder
        self._store = store
        self._ledger = state.ledger
        self._limits = state.limits
        self.orphans = 0
        """Attempts that a killed process had left open when we started."""

    def recover(self, yours: Yours | None) -> None:
        """At the start: take on what is ``yours`` to take on, and see ``Ledger.recover``. None: no
        process serves, or it has died since. Raises OurError when we have begun ourselves.
        Blocks."""
        if self._ledger.open_attempts:
            raise OurError("the process before this one died while this one began to serve")
        if yours is not None:
            self._limits.inherit(yours.limits)
        marks = drains.found(self._folder.path)
        alive = [each for mark in marks if mark.alive for each in mark.attempt_ids]
        dead = [each for mark in marks if not mark.alive for each in mark.attempt_ids]
        # Who was running before us has settled all other orphans, at its own start.
        known = None if yours is None else dead
        self.orphans += self._ledger.recover(int(time() * 1000), alive, known)

    async def follow(self, say: Callable[[str], None]) -> None:
        """Count what they settle, and what they leave behind, until none is left."""
        while marks := await to_thread(drains.found, self._folder.path):
            for mark in marks:
                # Only who serves knows what was granted.
                if not mark.alive and not self._ledger.lends:
                    await self._bury(mark, say)
            await self._read()
            await asyncio.sleep(LOOK_S)

    async def _bury(self, mark: drains.Found, say: Callable[[str], None]) -> None:
        orphans = await to_thread(self._ledger.bury, mark.attempt_ids, int(time() * 1000))
        if orphans:
            say(f"a process that was finishing its requests died; settled in full: {orphans}")
        await self._read()
        # What is not on disk now was not sent.
        self._ledger.follow([(each, 0) for each in mark.attempt_ids])
        await to_thread(mark.path.unlink, missing_ok=True)

    async def _read(self) -> None:
        if names := self._ledger.inherited:
            rows = await to_thread(self._store.read, SETTLED, (json.dumps(names),))
            self._ledger.follow(rows)


class Before:
    """As seen by the next process: the one that serves, of which it takes the place."""

    def __init__(
        self, link: Link | None = None, offer: Offer | None = None, lock: int | None = None
    ) -> None:
        """None: nobody serves."""
        self._link = link
        self._offer = offer
        self.lock = lock
        self._sockets: list[socket] = []
        if link is not None:
            self.lock, self._sockets = link.taken()

    @classmethod
    async def meet(cls, folder: Folder, stack: AsyncExitStack) -> "Before":
        """Raises OurError when it does not want to. One that is about to end, or has just begun,
        is waited for, and so is another that takes over from it."""
        until_s = monotonic() + GIVE_UP_S
        while True:
            link = await to_thread(Link.to, folder.door)
            try:
                if link is None:
                    return cls(lock=database.lock(folder.database))
                stack.callback(link.close)
                before = cls(link, await to_thread(link.take_over))
                stack.callback(before.close)
                return before
            except (Gone, NotNow, database.InUse) as error:
                if monotonic() > until_s:
                    raise OurError(MUTE.format(folder.path)) if link is None else error from error
            await asyncio.sleep(AGAIN_S)

    @property
    def process(self) -> int | None:
        return None if self._offer is None else self._offer.process

    def sockets_for(self, listen: Listen) -> list[socket]:
        """Its own, unless we are to listen elsewhere than it was."""
        if self._offer is None:
            return []
        if listen in (Listen(listen.host, 0), Listen(self._offer.host, self._offer.port)):
            return self._sockets
        self.close()
        return []

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    async def hand_over(self, store: Store) -> Yours | None:
        """Returns once all that it holds is on disk; None: it is dead. Raises OurError."""
        if self._link is None:
            return None
        try:
            await to_thread(self._link.say, Ready())
            return await to_thread(self._link.hear, Yours)
        except Gone as gone:
            await self._outlive(gone, store)
            return None

    async def is_over(self, store: Store) -> bool:
        """It may stop listening. False: it is dead, and may have served on until then. Raises
        OurError."""
        if self._link is None:
            return True
        try:
            await to_thread(self._link.say, Serving())
        except Gone as gone:
            await self._outlive(gone, store)
            return False
        return True

    async def _outlive(self, gone: Gone, store: Store) -> None:
        """Go on without it. Raises ``gone`` where it lives, and so goes on to serve."""
        self._link = None
        until_s = monotonic() + LET_GO_S
        while not store.is_alone():
            if monotonic() > until_s:
                raise gone
            await asyncio.sleep(AGAIN_S)
