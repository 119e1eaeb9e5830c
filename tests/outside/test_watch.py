"""A changed file is noticed, however it was changed, and nothing else is."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from fairlead.outside import watch
from fairlead.outside.watch import changes

PATIENCE_S = 10.0
SETTLED_MS = 10
QUIET_S = 0.1
NEVER_S = 3600.0


class Watched:
    """A file with a watch on it that stands already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._noticed = asyncio.Condition()
        self._task = asyncio.create_task(self._count(changes(path, SETTLED_MS, NEVER_S)))

    async def _count(self, noticed: AsyncGenerator[None]) -> None:
        async for _ in noticed:
            async with self._noticed:
                self.count += 1
                self._noticed.notify_all()

    async def stand(self) -> None:
        """Change the file until that is noticed: then the watch stands."""
        turn = 0
        while self.count == 0:
            turn += 1
            self.path.write_text("x" * turn)
            try:
                await self.next(QUIET_S)
            except TimeoutError:
                continue
        await self.quiet()

    async def next(self, within_s: float = PATIENCE_S) -> None:
        count = self.count
        async with self._noticed, asyncio.timeout(within_s):
            await self._noticed.wait_for(lambda: self.count > count)

    async def quiet(self) -> None:
        """Everything until now has been told."""
        while True:
            try:
                await self.next(QUIET_S)
            except TimeoutError:
                return

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    file = Watched(tmp_path / "fairlead.yaml")
    await file.stand()
    yield file
    await file.close()


async def test_written_in_place(watched: Watched) -> None:
    watched.path.write_text("another content")

    await watched.next()


async def test_replaced_by_another_file(watched: Watched) -> None:
    draft = watched.path.with_name("draft")
    draft.write_text(watched.path.read_text())  # the same content: it is another file
    await watched.quiet()

    draft.replace(watched.path)

    await watched.next()


async def test_moved_away_and_written_anew(watched: Watched) -> None:
    watched.path.rename(watched.path.with_name("fairlead.yaml~"))
    watched.path.write_text("another content")

    await watched.next()


async def test_removed_and_created(watched: Watched) -> None:
    watched.path.unlink()
    await watched.next()

    watched.path.write_text("anew")

    await watched.next()


async def test_a_burst_is_told_once(watched: Watched) -> None:
    count = watched.count
    for turn in range(50):  # nothing else runs meanwhile, so it is looked at when all are done
        watched.path.write_text("line\n" * turn)

    await watched.next()
    await watched.quiet()

    assert watched.count == count + 1


async def test_a_file_that_is_being_written_is_told_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emptied, then written in two pieces; meanwhile other files make us look."""
    states = [(1, 1, size, size) for size in (900, 0, 400, 900, 900)]
    looks = iter(states)
    monkeypatch.setattr(watch, "_mark", lambda _: next(looks, states[-1]))
    told = changes(tmp_path / "fairlead.yaml", SETTLED_MS, look_anyway_s=0.01)

    await asyncio.wait_for(anext(told), PATIENCE_S)
    await told.aclose()

    assert next(looks, None) is None


async def test_other_files_are_none_of_its_business(watched: Watched) -> None:
    count = watched.count
    watched.path.with_name("other.yaml").write_text("x")
    watched.path.with_name(".fairlead.yaml.swp").write_text("x")
    watched.path.read_text()

    await watched.quiet()

    assert watched.count == count


async def test_a_mounted_folder_is_swapped_by_a_link(tmp_path: Path) -> None:
    """As Kubernetes does it: the file is a link through ``..data``, which is a link too."""
    for name in ("..one", "..two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fairlead.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "fairlead.yaml").symlink_to("..data/fairlead.yaml")
    watched = Watched(tmp_path / "fairlead.yaml")

    async with asyncio.timeout(PATIENCE_S):
        turns = iter(["..two", "..one"] * 1000)
        while watched.count == 0:  # until the watch stands, a swap may go unseen
            (tmp_path / "..data_tmp").symlink_to(next(turns))
            (tmp_path / "..data_tmp").replace(tmp_path / "..data")
            try:
                await watched.next(QUIET_S)
            except TimeoutError:
                continue
    await watched.close()


async def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    noticed = changes(tmp_path / "later" / "fairlead.yaml", SETTLED_MS, 0.02)
    first = asyncio.ensure_future(anext(noticed))
    await asyncio.sleep(0)  # for the look before

    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "fairlead.yaml").write_text("x")

    await asyncio.wait_for(first, PATIENCE_S)
    await noticed.aclose()


async def test_a_folder_that_goes_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "fairlead.yaml"
    path.parent.mkdir()
    noticed = changes(path, SETTLED_MS, 0.02)
    for content in ("one", "two"):
        first = asyncio.ensure_future(anext(noticed))
        await asyncio.sleep(0)
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        await asyncio.wait_for(first, PATIENCE_S)

        gone = asyncio.ensure_future(anext(noticed))
        path.unlink()
        path.parent.rmdir()
        await asyncio.wait_for(gone, PATIENCE_S)
    await noticed.aclose()


async def test_what_is_not_reported_is_found_by_looking(tmp_path: Path) -> None:
    """The file is a link to a folder that nobody watches."""
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    real = tmp_path / "far" / "real.yaml"
    real.write_text("x")
    (tmp_path / "near" / "fairlead.yaml").symlink_to(real)
    noticed = changes(tmp_path / "near" / "fairlead.yaml", SETTLED_MS, 0.02)
    first = asyncio.ensure_future(anext(noticed))
    await asyncio.sleep(0)

    real.write_text("another content")

    await asyncio.wait_for(first, PATIENCE_S)
    await noticed.aclose()


async def test_it_ends_when_it_is_cancelled(watched: Watched) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await watched.close()
