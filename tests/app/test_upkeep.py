"""A running gateway follows its file, its signal and its keys; what is wrong changes nothing. What
has been on record for long enough is removed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time

import pytest
from msgspec.structs import replace

from app.made import KNOWN, create_key, lines, revoke_key, rows, server, status
from fairlead.app import upkeep
from fairlead.app.parts import Running, running
from fairlead.app.sources import Sources, as_if_simulated
from fairlead.app.upkeep import Upkeep
from fairlead.outside.folder import Folder
from fairlead.outside.store import Store
from fairlead.outside.upstream import HttpUpstream
from fairlead.state.idempotency import KEEP_MS, asked
from fairlead.state.idempotency import Kept as Answered
from fairlead.state.keys import keys_version
from servers.canned import OPENAI
from servers.scripted import scripted
from servers.setup import Setup

HALF_A_SECOND = 0.5
MOST_S = 5.0


@dataclass
class Kept:
    """A gateway and who keeps it up to date."""

    gateway: Running
    upkeep: Upkeep
    setup: Setup
    config: Path
    folder: Folder
    said: list[str]
    told: asyncio.Event

    def write(self, text: str | None = None) -> None:
        self.config.write_text(self.setup.text() if text is None else text)

    def add_model(self) -> None:
        address = next(iter(self.gateway.state.registry.catalog.endpoints)).base_url
        self.setup.endpoint("other", address.removesuffix("/v1"), "openai_chat")
        self.write()

    async def next_said(self) -> None:
        self.told.clear()
        async with asyncio.timeout(MOST_S):
            await self.told.wait()

    @property
    def generation(self) -> int:
        return self.gateway.state.registry.catalog.generation

    @property
    def models(self) -> set[str]:
        return {each.model.name for each in self.gateway.state.registry.catalog.endpoints}


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    config, folder, said, told = tmp_path / "fairlead.yaml", Folder(tmp_path / "data"), [], None
    told = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    async with AsyncExitStack() as stack:
        up = stack.enter_context(scripted())
        for model in ("small", "other"):
            up.on(model, OPENAI["text"])
        setup = Setup().endpoint("small", up.address, "openai_chat")
        config.write_text(setup.text())
        upstream = HttpUpstream("fairlead-test")
        stack.push_async_callback(upstream.close)
        env = {name: "sk-canary" for name in ("KEY_SMALL", "KEY_OTHER")}
        sources = Sources(config, env, KNOWN, upstream.probe, as_if_simulated)
        loaded = await sources.load()
        settings = server(log=str(tmp_path / "log"))
        context = running(loaded.catalog, settings, folder, env)
        gateway = await stack.enter_async_context(context)
        upkeep = Upkeep(sources, gateway, loaded, say)
        yield Kept(gateway, upkeep, setup, config, folder, said, told)


@asynccontextmanager
async def chore(begun: "asyncio.Future[None]") -> AsyncIterator[None]:
    try:
        yield
    finally:
        begun.cancel()
        with suppress(asyncio.CancelledError):
            await begun


async def turns(kept: Kept, status_wanted: int, key: str = "") -> float:
    """Seconds until a request is answered like this."""
    began_s = monotonic()
    while await status(kept.gateway.address, key=key) != status_wanted:
        assert monotonic() < began_s + MOST_S
    return monotonic() - began_s


# The configuration.


async def test_a_reload_swaps_and_shows_the_difference(kept: Kept) -> None:
    assert await status(kept.gateway.address, "other") == 404
    kept.add_model()

    await kept.upkeep.reload()

    assert kept.models == {"small", "other"}
    assert kept.said == ["reloaded", "+ provider at-other: 1 endpoint"]
    assert await status(kept.gateway.address, "other") == 200


async def test_a_reload_without_a_change_says_so(kept: Kept) -> None:
    await kept.upkeep.reload()

    assert kept.said == ["reloaded: nothing has changed"]


async def test_each_reload_is_a_generation(kept: Kept) -> None:
    before = kept.generation

    await kept.upkeep.reload()
    await asyncio.gather(kept.upkeep.reload(), kept.upkeep.reload())

    assert kept.generation == before + 3


async def test_a_broken_file_changes_nothing_and_every_problem_is_told(kept: Kept) -> None:
    before = kept.generation
    kept.write("providers: {openai: {dialekt: x}}\nroutes: {fast: {modles: []}}\n")

    await kept.upkeep.reload()

    assert (kept.generation, kept.models) == (before, {"small"})
    assert await status(kept.gateway.address) == 200
    (told,) = kept.said
    assert "fairlead.yaml:1:" in told
    assert "fairlead.yaml:2:" in told
    assert told.endswith("the old one stays in force")


async def test_a_file_that_is_mended_is_taken_over(kept: Kept) -> None:
    kept.write("{")
    await kept.upkeep.reload()
    kept.add_model()

    await kept.upkeep.reload()

    assert kept.models == {"small", "other"}


async def test_what_is_opened_once_waits_for_the_next_start(kept: Kept) -> None:
    kept.write(kept.setup.text().replace('"discover": false', '"listen": "127.0.0.1:4601"'))

    await kept.upkeep.reload()

    assert "server.listen: takes effect at the next start" in kept.said


async def test_what_nobody_serves_is_a_warning(kept: Kept) -> None:
    kept.setup.endpoint("far", "http://127.0.0.1:9", "openai_chat").route("later", "far")
    kept.write()

    await kept.upkeep.reload()

    warned = [line for line in kept.said if line.startswith("warning: ")]
    assert any("KEY_FAR is not set" in line for line in warned)
    assert any("nothing serves `far`" in line for line in warned)


async def test_the_log_is_told_as_well(kept: Kept, tmp_path: Path) -> None:
    kept.write("provider: {}")
    await kept.upkeep.reload()
    kept.add_model()
    await kept.upkeep.reload()

    assert kept.gateway.log is not None
    await asyncio.to_thread(kept.gateway.log.close)
    told = [(line["level"], line["message"]) for line in lines(tmp_path / "log")]
    assert [level for level, _ in told] == ["error", "error", "info", "info"]
    assert told[1][1].endswith("unknown key `provider` (did you mean `providers`?)")
    assert told[-1] == ("info", "+ provider at-other: 1 endpoint")


async def test_the_file_is_followed_from_the_moment_it_was_read(kept: Kept) -> None:
    before = kept.config.read_text()
    kept.add_model()
    async with chore(asyncio.ensure_future(kept.upkeep.follow_file())):
        await kept.next_said()
        assert kept.models == {"small", "other"}

        kept.write(before)
        await kept.next_said()
        assert kept.models == {"small"}


async def test_a_file_that_stayed_as_it_was_is_not_read_again(kept: Kept) -> None:
    async with chore(asyncio.ensure_future(kept.upkeep.follow_file())):
        kept.write("{")
        await kept.next_said()

    assert len(kept.said) == 1


async def test_a_file_that_has_been_emptied_is_about_to_be_written(kept: Kept) -> None:
    """As it is, it would say: no provider, no route."""
    async with chore(asyncio.ensure_future(kept.upkeep.follow_file())):
        kept.write("{")
        await kept.next_said()
        kept.write("")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.next_said(), HALF_A_SECOND)
        assert kept.models == {"small"}

        kept.write("]")
        await kept.next_said()


async def test_the_signal_is_followed_each_time(kept: Kept) -> None:
    asked = asyncio.Event()
    async with chore(asyncio.ensure_future(kept.upkeep.follow_signal(asked))):
        for _ in range(2):
            asked.set()
            await kept.next_said()

    assert kept.said == ["reloaded: nothing has changed"] * 2


# Keys.


async def test_a_key_made_elsewhere_is_required_within_half_a_second(kept: Kept) -> None:
    async with chore(asyncio.ensure_future(kept.upkeep.follow_keys())):
        assert await status(kept.gateway.address) == 200
        key = create_key(kept.folder)

        assert await turns(kept, 401) < HALF_A_SECOND
        assert await status(kept.gateway.address, key=key) == 200


async def test_a_key_made_before_the_first_look_is_not_missed(kept: Kept) -> None:
    create_key(kept.folder)

    async with chore(asyncio.ensure_future(kept.upkeep.follow_keys())):
        await turns(kept, 401)


async def test_a_revoked_key_is_refused_and_leaves_no_open_door(kept: Kept) -> None:
    key = create_key(kept.folder)
    async with chore(asyncio.ensure_future(kept.upkeep.follow_keys())):
        await turns(kept, 401)
        assert await status(kept.gateway.address, key=key) == 200
        revoke_key(kept.folder)

        assert await turns(kept, 401, key) < HALF_A_SECOND
        assert await status(kept.gateway.address) == 401


async def test_keys_that_cannot_be_read_are_told_of_once(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    def look(store: Store) -> int:
        loop.call_soon_threadsafe(looked.release)
        return keys_version(store)

    monkeypatch.setattr(upkeep, "KEYS_EVERY_S", 0.01)
    monkeypatch.setattr(upkeep, "keys_version", look)
    database, away = kept.folder.database, kept.folder.path / "away"
    database.rename(away)

    async with chore(asyncio.ensure_future(kept.upkeep.follow_keys())), asyncio.timeout(MOST_S):
        for _ in range(5):
            await looked.acquire()
        away.rename(database)
        while "keys can be read again" not in kept.said:
            await kept.next_said()

    assert kept.said == [
        "error: keys cannot be read, the known ones stay: unable to open database file",
        "keys can be read again",
    ]


# Old records.


def on_record(kept: Kept) -> dict[str, int]:
    return {
        table: len(rows(kept.folder, f"SELECT * FROM {table}"))  # noqa: S608 - of this file
        for table in ("exchange", "intent", "settle", "spend")
    }


async def test_records_are_kept_for_their_time(kept: Kept) -> None:
    assert await status(kept.gateway.address) == 200
    await kept.gateway.store.flush()

    await kept.upkeep.forget()

    assert on_record(kept) == {"exchange": 1, "intent": 1, "settle": 1, "spend": 2}
    assert kept.said == []


async def test_then_they_go_but_not_what_was_spent(kept: Kept) -> None:
    assert await status(kept.gateway.address) == 200
    await kept.gateway.store.flush()
    kept.write(kept.setup.text().replace('"discover": false', '"keep": "1ms"'))
    await kept.upkeep.reload()

    async with chore(asyncio.ensure_future(kept.upkeep.forget_daily())):
        await kept.next_said()

    assert on_record(kept) == {"exchange": 0, "intent": 0, "settle": 0, "spend": 2}
    assert kept.said[-1] == "removed from the records, older than server.keep: 3 rows"


async def test_kept_answers_go_after_a_day(kept: Kept) -> None:
    idempotency, store = kept.gateway.state.idempotency, kept.gateway.store
    old = Answered("r1", int(time() * 1000) - KEEP_MS - 1, False, {}, b"Yes.")
    await idempotency.keep(asked("k1", "old", b""), old)
    await idempotency.keep(asked("k1", "new", b""), replace(old, at_ms=int(time() * 1000)))

    async with chore(asyncio.ensure_future(kept.upkeep.forget_answers())), asyncio.timeout(MOST_S):
        while True:
            names = [row["name"] for row in store.read("SELECT name FROM kept_answer")]
            if len(names) == 1:
                break
            await asyncio.sleep(0)

    assert names == [asked("k1", "new", b"").name]


async def test_kept_answers_that_cannot_be_removed_are_told(kept: Kept) -> None:
    kept.gateway.store.write("DROP TABLE kept_answer")

    async with chore(asyncio.ensure_future(kept.upkeep.forget_answers())):
        await kept.next_said()

    assert kept.said == [
        "error: kept answers stay, they cannot be removed: no such table: kept_answer"
    ]


async def test_what_cannot_be_removed_is_told_and_stays(kept: Kept) -> None:
    kept.gateway.store.write("ALTER TABLE exchange RENAME TO elsewhere")

    await kept.upkeep.forget()

    assert kept.said == ["error: old records stay, they cannot be removed: no such table: exchange"]
