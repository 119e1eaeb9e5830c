"""The socket by which a process takes over: who may use it, what goes through it, what breaks."""

import asyncio
import os
import socket
import stat
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from fairlead.outside.handover import (
    Borrow,
    Door,
    Gone,
    Lent,
    Link,
    Offer,
    Ready,
    Refused,
    Serving,
    TakeOver,
    Talk,
    Yours,
    asked,
)
from fairlead.types.errors import OurError

YOURS = Yours([("k1", "tokens", 10**6, 10**24)])
WISH = Borrow("a.1", "k1", 100, 1000, None)


@asynccontextmanager
async def door(path: Path, meet: Callable[[Talk], Awaitable[None]]) -> AsyncIterator[Door]:
    made = Door(path, meet)
    await made.open()
    yield made
    await made.close()


async def nothing(talk: Talk) -> None:
    await talk.hear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "handover.sock"


@pytest.fixture
def short() -> float:
    """Patience that does not last."""
    return 0.05


def deep(tmp_path: Path) -> Path:
    """Where the system would not take an address of that length."""
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    return folder / "handover.sock"


@pytest.mark.parametrize("place", [lambda folder: folder / "handover.sock", deep])
async def test_lock_and_sockets_go_through_it(
    tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    path = place(tmp_path)
    heard: list[object] = []
    ended = asyncio.Event()
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)

    async def meet(talk: Talk) -> None:
        heard.append(await talk.hear())
        await talk.say(Offer(7, "127.0.0.1", 4600), [lock, listening.fileno()])
        heard.append(await talk.hear())
        await talk.say(YOURS)
        heard.append(await talk.hear())
        ended.set()

    def take() -> None:
        link = Link.to(path)
        assert link is not None
        with closing(link):
            assert link.take_over() == Offer(7, "127.0.0.1", 4600)
            same, sockets = link.taken()
            assert os.fstat(same).st_ino == os.fstat(lock).st_ino
            os.close(same)
            link.say(Ready())
            assert link.hear(Yours) == YOURS
            link.say(Serving())
            with sockets[0] as taken:
                assert taken.getsockname() == address

    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        async with door(path, meet):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            await to_thread(take)
            await asyncio.wait_for(ended.wait(), 5.0)
    os.close(lock)

    assert heard == [TakeOver(), Ready(), Serving()]
    assert not path.exists()


@pytest.mark.parametrize("answer", [Lent(), Refused("nothing left", 12.5)])
async def test_one_that_has_handed_over_can_ask(path: Path, answer: Lent | Refused) -> None:
    async def meet(talk: Talk) -> None:
        assert await talk.hear() == WISH
        await talk.say(answer)

    async with door(path, meet):
        assert await asked(path, WISH) == answer


async def test_where_nobody_serves_nobody_answers(path: Path) -> None:
    assert Link.to(path) is None
    assert await asked(path, WISH) is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # as a process leaves it that is killed

    assert Link.to(path) is None
    assert await asked(path, WISH) is None


async def test_one_that_hangs_up_is_an_answer_as_well(path: Path) -> None:
    async with door(path, nothing):
        assert await asked(path, WISH) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Refused("another one is taking over", None), "another one is taking over"),
        (Lent(), "it says Lent"),
        (None, "it broke off"),
    ],
)
async def test_a_take_over_that_fails_says_why(path: Path, said: object, told: str) -> None:
    async def meet(talk: Talk) -> None:
        await talk.hear()
        if isinstance(said, Refused | Lent):
            await talk.say(said)

    async with door(path, meet):
        link = await to_thread(Link.to, path)
        assert link is not None
        with closing(link), pytest.raises(OurError, match=told):
            await to_thread(link.take_over)


@pytest.mark.parametrize("said", [b"what?\n", b'{"type":"Unknown"}\n', b"", b"x" * 100_000])
async def test_nonsense_is_no_message(path: Path, said: bytes) -> None:
    heard = asyncio.get_running_loop().create_future()

    async def meet(talk: Talk) -> None:
        heard.set_result(await talk.hear())

    async with door(path, meet):
        _, writer = await asyncio.open_unix_connection(path)
        with closing(writer):
            writer.write(said)
            writer.write_eof()
            assert await heard is None


async def test_who_is_heard_no_more_is_told_so(path: Path, short: float) -> None:
    """Or both would serve: one because it said so, the other because it did not hear it."""
    heard = asyncio.get_running_loop().create_future()
    kept = asyncio.Event()

    async def meet(talk: Talk) -> None:
        heard.set_result(await talk.hear(short))
        await kept.wait()

    async with door(path, meet):
        link = await to_thread(Link.to, path)
        assert link is not None
        with closing(link):
            assert await heard is None
            with pytest.raises(Gone, match="does not hand over"):
                await to_thread(link.say, Serving())
        kept.set()


async def test_what_was_said_in_time_is_heard_by_one_that_was_stopped(
    path: Path, short: float
) -> None:
    loop = asyncio.get_running_loop()
    heard = loop.create_future()

    def stopped(until_s: float) -> None:
        assert link is not None
        link.say(Serving())
        while loop.time() < until_s:
            pass

    async def meet(talk: Talk) -> None:
        loop.call_soon(stopped, loop.time() + 2 * short)
        heard.set_result(await talk.hear(short))

    async with door(path, meet):
        link = Link.to(path)
        assert link is not None
        with closing(link):
            assert await heard == Serving()


async def test_a_door_comes_back_in_the_place_of_one_whose_process_died(path: Path) -> None:
    async def lends(talk: Talk) -> None:
        await talk.hear()
        await talk.say(Lent())

    ours = Door(path, lends)
    await ours.open()
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(f"{path}.other")
        os.rename(f"{path}.other", path)
    assert await asked(path, WISH) is None

    await ours.open()
    assert await asked(path, WISH) == Lent()
    await ours.close()
    await ours.open()
    assert await asked(path, WISH) is None, "once closed it stays closed"


async def test_the_next_door_takes_the_place_of_the_last(path: Path) -> None:
    """There is no moment without one, and the old one takes only its own away."""

    async def lends(talk: Talk) -> None:
        await talk.hear()
        await talk.say(Lent())

    async with door(path, lends):
        async with door(path, nothing):
            last = Door(path, lends)
            await last.open()
        assert await asked(path, WISH) == Lent()
    assert await asked(path, WISH) == Lent()
    await last.close()
    assert await asked(path, WISH) is None
