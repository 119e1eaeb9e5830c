"""One gateway takes the place of another: what each keeps, and what if it does not come to it."""

import asyncio
import errno
import os
import socket
from asyncio import to_thread
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from app.made import asked, create_key, get, rows, server, status
from fairlead.app.parts import Running, running
from fairlead.outside import drains
from fairlead.outside.database import InUse, lock
from fairlead.outside.folder import Folder
from fairlead.outside.handover import (
    Door,
    Gone,
    Link,
    Message,
    NotNow,
    Offer,
    Ready,
    Serving,
    TakeOver,
    Talk,
    Yours,
)
from fairlead.outside.store import Store
from fairlead.types.catalog import Catalog
from fairlead.types.errors import OurError
from servers.canned import OPENAI
from servers.scripted import Gate, Scripted, reply, stream
from servers.setup import Setup

FRAMES = OPENAI["text"].frames
MOST_S = 10.0
A_WHILE_S = 0.1


@asynccontextmanager
async def serving(catalog: Catalog, folder: Folder, setup: Setup) -> AsyncIterator[Running]:
    async with running(catalog, server(), folder, setup.secrets) as gateway:
        yield gateway


async def is_given(gateway: Running) -> None:
    await asyncio.wait_for(gateway.given.wait(), MOST_S)


async def test_it_keeps_the_address(catalog: Catalog, folder: Folder, setup: Setup) -> None:
    async with serving(catalog, folder, setup) as old, AsyncExitStack() as stack:
        taking = running(catalog, server(), folder, setup.secrets, take_over=True)
        new = await stack.enter_async_context(taking)
        await is_given(old)

        assert new.address == old.address
        assert await status(new.address) == 200
        assert len(rows(folder, "SELECT * FROM settle")) == 1
    assert old.store.lock is None


async def test_or_another_that_it_is_told(catalog: Catalog, folder: Folder, setup: Setup) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    async with serving(catalog, folder, setup) as old, AsyncExitStack() as stack:
        at = server(port=free)
        taking = running(catalog, at, folder, setup.secrets, take_over=True)
        new = await stack.enter_async_context(taking)
        await is_given(old)

        assert urlsplit(new.address).port == free
        assert await status(new.address) == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await get(f"{old.address}/healthz")


async def test_one_that_dies_before_it_serves_changes_nothing(
    catalog: Catalog, folder: Folder, setup: Setup, up: Scripted
) -> None:
    gate = Gate()
    up.on("small", (gate, *reply({"error": {"message": "no"}}, status=500)), OPENAI["text"])
    key = create_key(folder)
    async with serving(catalog, folder, setup) as gateway:
        running_on = asyncio.create_task(status(gateway.address, key=key))
        await to_thread(up.wait_for, "small")
        link = await to_thread(Link.to, folder.door)
        assert link is not None
        with closing(link):
            assert isinstance(await to_thread(link.take_over), Offer)
            await to_thread(link.say, Ready())
            await to_thread(link.hear, Yours)
            (mark,) = drains.found(folder.path)
            assert (mark.alive, mark.attempt_ids) == (True, gateway.state.ledger.open_attempts)

            second = await to_thread(Link.to, folder.door)
            assert second is not None
            with closing(second), pytest.raises(OurError, match="another one"):
                await to_thread(second.take_over)

        async with asyncio.timeout(MOST_S):
            await gateway.others.follow(print)
        gate.open()
        assert await running_on == 200, "its second attempt needs nobody's leave"
        assert await status(gateway.address, key=key) == 200
        assert not gateway.given.is_set()
        again = await to_thread(Link.to, folder.door)
        assert again is not None
        with closing(again):
            assert isinstance(await to_thread(again.take_over), Offer)
    assert len(rows(folder, "SELECT * FROM settle")) == 3


@asynccontextmanager
async def taking(folder: Folder) -> AsyncIterator[Link]:
    """As the next process does, up to the moment when all is its own."""
    link = await to_thread(Link.to, folder.door)
    assert link is not None
    with closing(link):
        await to_thread(link.take_over)
        await to_thread(link.say, Ready())
        await to_thread(link.hear, Yours)
        yield link


async def test_who_asks_in_the_meantime_is_answered_by_the_one_that_goes_on(
    catalog: Catalog, folder: Folder, setup: Setup
) -> None:
    key = create_key(folder)
    async with serving(catalog, folder, setup) as gateway:
        async with taking(folder):
            late = asyncio.create_task(status(gateway.address, key=key))
            async with asyncio.timeout(MOST_S):
                while not gateway.state.ledger.open_attempts:  # noqa: ASYNC110
                    await asyncio.sleep(0)
        assert await late == 200
    assert rows(folder, "SELECT basis FROM settle") == [("provider_usage",)]


async def test_what_cannot_be_noted_is_not_sent(
    catalog: Catalog,
    folder: Folder,
    setup: Setup,
    up: Scripted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(mark: drains.Mark, attempt_id: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(drains.Mark, "add", full)
    async with (
        serving(catalog, folder, setup) as gateway,
        taking(folder),
        asked(gateway.address, "small") as response,
    ):
        told = await response.json()
        assert (response.status, told["error"]["code"]) == (503, "overloaded")
        assert "No space left on device" in told["error"]["message"]
    assert up.seen == []


async def test_several_that_start_at_once_come_one_after_the_other(
    catalog: Catalog, folder: Folder, setup: Setup
) -> None:
    async with AsyncExitStack() as stack:
        starts = [
            stack.enter_async_context(
                running(catalog, server(), folder, setup.secrets, take_over=True)
            )
            for _ in range(3)
        ]
        gateways = await asyncio.wait_for(asyncio.gather(*starts), MOST_S)

        assert sum(not gateway.given.is_set() for gateway in gateways) == 1
        assert len({gateway.address for gateway in gateways}) == 1
        assert await status(gateways[0].address) == 200


@pytest.mark.parametrize("said", [None, TakeOver()], ids=["nothing", "that it wants to"])
async def test_one_that_says_no_more_keeps_nobody_from_taking_over(
    catalog: Catalog,
    folder: Folder,
    setup: Setup,
    said: Message | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fairlead.app.handover.TURN_S", A_WHILE_S)
    async with serving(catalog, folder, setup) as old, AsyncExitStack() as stack:
        mute = await to_thread(Link.to, folder.door)
        assert mute is not None
        with closing(mute):
            if said is not None:
                assert isinstance(await to_thread(mute.take_over), Offer)
            taking = running(catalog, server(), folder, setup.secrets, take_over=True)
            new = await stack.enter_async_context(taking)
            await is_given(old)

            assert await status(new.address) == 200
            with pytest.raises(Gone):
                await to_thread(mute.hear, Yours)


async def refused(folder: Folder) -> str:
    """What a process is told that wants to take over."""
    link = await to_thread(Link.to, folder.door)
    assert link is not None
    with closing(link), pytest.raises(NotNow) as caught:
        await to_thread(link.take_over)
    return caught.value.message


async def test_one_that_starts_has_its_turn(
    catalog: Catalog, folder: Folder, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while; and for as long as it takes, once it has said that it is ready."""
    async with serving(catalog, folder, setup) as gateway:
        link = await to_thread(Link.to, folder.door)
        assert link is not None
        with closing(link):
            await to_thread(link.take_over)
            assert "another one is taking over" in await refused(folder)

            await to_thread(link.say, Ready())
            await to_thread(link.hear, Yours)
            monkeypatch.setattr("fairlead.app.handover.TURN_S", 0.0)
            assert "another one is taking over" in await refused(folder)
            await to_thread(link.say, Serving())
            await is_given(gateway)


async def test_who_says_nothing_is_not_listened_to_for_long(
    catalog: Catalog, folder: Folder, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlead.app.handover.FIRST_WORD_S", A_WHILE_S)
    async with serving(catalog, folder, setup):
        reader, writer = await asyncio.open_unix_connection(folder.door)
        with closing(writer):
            assert await asyncio.wait_for(reader.read(), MOST_S) == b""


async def test_one_that_nobody_can_follow_is_named(
    catalog: Catalog, folder: Folder, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlead.app.handover.GIVE_UP_S", A_WHILE_S)
    async with serving(catalog, folder, setup):
        folder.door.unlink()
        with pytest.raises(OurError, match="takes no other in its place: stop that one first"):
            async with running(catalog, server(), folder, setup.secrets, take_over=True):
                pass


async def test_one_that_hangs_is_not_waited_for(
    catalog: Catalog, folder: Folder, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlead.app.handover.WAITS_S", A_WHILE_S)
    async with serving(catalog, folder, setup) as gateway, taking(folder) as link:
        assert await status(gateway.address) == 200
        with pytest.raises(Gone):
            await to_thread(link.say, Serving())
        assert not gateway.given.is_set()


async def test_one_that_cannot_hand_over_says_why(
    catalog: Catalog, folder: Folder, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(mark: drains.Mark, attempt_ids: tuple[str, ...]) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(drains.Mark, "begin", full)
    async with serving(catalog, folder, setup) as gateway:
        with pytest.raises(OurError, match="does not hand over: No space left on device"):
            async with taking(folder):
                pass
        assert await status(gateway.address) == 200


class Other:
    """The one that serves, which leaves at a point of its choice."""

    def __init__(self, folder: Folder, last: type[Message]) -> None:
        self._folder, self._last = folder, last
        folder.path.mkdir()
        self._lock: int | None = lock(folder.database)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self._door = Door(folder.door, self._meet)
        self._mark = drains.Mark(folder.path)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Other"]:
        await self._door.open()
        with self.listening:
            yield self
        await self._door.close()
        self.die()

    def die(self) -> None:
        self._mark.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _meet(self, talk: Talk) -> None:
        assert self._lock is not None
        offer = Offer(7, *self.listening.getsockname())
        for heard, said in ((TakeOver, offer), (Ready, Yours([])), (Serving, None)):
            if heard is self._last:
                break
            assert isinstance(await talk.hear(), heard)
            if isinstance(said, Yours):
                self._mark.begin(("r1.1",))
            if said is not None:
                await talk.say(said, [self._lock, self.listening.fileno()] * (said is offer))


@pytest.mark.parametrize("before", [Ready, Serving])
async def test_one_that_dies_while_it_hands_over_is_outlived(
    catalog: Catalog,
    folder: Folder,
    setup: Setup,
    before: type[Message],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other, is_alone = Other(folder, before), Store.is_alone

    def goes_last(store: Store) -> bool:
        """The system closes one thing after the other."""
        alone = is_alone(store)
        other.die()
        return alone

    monkeypatch.setattr(Store, "is_alone", goes_last)
    async with other.open(), AsyncExitStack() as stack:
        starts = running(catalog, server(), folder, setup.secrets, take_over=True)
        gateway = await stack.enter_async_context(starts)

        assert urlsplit(gateway.address).port == other.listening.getsockname()[1]
        assert await status(gateway.address) == 200
        await asyncio.wait_for(gateway.others.follow(print), MOST_S)
        with pytest.raises(InUse):
            lock(folder.database)


@pytest.mark.parametrize("before", [Ready, Serving])
async def test_one_that_breaks_off_but_lives_is_left_alone(
    catalog: Catalog,
    folder: Folder,
    setup: Setup,
    before: type[Message],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fairlead.app.handover.LET_GO_S", A_WHILE_S)
    other = Other(folder, before)
    async with other.open():
        with pytest.raises(Gone, match="it broke off"):
            async with running(catalog, server(), folder, setup.secrets, take_over=True):
                pass
        with pytest.raises(InUse):
            lock(folder.database)


async def test_one_that_ends_may_be_followed_to_the_last(
    catalog: Catalog, folder: Folder, setup: Setup
) -> None:
    whole = AsyncExitStack()
    gateway = await whole.enter_async_context(serving(catalog, folder, setup))
    link = await to_thread(Link.to, folder.door)
    assert link is not None
    with closing(link):
        assert isinstance(await to_thread(link.take_over), Offer)
        ending = asyncio.ensure_future(whole.aclose())
        await asyncio.wait((ending,), timeout=A_WHILE_S)
        assert not ending.done()
        await to_thread(link.say, Ready())
        await to_thread(link.hear, Yours)
        await to_thread(link.say, Serving())
        await asyncio.wait_for(ending, MOST_S)

    assert gateway.given.is_set()
    assert [mark.alive for mark in drains.found(folder.path)] == [False]


async def test_one_that_ends_before_it_has_offered_anything_is_waited_for(
    catalog: Catalog, folder: Folder, setup: Setup
) -> None:
    met = asyncio.Event()

    async def hang_up(talk: Talk) -> None:
        met.set()

    folder.path.mkdir()
    door = Door(folder.door, hang_up)
    await door.open()
    async with AsyncExitStack() as stack:
        taking = running(catalog, server(), folder, setup.secrets, take_over=True)
        starting = asyncio.ensure_future(stack.enter_async_context(taking))
        await asyncio.wait_for(met.wait(), MOST_S)
        await door.close()

        gateway = await asyncio.wait_for(starting, MOST_S)
        assert gateway.before is None
        assert await status(gateway.address) == 200


async def test_only_who_serves_counts_what_the_dead_leave(
    catalog: Catalog, folder: Folder, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lends does not know what was granted since."""
    monkeypatch.setattr("fairlead.app.handover.LOOK_S", 0.001)
    looked: asyncio.Queue[None] = asyncio.Queue()
    async with serving(catalog, folder, setup) as gateway:
        loop, found = asyncio.get_running_loop(), drains.found

        def look(path: Path) -> list[drains.Found]:
            loop.call_soon_threadsafe(looked.put_nowait, None)
            return found(path)

        monkeypatch.setattr(drains, "found", look)
        mark = drains.Mark(folder.path)
        mark.begin(("r9.1",))
        mark.close()
        elsewhere: Any = object()
        gateway.state.ledger.lend(elsewhere)
        following = asyncio.create_task(gateway.others.follow(print))
        async with asyncio.timeout(MOST_S):
            for _ in range(3):
                await looked.get()
            assert len(found(folder.path)) == 1
            gateway.state.ledger.lend(None)
            await following
        assert found(folder.path) == []


async def test_what_nobody_grants_is_not_sent(
    catalog: Catalog,
    folder: Folder,
    setup: Setup,
    up: Scripted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one that took over was killed; the budgets are nobody's until the next start."""
    monkeypatch.setattr("fairlead.app.handover.GIVE_UP_S", 0.05)
    gate = Gate()
    up.on("small", (gate, *reply({"error": {"message": "no"}}, status=500)), OPENAI["text"])
    async with serving(catalog, folder, setup) as old:
        late = asyncio.create_task(status(old.address))
        await to_thread(up.wait_for, "small")
        async with running(catalog, server(), folder, setup.secrets, take_over=True):
            await is_given(old)
        gate.open()

        assert await late == 503
    assert len(up.seen) == 1
    assert sorted(rows(folder, "SELECT basis FROM settle")) == [("rejected_zero",)] * 2


async def test_it_counts_what_the_old_one_settles(
    catalog: Catalog, folder: Folder, setup: Setup, up: Scripted
) -> None:
    gate = Gate()
    up.on("small", stream(*FRAMES[:4], gate, *FRAMES[4:]))
    said: list[str] = []
    async with AsyncExitStack() as stack:
        async with (
            serving(catalog, folder, setup) as old,
            asked(old.address, "small", stream=True) as response,
        ):
            await response.content.readany()
            taking = running(catalog, server(), folder, setup.secrets, take_over=True)
            new = await stack.enter_async_context(taking)
            assert new.state.ledger.inherited == old.state.ledger.open_attempts
            assert (new.recovered, len(new.state.ledger.inherited)) == (0, 1)
            gate.open()
            await response.read()
        await asyncio.wait_for(new.others.follow(said.append), MOST_S)

        assert new.state.ledger.inherited == ()
    assert (said, drains.found(folder.path)) == ([], [])
