"""Errors in the caller's dialect, keys, too much work at once, and how a gateway stops."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest

from fairlead.server.limits import Limits
from fairlead.server.protocol import Protocol
from fairlead.state.keys import list_keys, revoke
from fairlead.types.decision import Limits as KeyLimits
from servers import canned
from servers.hostile import asking
from servers.inprocess import Got, Served, at, serving, statuses
from servers.scripted import Gate, Script, Scripted, reply, stream

FULL = Limits(max_waiting=0, linger_s=0.05)
GOOD = canned.OPENAI["text"]
CHAT, MESSAGES, COUNT = "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"
ASK = {"model": "a", "max_tokens": 99, "messages": [{"role": "user", "content": "Hello."}]}
ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.fixture
async def served(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, up, at(up, "a")) as running:
        yield running


# Errors -----------------------------------------------------------------------------------------

Asked = tuple[str, str, Any, Mapping[str, str]]

ERRORS: Mapping[str, tuple[Asked, int, str, str]] = {
    "no such model": (("POST", CHAT, {**ASK, "model": "aut"}, {}), 404, "openai", "mean auto"),
    "no such model, Anthropic": (
        ("POST", MESSAGES, {**ASK, "model": "aut"}, {}),
        404,
        "anthropic",
        "mean auto",
    ),
    "bad body": (("POST", CHAT, b"{", {}), 400, "openai", "not valid JSON"),
    "bad body, Anthropic": (("POST", MESSAGES, b"{", {}), 400, "anthropic", "not valid JSON"),
    "bad body, count": (("POST", COUNT, b"{", {}), 400, "anthropic", "not valid JSON"),
    "bad body, embeddings": (
        ("POST", "/v1/embeddings", {"model": "a"}, {}),
        400,
        "openai",
        "input",
    ),
    "nobody embeds": (
        ("POST", "/v1/embeddings", {"model": "a", "input": "x"}, {}),
        400,
        "openai",
        "does not embed",
    ),
    "wrong method": (("GET", CHAT, None, {}), 405, "openai", "takes POST, not GET"),
    "wrong method, Anthropic": (("PUT", MESSAGES, b"{}", {}), 405, "anthropic", "takes POST"),
    "nothing there": (("GET", "/v2", None, {}), 404, "openai", "nothing at this address"),
    "nothing there, Anthropic": (
        ("GET", "/v2", None, ANTHROPIC),
        404,
        "anthropic",
        "nothing at this address",
    ),
    "twice /v1": (("POST", "/v1/v1/messages", b"{}", {}), 404, "openai", f"mean {MESSAGES}?"),
    "no /v1": (("POST", "/chat/completions", b"{}", {}), 404, "openai", f"mean {CHAT}?"),
    "a slash too many": (("POST", f"{CHAT}/", b"{}", {}), 404, "openai", f"mean {CHAT}?"),
}


def check_error(got: Got, dialect: str, hint: str) -> None:
    """The vendor's shape, with an id that is in the header too, and advice to the SDK."""
    request_id = got.headers["x-fairlead-request-id"]
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-should-retry"] in ("true", "false")
    if dialect == "anthropic":
        assert got.json["type"] == "error"
        assert set(got.json["error"]) >= {"type", "message"}
        assert got.json["request_id"] == request_id == got.headers["request-id"]
    else:
        assert set(got.json["error"]) >= {"message", "type", "param", "code"}
        assert got.headers["x-request-id"] == request_id
    assert hint in got.json["error"]["message"]


@pytest.mark.parametrize("case", ERRORS)
async def test_an_error_is_told_in_the_callers_dialect(served: Served, case: str) -> None:
    asked, status, dialect, hint = ERRORS[case]

    got = await served.request(*asked)

    assert got.status == status
    check_error(got, dialect, hint)
    assert served.up.seen == []


async def test_a_wrong_method_is_told_the_right_ones(served: Served) -> None:
    post = await served.request("GET", CHAT)
    get = await served.request("DELETE", "/v1/models")

    assert (post.headers["allow"], get.headers["allow"]) == ("POST", "GET, HEAD")


async def test_a_query_does_not_hide_an_address(served: Served) -> None:
    """Anthropic's SDK adds ``?beta=true``."""
    got = await served.request("POST", f"{MESSAGES}?beta=true", ASK)

    assert (got.status, got.json["type"]) == (200, "message")


# Keys -------------------------------------------------------------------------------------------

OTHER = "fl-" + "A" * 43
KEYS: Mapping[str, tuple[Mapping[str, str], int]] = {
    "the right one": ({"authorization": "Bearer KEY"}, 200),
    "in any case": ({"authorization": "bearer KEY"}, 200),
    "as Anthropic sends it": ({"x-api-key": "KEY"}, 200),
    "none": ({}, 401),
    "empty": ({"authorization": "Bearer "}, 401),
    "another scheme": ({"authorization": "Basic KEY"}, 401),
    "a vendor's": ({"authorization": "Bearer sk-proj-1234567890abcdef"}, 401),
    "of the right form": ({"authorization": f"Bearer {OTHER}"}, 401),
    "almost": ({"authorization": "Bearer KEYx"}, 401),
    "not ASCII": ({"authorization": "Bearer kéy"}, 401),
}


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("case", KEYS)
async def test_only_a_key_in_force_opens(
    up: Scripted, tmp_path: Path, case: str, path: str
) -> None:
    headers, status = KEYS[case]

    async with serving(tmp_path, up, at(up, "a"), key=KeyLimits()) as served:
        key, served.key = served.key, ""
        sent = {name: value.replace("KEY", key) for name, value in headers.items()}
        got = await served.request("POST", path, ASK, sent)

    assert (got.status, len(up.seen)) == (status, status == 200)
    if status == 401:
        check_error(got, "anthropic" if path == MESSAGES else "openai", "API key")
        assert got.headers["www-authenticate"] == "Bearer"
        assert key.encode() not in got.body
        assert b"sk-proj" not in got.body
    else:
        assert key not in str(up.seen[0].headers)


async def test_a_revoked_key_opens_nothing(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), key=KeyLimits()) as served:
        revoke(served.store, "team", int(time() * 1000))
        served.state.keys.replace(list_keys(served.store))
        got = await served.request("POST", CHAT, ASK)

    assert got.status == 401
    assert "revoked" in got.json["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"origin": "https://example.com"}, 403), ({"host": "evil.example.com"}, 403), ({}, 200)],
)
async def test_without_keys_no_page_of_another_site_may_call(
    served: Served, headers: Mapping[str, str], status: int
) -> None:
    got = await served.request("POST", CHAT, ASK, headers)

    assert (got.status, len(served.up.seen)) == (status, status == 200)


async def test_with_a_key_any_page_may_call(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), key=KeyLimits()) as served:
        got = await served.request("POST", CHAT, ASK, {"origin": "https://example.com"})

    assert got.status == 200


# Too much at once, and stopping ------------------------------------------------------------------


async def test_beyond_its_limit_a_gateway_turns_work_away(up: Scripted, tmp_path: Path) -> None:
    gate = Gate()
    up.on("a", (gate, *reply(GOOD.whole)))

    async with serving(tmp_path, up, at(up, "a"), limits=Limits(max_in_flight=1)) as served:
        first = asyncio.create_task(served.ask("a"))
        await asyncio.to_thread(up.wait_for, "a")
        refused = [await served.ask("a") for _ in range(3)]  # the last two unread
        gate.open()

        assert (await first).status == 200
        assert (await served.ask("a")).status == 200
        assert served.listener.load.shed == 3

    for answer in refused:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["x-should-retry"] == "true"


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("pieces", [1, 2])
async def test_what_arrives_in_an_overload_is_turned_away_unread(
    up: Scripted, tmp_path: Path, path: str, pieces: int
) -> None:
    """Whether it is plain enough to be answered unparsed, or has to be parsed first."""
    async with serving(tmp_path, up, at(up, "a"), limits=FULL) as served:
        sent = asking(line=f"POST {path} HTTP/1.1".encode())
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for _ in range(2):
            for part in (sent[: len(sent) // pieces], sent[len(sent) // pieces :]):
                writer.write(part)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            async with asyncio.timeout(5.0):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                body = await reader.readexactly(int(head.partition("content-length: ")[2][:3]))
        writer.close()
        health = await served.request("GET", "/healthz")
        preview = await served.request("POST", "/v1/route", ASK)

        assert served.listener.load.shed == 2

    assert b"overloaded" in body
    assert head.startswith("http/1.1 503 ")
    assert "retry-after: 1" in head
    assert "x-should-retry: true" in head
    assert (health.status, preview.status) == (200, 200)
    assert (up.seen, served.facts) == ([], [])


async def test_what_follows_a_request_turned_away_is_a_request_of_its_own(
    up: Scripted, tmp_path: Path
) -> None:
    """However it is cut; and the time for a head does not run while none has begun."""
    hurried = Limits(max_waiting=0, header_timeout_s=0.1)
    async with serving(tmp_path, up, at(up, "a"), limits=hurried) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        sent = asking()
        for cut in range(10, len(sent) + 1, 15):
            for part in (sent[:cut], sent[cut:] + sent):
                writer.write(part)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            async with asyncio.timeout(5.0):
                for _ in range(2):
                    assert b" 503 " in await reader.readuntil(b"\r\n\r\n")
                    await reader.readuntil(b"}}")
        await asyncio.sleep(2 * hurried.header_timeout_s)
        writer.write(asking(b"connection: close"))
        last = await asyncio.wait_for(reader.read(), 5.0)
        writer.close()

    assert last.startswith(b"HTTP/1.1 503 ")
    assert up.seen == []


@pytest.fixture
def in_the_gap(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Protocol], None]]:
    """What is done once an answer is sent, before aiohttp waits for the next request: between the
    two the loop takes another turn, in which a caller who is near asks again."""
    doing: list[Callable[[Protocol], None]] = []
    finish = Protocol.finish_response

    async def finish_response(self: Protocol, *of: Any) -> Any:
        finished = await finish(self, *of)
        if doing:
            doing.pop()(self)
        return finished

    monkeypatch.setattr(Protocol, "finish_response", finish_response)
    return doing


async def test_who_asks_again_at_once_is_turned_away_as_others_are(
    served: Served, in_the_gap: list[Callable[[Protocol], None]]
) -> None:
    def overload(protocol: Protocol) -> None:
        served.listener.load.room = served.listener.load._turns.room = 0
        protocol.data_received(asking(b"connection: keep-alive"))
        protocol.data_received(asking(b"connection: close"))

    in_the_gap.append(overload)

    answers = await served.raw(asking())

    assert statuses(answers) == [200, 503, 503]
    assert answers.count(b"retry-after: 1") == 2
    assert len(served.up.seen) == 1


async def test_who_asks_again_at_once_is_counted(
    served: Served, in_the_gap: list[Callable[[Protocol], None]]
) -> None:
    load = served.listener.load
    load.stop()
    in_the_gap.append(lambda protocol: protocol.data_received(asking(b"connection: close")))

    answers = await served.raw(asking())

    assert statuses(answers) == [200, 200]
    assert load.arrived == 2


async def test_requests_sent_together_are_counted_and_turned_away_each(
    up: Scripted, tmp_path: Path
) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        served.listener.load.stop()
        answers = await served.raw(asking() + asking() + asking(b"connection: close"))
        counted = served.listener.load.arrived

    assert (statuses(answers), counted) == ([200, 200, 200], 3)

    async with serving(tmp_path / "full", up, at(up, "a"), limits=FULL) as served:
        answers = await served.raw(asking() + asking() + asking(b"connection: close"))

    assert statuses(answers) == [503, 503, 503]


async def test_who_has_just_been_answered_is_left_when_the_gateway_stops(
    served: Served, in_the_gap: list[Callable[[Protocol], None]]
) -> None:
    in_the_gap.append(Protocol.leave)

    assert statuses(await served.raw(asking())) == [200]


async def test_one_connection_too_many_is_told_so(up: Scripted, tmp_path: Path) -> None:
    two = Limits(max_connections=2, linger_s=0.05)

    async with serving(tmp_path, up, at(up, "a"), limits=two) as served:
        held = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(2)]
        third = await served.raw(asking())
        held.pop()[1].close()
        async with asyncio.timeout(5.0):
            while len(served.listener._server.connections) == 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        again = await served.ask("a")
        held.pop()[1].close()

    assert third.startswith(b"HTTP/1.1 503 ")
    assert b"too many connections" in third
    assert b"retry-after: 1" in third
    assert again.status == 200


async def test_a_crowd_beyond_the_limit_is_only_closed(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), limits=Limits(max_connections=1)) as served:
        _, first = await asyncio.open_connection("127.0.0.1", served.port)
        crowd = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(100)]
        told = await asyncio.wait_for(
            asyncio.gather(*(reader.read() for reader, _ in crowd), return_exceptions=True), 5.0
        )
        for _, writer in (*crowd, (None, first)):
            writer.close()

    assert sum(isinstance(answer, bytes) and b" 503 " in answer for answer in told) == 64
    assert served.listener._server.turned_away == set()


async def test_while_it_drains_new_work_is_turned_away(served: Served) -> None:
    served.listener.leaving = served.listener.draining = True

    got = await served.ask("a")
    ready = await served.request("GET", "/readyz")

    assert (got.status, got.headers["x-should-retry"]) == (503, "true")
    assert got.headers["connection"] == "close"
    assert ready.status == 503


async def test_stopping_lets_an_answer_end(up: Scripted, tmp_path: Path) -> None:
    gate = Gate()
    up.on("a", stream(*GOOD.frames[:3], gate, *GOOD.frames[3:]))

    async with serving(tmp_path, up, at(up, "a")) as served:
        asked = asyncio.create_task(served.ask("a", stream=True))
        await asyncio.to_thread(up.wait_for, "a")
        stopping = asyncio.create_task(served.listener.stop(5.0))
        await asyncio.sleep(0)
        assert served.listener.draining
        gate.open()
        got = await asked
        await stopping

    assert (got.whole, got.text) == (True, canned.TEXT)


async def test_stopping_waits_for_a_slow_reader(
    up: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is made and settled, but not yet with the one who asked."""
    monkeypatch.setattr("fairlead.server.http.CUT_S", 0.01)
    text = "x" * (8 << 20)
    up.on("a", reply(canned.openai_whole({"content": text})))
    asked = json.dumps(ASK).encode()

    async with serving(tmp_path, up, at(up, "a")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1 << 16)
        with closing(writer):
            writer.write(served.head(asked) + asked)
            async with asyncio.timeout(5.0):
                while not served.buffered():
                    await served.request("GET", "/healthz")
            stopping = asyncio.create_task(served.listener.stop(10.0))
            await asyncio.wait((stopping,), timeout=0.2)
            assert not stopping.done()
            got = await reader.read()
            await stopping

    assert text.encode() in got


async def test_stopping_cuts_what_does_not_end_in_time(up: Scripted, tmp_path: Path) -> None:
    up.on("a", (*stream(*GOOD.frames[:3])[:-1], Gate()))

    async with serving(tmp_path, up, at(up, "a")) as served:
        asked = asyncio.create_task(served.ask("a", stream=True))
        await asyncio.to_thread(up.wait_for, "a")
        began_s = monotonic()
        await served.listener.stop(0.05)
        took_s = monotonic() - began_s
        got = await asked

    assert took_s < 3.0
    assert not got.whole
    assert b"[DONE]" not in got.body
    assert got.events[-1]["error"]["code"] == "shutting_down"
    (told,) = served.exchanged()
    assert (told.outcome, told.status, told.code) == ("failed", 503, "shutting_down")


@pytest.mark.parametrize("key", [{}, {"idempotency-key": "order-7"}])
@pytest.mark.parametrize("streams", [False, True])
async def test_who_waits_for_the_disk_when_we_stop_hears_why(
    up: Scripted, tmp_path: Path, streams: bool, key: Mapping[str, str]
) -> None:
    """The model has said all; what it cost is not stored yet."""

    def lock(seen: object) -> Script:
        other.execute("BEGIN IMMEDIATE")
        return stream(*GOOD.frames) if streams else reply(GOOD.whole)

    up.on("a", lock)
    async with serving(tmp_path, up, at(up, "a")) as served:
        with closing(sqlite3.connect(tmp_path / "fairlead.db", isolation_level=None)) as other:
            asked = asyncio.create_task(served.ask("a", stream=streams, headers=key))
            async with asyncio.timeout(5.0):
                while not served.exchanged():
                    await served.request("GET", "/healthz")
            stopping = asyncio.create_task(served.listener.stop(0.0))
            got = await asked
            other.execute("COMMIT")
            await stopping

    if streams:
        assert (got.status, got.whole) == (200, False)
        assert got.events[-1]["error"]["code"] == "shutting_down"
        assert b"[DONE]" not in got.body
    else:
        assert (got.status, got.json["error"]["code"]) == (503, "shutting_down")


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "order-7"}])
async def test_a_slow_reader_that_is_cut_hears_why(
    up: Scripted, tmp_path: Path, key: Mapping[str, str]
) -> None:
    """It waits for its reader, not for the model."""
    piece = stream(canned.openai_frames([{"content": "x" * 65_000}])[1])[1]
    up.on("a", [*stream(canned.openai_frames([])[0])[:-1], *[piece] * 400, Gate()])
    asked = json.dumps({**ASK, "stream": True}).encode()

    async with serving(tmp_path, up, at(up, "a")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1 << 16)
        with closing(writer):
            writer.write(served.head(asked, **key) + asked)
            async with asyncio.timeout(5.0):
                while not served.buffered():
                    await served.request("GET", "/healthz")
                stopping = asyncio.create_task(served.listener.stop(0.0))
                got = await reader.read()
                await stopping

    assert got.rstrip().endswith(b"}")
    last = got.rpartition(b"data: ")[2].partition(b"\r\n")[0]
    assert json.loads(last)["error"]["code"] == "shutting_down"
    [told] = served.exchanged()
    assert (told.outcome, told.code) == ("failed", "shutting_down")
