"""The ledger's file cannot be written for a while: another process has it, or the disk is full.

Nobody sees the end of an answer that is not on disk. Once that is known, nothing more is sent. When
the file can be written again, all is there that the upstream had answered.
"""

import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from http.client import IncompleteRead
from pathlib import Path
from time import monotonic

import pytest
from prove.bills import Bill, answer
from prove.books import Books

from servers.gateway import Gateway, create_key, gateway
from servers.plain import Got, ask, request, streaming
from servers.scripted import Gate, Script, Scripted, Seen, scripted
from servers.setup import Setup

MOST_S = 20.0
A_WHILE_S = 1.0
BLOCK_BYTES = 4096
BILL = Bill(plain=10, text=10)
COST_NANO_USD = 10 * 250 + 10 * 2000


Trouble = Callable[[Gateway], AbstractContextManager[None]]


def said(seen: Seen) -> Script:
    return answer("openai_chat", bool(seen.json.get("stream")), ["one ", "two "], BILL)


@pytest.fixture
def up() -> Iterator[Scripted]:
    with scripted() as upstream:
        upstream.on("first", said)
        yield upstream


@contextmanager
def locked(running: Gateway) -> Iterator[None]:
    path = running.data / "fairlead.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(running: Gateway) -> Iterator[None]:
    """None of the process's files can grow: to SQLite, a disk that takes no more."""
    log = running.data / "fairlead.db-wal"
    pid, unlimited = (
        running.process.pid,
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE),
    )
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (log.stat().st_size, unlimited[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)


@contextmanager
def no_room(running: Gateway) -> Iterator[None]:
    """Somebody else has taken what was left of the disk."""
    filler = running.data / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(BLOCK_BYTES))
    yield
    filler.unlink()


@pytest.fixture
def folder(tmp_path: Path, trouble: Trouble) -> Iterator[Path]:
    """A small disk of its own for the data, where that is to be full."""
    if trouble is not no_room:
        yield tmp_path
        return
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(data)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting takes a right that this user has not")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(data)], check=True)


@pytest.mark.parametrize("trouble", [locked, full, no_room])
def test_nothing_is_spent_unseen_while_the_ledger_cannot_be_written(
    folder: Path, up: Scripted, trouble: Trouble
) -> None:
    setup = Setup().endpoint("first", up.address, "openai_chat")
    hard = create_key(folder / "data", "hard", "--budget-day", "1")
    free = create_key(folder / "data", "free")
    books, gate = Books(folder / "data" / "fairlead.db"), Gate()

    with gateway(folder, setup.text(), setup.secrets) as running, ThreadPoolExecutor(3) as crowd:
        address = running.address
        before = [ask(address, "first", key=key) for key in (hard, free)]
        up.on("first", lambda seen: (gate, *said(seen)))
        whole = [crowd.submit(ask, address, "first", key=key) for key in (hard, free)]
        streaming = crowd.submit(streamed, address, free)
        up.wait_for("first", 5)
        with trouble(running):
            gate.open()
            noticed, stream = [one.result() for one in whole], streaming.result()
            then = hammered(address, (hard, free))
            assert len(up.seen) == 5
            assert breakers(address) == {"0.0"}
        after = until_it_works(address, (hard, free))
        until_settled(books)
        rows = books.rows()

    assert [got.status for got in before] == [200] * 2
    for got in (*noticed, *then):
        assert (got.status, got.json["error"]["code"]) == (503, "overloaded")
        assert got.headers["x-should-retry"] == "true"
    assert {got.headers["retry-after"] for got in then} == {"1"}
    assert b'"overloaded"' in stream
    assert b"[DONE]" not in stream
    keys = books.key_ids()
    paid = [row for row in rows if row.nano_usd]
    assert {row.nano_usd for row in paid} == {COST_NANO_USD}
    assert len(rows) == len(paid) == len(up.seen) == len(before) + 3 + len(after)
    assert books.balances_that_differ() == 0
    assert books.spent_nano_usd(keys["hard"]) == 3 * COST_NANO_USD


def hammered(address: str, keys: tuple[str, ...]) -> list[Got]:
    """For long enough to take an endpoint that says nothing for silent."""
    ends_s, got = monotonic() + A_WHILE_S, []
    while monotonic() < ends_s:
        got += [ask(address, "first", key=key) for key in keys]
    return got


def breakers(address: str) -> set[str]:
    """Closed, where endpoints are well."""
    lines = request("GET", f"{address}/metrics").body.decode().splitlines()
    return {line.split()[-1] for line in lines if line.startswith("fairlead_breaker_state{")}


def streamed(address: str, key: str) -> bytes:
    with streaming(address, "first", key=key) as response:
        try:
            return response.read()
        except IncompleteRead as broken:
            return broken.partial


def until_it_works(address: str, keys: tuple[str, ...]) -> list[Got]:
    """Within a second or two: what could not be written is tried again every second."""
    ends_s = monotonic() + MOST_S
    after = []
    for key in keys:
        while (got := ask(address, "first", key=key)).status == 503:
            assert monotonic() < ends_s
        after.append(got)
    assert [got.status for got in after] == [200] * len(keys)
    return after


def until_settled(books: Books) -> None:
    ends_s = monotonic() + MOST_S
    while books.open_intents():
        assert monotonic() < ends_s, books.rows()
