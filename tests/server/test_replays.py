"""Asking again with the same ``Idempotency-Key``: one answer, paid once."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from fairlead.server import replays
from fairlead.types.decision import Limits as KeyLimits
from fairlead.types.facts import Exchanged, Refused
from servers import canned
from servers.inprocess import LIST, Got, Served, at, serving
from servers.scripted import End, Gate, Script, Scripted, Seen, Step, reply, stream

KEY = {"idempotency-key": "order-7"}
PLENTY = KeyLimits(budget_day_nano_usd=10**9)
MOST_S = 5.0
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GOOD = canned.OPENAI["text"]


def body(text: str = "Hello.", streams: bool = False, model: str = "a") -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"model": model, "max_tokens": 99, "stream": streams, "messages": [message]}


def written(asked: Mapping[str, Any]) -> bytes:
    return json.dumps(asked).encode()


async def ask(
    served: Served, text: str = "Hello.", *, path: str = CHAT, streams: bool = False, **more: str
) -> Got:
    headers = KEY | {name.replace("_", "-"): value for name, value in more.items()}
    return await served.request("POST", path, body(text, streams), headers)


def fairlead_headers(got: Got) -> dict[str, str]:
    ours = {name: value for name, value in got.headers.items() if name.startswith("x-fairlead-")}
    return ours | {"x-fairlead-request-id": "", "content-type": got.headers["content-type"]}


def spent(served: Served) -> list[tuple[Any, ...]]:
    return served.rows("SELECT nano FROM settle")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(MOST_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0)


def told(served: Served, what: type[Exchanged] | type[Refused]) -> bool:
    return any(isinstance(fact, what) for fact in served.facts)


async def leave(served: Served, streams: bool, after: bytes = b"") -> Seen:
    """Ask and break the connection off, once ``after`` has come."""
    data = written(body(streams=streams))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(served.head(data, CHAT, **{"idempotency-key": "order-7"}) + data)
    seen = await asyncio.to_thread(served.up.wait_for, "a")
    if after:
        await reader.readuntil(after)
    writer.transport.abort()
    return seen


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_who_asks_again_gets_the_same_answer_and_nobody_pays_twice(
    up: Scripted, tmp_path: Path, path: str, streams: bool
) -> None:
    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        first = await ask(served, path=path, streams=streams)
        again = [await ask(served, path=path, streams=streams) for _ in range(2)]
        record = await served.record()
        charged = spent(served)

    first_id = first.headers["x-fairlead-request-id"]
    assert first.status == 200
    assert "x-fairlead-replayed" not in first.headers
    for got in again:
        assert (got.status, got.whole, got.body) == (200, True, first.body)
        replayed = {"x-fairlead-replayed": first_id}
        assert fairlead_headers(got) == fairlead_headers(first) | replayed
    assert len({got.headers["x-fairlead-request-id"] for got in (first, *again)}) == 3
    assert (len(up.seen), len(charged)) == (1, 1)
    assert [(one.outcome, one.attempts, one.cost_nano) for one in record] == [
        ("ok", 1, charged[0][0]),
        ("ok", 0, 0),
        ("ok", 0, 0),
    ]
    assert (record[1].route, record[1].task) == (first.headers["x-fairlead-route"], "")
    assert record[1].reason == f"the answer to request {first_id}, replayed"
    assert not any("idempotency-key" in seen.headers for seen in up.seen)


async def test_without_the_header_nothing_is_kept(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        await served.ask("a")
        await served.ask("a")
        kept = served.rows("SELECT * FROM kept_answer")

    assert (len(up.seen), kept) == (2, [])


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize(
    "other", [{"text": "Good bye."}, {"x_fairlead_zone": "cloud"}, {"streams": True}]
)
async def test_another_request_needs_another_key(
    up: Scripted, tmp_path: Path, path: str, other: Mapping[str, Any]
) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        await ask(served, path=path)
        got = await ask(served, path=path, **other)
        record = await served.record()

    assert (got.status, got.headers["x-should-retry"]) == (422, "false")
    assert "idempotency-key was used for another request" in got.json["error"]["message"]
    assert (record[-1].outcome, record[-1].code) == ("refused", "idempotency_key_reused")
    assert len(up.seen) == 1


async def test_what_is_no_key_is_refused(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await ask(served, idempotency_key="x" * 256)

    assert (got.status, got.json["error"]["param"]) == (400, "idempotency-key")
    assert up.seen == []


async def test_a_stranger_gets_no_answer(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        await ask(served)
        served.key = ""
        got = await ask(served)

    assert (got.status, got.json["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("streams", [False, True])
async def test_while_it_is_answered_who_asks_again_is_told_to_wait(
    up: Scripted, tmp_path: Path, streams: bool
) -> None:
    gate = Gate()
    up.on("a", lambda seen: (gate, *GOOD(seen)))

    async with serving(tmp_path, up, at(up, "a")) as served:
        first = asyncio.create_task(ask(served, streams=streams))
        await asyncio.to_thread(up.wait_for, "a")
        early = await ask(served, streams=streams)
        gate.open()
        whole = await first
        late = await ask(served, streams=streams)

    assert (early.status, early.json["error"]["code"]) == (409, "idempotency_key_in_use")
    assert (early.headers["x-should-retry"], early.headers["retry-after"]) == ("true", "1")
    assert (whole.status, late.body, len(up.seen)) == (200, whole.body, 1)


BROKEN = stream(*canned.openai_frames([{"content": "one "}])[:2])


@pytest.mark.parametrize(
    ("script", "streams", "status"),
    [
        pytest.param(reply(status=400), False, 400, id="refused"),
        pytest.param(reply(status=400), True, 400, id="refused, streamed"),
        pytest.param((*BROKEN[:-1], End.CLOSE), True, 200, id="broken off"),
    ],
)
async def test_what_failed_can_be_asked_again(
    up: Scripted, tmp_path: Path, script: Script, streams: bool, status: int
) -> None:
    up.on("a", script, GOOD)

    async with serving(tmp_path, up, at(up, "a"), rescue=False) as served:
        asked = body(streams=streams, model=LIST)
        failed = await served.request("POST", CHAT, asked, KEY)
        again = await served.request("POST", CHAT, asked, KEY)

    assert failed.status == status
    assert again.status == 200
    assert again.whole
    assert "x-fairlead-replayed" not in again.headers
    assert len(up.seen) == 2


@pytest.mark.parametrize("streams", [False, True])
async def test_a_caller_that_leaves_finds_its_answer_when_it_is_back(
    up: Scripted, tmp_path: Path, streams: bool
) -> None:
    gate = Gate()

    def held(seen: Seen) -> Script:
        head, *rest = GOOD(seen)
        return (head, *rest[:4], gate, *rest[4:])

    up.on("a", held)
    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        await leave(served, streams, after=b"content" if streams else b"")
        await until(lambda: not served.listener.in_flight)
        early = await ask(served, streams=streams)
        gate.open()
        got = early
        async with asyncio.timeout(MOST_S):
            while got.status == 409:
                got = await ask(served, streams=streams)
        charged = spent(served)

    assert early.status == 409
    assert (got.status, got.text, got.whole) == (200, canned.TEXT, True)
    assert "x-fairlead-replayed" in got.headers
    assert (len(up.seen), len(charged)) == (1, 1)


async def test_the_vendors_client_that_gave_up_waiting_pays_once(
    up: Scripted, tmp_path: Path
) -> None:
    """Its first try times out, its second is told to wait, its third has the answer."""
    gate = Gate()
    up.on("a", lambda seen: (gate, *GOOD(seen)))

    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        async with openai.AsyncOpenAI(
            base_url=f"{served.address}/v1", api_key=served.key, max_retries=2, timeout=0.5
        ) as client:
            asking = asyncio.create_task(
                client.chat.completions.create(
                    model="a",
                    messages=[{"role": "user", "content": "Hello."}],
                    extra_headers=KEY,
                )
            )
            await until(lambda: told(served, Refused))
            gate.open()
            got = await asking
        charged = spent(served)

    assert got.choices[0].message.content == canned.TEXT
    assert (len(up.seen), len(charged)) == (1, 1)


@pytest.mark.parametrize("limit", ["MOST_ALONE", "MOST_BYTES"])
async def test_an_answer_that_will_not_be_kept_is_not_finished_for_nobody(
    up: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(replays, limit, 0)
    head, *rest = GOOD.frames
    up.on("a", stream(head, rest[0], Gate()))

    async with serving(tmp_path, up, at(up, "a")) as served:
        seen = await leave(served, True, after=b"content")
        await asyncio.to_thread(seen.left.wait, MOST_S)
        await until(lambda: told(served, Exchanged))

    assert [fact.outcome for fact in served.exchanged()] == ["cancelled"]


async def test_a_long_answer_is_given_but_not_kept(
    up: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MOST_BYTES", 100)

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = [await ask(served, streams=streams) for streams in (False, False)]
        got += [
            await served.request("POST", CHAT, body(streams=True), {"idempotency-key": "b"})
            for _ in range(2)
        ]

    assert [(one.status, one.text, one.whole) for one in got] == [(200, canned.TEXT, True)] * 4
    assert len(up.seen) == 4


class Counted:
    """A stream of fifty megabytes; most of it may not be taken before it is read."""

    def __init__(self) -> None:
        self.most = asyncio.Event()

    def __iter__(self) -> Iterator[Step]:
        piece = stream(canned.openai_frames([{"content": "x" * 65_000}])[1])[1]
        yield from stream(canned.openai_frames([])[0])[:-1]
        for taken in range(800):
            if taken > 600:
                self.most.set()
            yield piece
        yield from stream(*canned.openai_frames([])[1:])[1:]


async def test_a_slow_reader_slows_the_endpoint(up: Scripted, tmp_path: Path) -> None:
    """What is kept is bounded, and so is what is read ahead."""
    counted = Counted()
    up.on("a", counted)
    data = written(body(streams=True))

    async with serving(tmp_path, up, at(up, "a")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1)
        with closing(writer):
            writer.write(served.head(data, **{"idempotency-key": "order-7"}) + data)
            await reader.readexactly(1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(counted.most.wait(), 0.5)
            rest = bytearray()
            while piece := await reader.read(1 << 20):
                rest += piece
        kept = served.rows("SELECT * FROM kept_answer")

    assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert kept == []


async def test_a_stop_ends_what_goes_on_alone_and_settles_it(up: Scripted, tmp_path: Path) -> None:
    up.on("a", stream(*GOOD.frames[:3], Gate()))

    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        await leave(served, True, after=b"content")
        await until(lambda: not served.listener.in_flight)
        assert served.exchanged() == []

    assert [fact.outcome for fact in served.exchanged()] == ["failed"]
    assert served.rows("SELECT basis FROM settle") == [("partial_estimate",)]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_stop_waits_for_an_answer_that_is_being_kept(
    up: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    """It is whole and paid for, so that who asked is to have it."""
    async with serving(tmp_path, up, at(up, "a")) as served:
        with closing(sqlite3.connect(tmp_path / "fairlead.db", isolation_level=None)) as other:

            def keep(*kept: Any) -> Any:
                other.execute("BEGIN IMMEDIATE")
                return real(*kept)

            real = served.state.idempotency.keep
            monkeypatch.setattr(served.state.idempotency, "keep", keep)
            asked = asyncio.create_task(ask(served, streams=streams))
            await until(lambda: other.in_transaction)
            [task] = [each.task for each in served.listener._replays._recordings]
            stopping = asyncio.create_task(served.listener.stop(0.0))
            await until(lambda: bool(task.cancelling()))
            await asyncio.sleep(0)
            other.execute("COMMIT")
            got = await asked
            await stopping

        assert (got.status, got.whole, got.text) == (200, True, canned.TEXT)
        assert len(served.rows("SELECT * FROM kept_answer")) == 1


async def test_who_is_being_looked_for_when_we_stop_hears_why(up: Scripted, tmp_path: Path) -> None:
    free = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        async with serving(tmp_path, up, at(up, "a")) as served:
            asyncio.get_running_loop().set_default_executor(pool)
            pool.submit(free.wait, MOST_S)
            asked = asyncio.create_task(ask(served))
            await until(lambda: pool._work_queue.qsize() == 1)
            await served.listener.stop(0.0)
            free.set()
            got = await asked

    assert (got.status, got.json["error"]["code"]) == (503, "shutting_down")
    [fact] = served.facts
    assert isinstance(fact, Refused)
    assert fact.code == "shutting_down"
