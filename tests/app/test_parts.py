"""A gateway starts whole or not at all, and what it has begun it ends."""

import asyncio
import errno
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from msgspec.structs import asdict

from app.made import (
    ANYONE,
    asked,
    create_key,
    get,
    lines,
    revoke_key,
    rows,
    server,
    status,
)
from facts import NOON_MS, attempt
from fairlead.app.parts import Running, _limits, running
from fairlead.outside.config.settings import LimitSettings, ServerSettings
from fairlead.outside.folder import Folder
from fairlead.outside.store import Store
from fairlead.server.limits import Limits
from fairlead.state.ledger import Ledger
from fairlead.types.catalog import Catalog
from fairlead.types.errors import OurError
from servers.canned import OPENAI
from servers.scripted import Gate, Scripted, stream
from servers.setup import Setup

LEFT_OPEN = (
    "SELECT count(*) FROM intent LEFT JOIN settle USING (attempt_id)"
    " WHERE settle.attempt_id IS NULL"
)
A_WHILE_S, AT_ONCE_S = 0.1, 5.0
FRAMES = OPENAI["text"].frames


async def is_free(folder: Folder) -> None:
    """Raises OurError while a server has it."""
    await Store(folder.database, asyncio.get_running_loop()).close()


async def test_it_serves(catalog: Catalog, folder: Folder, setup: Setup) -> None:
    async with running(catalog, server(), folder, setup.secrets) as gateway:
        assert await status(gateway.address) == 200
        assert await get(f"{gateway.address}/readyz") == (200, {"status": "ready", "endpoints": 1})
    assert len(rows(folder, "SELECT * FROM settle")) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example.com"])
async def test_other_machines_may_not_call_without_a_key(
    host: str, catalog: Catalog, folder: Folder
) -> None:
    with pytest.raises(OurError, match="fairlead keys create"):
        async with running(catalog, server(host), folder, {}):
            pass

    await is_free(folder)


async def test_once_there_is_a_key_they_may(catalog: Catalog, folder: Folder, setup: Setup) -> None:
    key = create_key(folder)

    async with running(catalog, server("0.0.0.0"), folder, setup.secrets) as gateway:
        here = f"http://127.0.0.1:{urlsplit(gateway.address).port}"
        assert await status(here) == 401
        assert await status(here, key=key) == 200


async def test_keys_without_their_pepper_stop_the_start(catalog: Catalog, folder: Folder) -> None:
    create_key(folder)
    folder.pepper.unlink()

    with pytest.raises(OurError, match="pepper is missing"):
        async with running(catalog, server(), folder, {}):
            pass

    await is_free(folder)
    assert not folder.pepper.exists()


async def test_once_all_are_revoked_nobody_needs_the_old_pepper(
    catalog: Catalog, folder: Folder
) -> None:
    create_key(folder)
    revoke_key(folder)
    folder.pepper.unlink()

    async with running(catalog, server(), folder, {}) as gateway:
        assert await status(gateway.address) == 401


async def test_an_address_in_use_leaves_nothing_open(
    catalog: Catalog, folder: Folder, tmp_path: Path
) -> None:
    async with running(catalog, server(), Folder(tmp_path / "first"), {}) as first:
        port = urlsplit(first.address).port or 0
        with pytest.raises(OSError) as refused:  # noqa: PT011 - the number tells
            async with running(catalog, server(port=port), folder, {}):
                pass

        assert refused.value.errno == errno.EADDRINUSE
        assert refused.value.filename == f"127.0.0.1:{port}"
        await is_free(folder)
        assert (await get(f"{first.address}/healthz"))[0] == 200


async def test_a_folder_has_one_server(catalog: Catalog, folder: Folder) -> None:
    async with running(catalog, server(), folder, {}):
        with pytest.raises(OurError, match="another server is using"):
            async with running(catalog, server(), folder, {}):
                pass
    await is_free(folder)


async def test_what_a_killed_process_left_open_is_settled_once(
    catalog: Catalog, folder: Folder
) -> None:
    store = Store(folder.database, asyncio.get_running_loop())
    ledger = Ledger(store)
    for number in range(3):
        ledger.hold(f"r.{number}", "r", ANYONE, attempt(), NOON_MS)
    await store.close()  # as if killed: nothing is settled

    async with running(catalog, server(), folder, {}) as gateway:
        assert gateway.recovered == 3
    async with running(catalog, server(), folder, {}) as gateway:
        assert gateway.recovered == 0
    assert rows(folder, "SELECT DISTINCT basis FROM settle") == [("lease_expired_max",)]


async def refuses(gateway: Running) -> None:
    """Returns once no new connection is taken."""
    with suppress(aiohttp.ClientConnectionError):
        while True:
            await get(f"{gateway.address}/healthz")


async def test_a_stop_lets_a_stream_finish(
    catalog: Catalog, folder: Folder, setup: Setup, up: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlead.server.http.CUT_S", 0.01)  # what is cut does not get to its end
    gate = Gate()
    up.on("small", stream(*FRAMES[:2], gate, *FRAMES[2:]))
    whole = AsyncExitStack()
    gateway = await whole.enter_async_context(running(catalog, server(), folder, setup.secrets))
    async with asked(gateway.address, "small", stream=True) as response:
        began = await response.content.readany()
        stopping = asyncio.ensure_future(whole.aclose())
        await refuses(gateway)

        assert gateway.in_flight() == 1
        await asyncio.wait((stopping,), timeout=A_WHILE_S)
        assert not stopping.done()
        gate.open()
        ended = began + await response.content.read()

    await stopping
    assert ended.endswith(b"data: [DONE]\n\n")
    assert rows(folder, "SELECT basis FROM settle") == [("provider_usage",)]


async def test_a_stop_in_a_hurry_cuts_the_stream_and_settles_it(
    catalog: Catalog, folder: Folder, setup: Setup, up: Scripted
) -> None:
    up.on("small", stream(*FRAMES[:2], Gate()))
    whole, cut = AsyncExitStack(), asyncio.Event()
    context = running(catalog, server(), folder, setup.secrets, cut)
    gateway = await whole.enter_async_context(context)
    async with asked(gateway.address, "small", stream=True) as response:
        await response.content.readany()
        stopping = asyncio.ensure_future(whole.aclose())
        await refuses(gateway)
        cut.set()

        async with asyncio.timeout(AT_ONCE_S):
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()
            await stopping

    assert rows(folder, LEFT_OPEN) == [(0,)]
    await is_free(folder)


async def test_the_log_goes_to_a_file(
    catalog: Catalog, folder: Folder, setup: Setup, tmp_path: Path
) -> None:
    log = tmp_path / "requests.log"
    for _ in range(2):
        async with running(catalog, server(log=str(log)), folder, setup.secrets) as gateway:
            await status(gateway.address)

    assert [line["outcome"] for line in lines(log)] == ["ok", "ok"]


async def test_or_nowhere(
    catalog: Catalog, folder: Folder, setup: Setup, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(catalog, server(log="none"), folder, setup.secrets) as gateway:
        assert gateway.log is None
        assert await status(gateway.address) == 200
    assert capfd.readouterr() == ("", "")


async def test_a_log_that_cannot_be_written_stops_the_start(
    catalog: Catalog, folder: Folder, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "no" / "log")

    with pytest.raises(OurError, match=f"^the log cannot be kept in {nowhere}: No such file"):
        async with running(catalog, server(log=nowhere), folder, {}):
            pass


@pytest.mark.parametrize(
    ("said", "files", "connections"),
    [
        (LimitSettings(), 1_000_000, 10_000),
        (LimitSettings(), 1024, 462),
        (LimitSettings(max_connections=50), 1024, 50),
        (LimitSettings(max_connections=5000), 1024, 462),
        (LimitSettings(), 20, 1),
    ],
)
def test_no_more_connections_than_there_are_files_for(
    said: LimitSettings, files: int, connections: int
) -> None:
    settings = ServerSettings(limits=said, max_body_bytes=7)

    assert _limits(settings, files) == Limits(max_body_bytes=7, max_connections=connections)


@pytest.mark.parametrize(
    ("of_each", "of_all", "limits"),
    [
        (32 << 20, None, (32 << 20, 512 << 20)),
        (1 << 30, None, (1 << 30, 1 << 30)),
        (32 << 20, 64 << 20, (32 << 20, 64 << 20)),
        (32 << 20, 8 << 20, (8 << 20, 8 << 20)),
    ],
)
def test_a_body_that_is_within_the_limit_fits_into_the_memory_for_all(
    of_each: int, of_all: int | None, limits: tuple[int, int]
) -> None:
    said = LimitSettings(max_bodies_bytes=of_all)

    got = _limits(ServerSettings(limits=said, max_body_bytes=of_each), 1_000_000)

    assert (got.max_body_bytes, got.max_bodies_bytes) == limits


def test_what_is_said_of_limits_is_what_the_listener_goes_by() -> None:
    said = LimitSettings(1.0, 2.0, 3.0, 4.0, 5, 6, 7, 8, 9.0)

    limits = _limits(ServerSettings(limits=said), 1_000_000)

    assert {name: getattr(limits, name) for name in said.__struct_fields__} == asdict(said)
