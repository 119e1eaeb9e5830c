"""Requests that are held here, over real sockets: the bodies of all of them together have a limit,
and nothing of it is lost however they end."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairlead.server import replays
from fairlead.server.body import SMALL_BYTES
from fairlead.server.limits import Limits
from fairlead.server.protocol import log
from fairlead.state.memory import Share
from fairlead.types.decision import Limits as KeyLimits
from fairlead.types.decision import View
from fairlead.types.facts import Refused
from servers import canned
from servers.inprocess import Served, at, serving
from servers.scripted import End, Gate, Scripted, reply, stream

CHAT, MESSAGES, PREVIEW = "/v1/chat/completions", "/v1/messages", "/v1/route"
KIB = 1 << 10
ROOM = 2000 * KIB
LIMITS = Limits(max_body_bytes=1200 * KIB, max_bodies_bytes=ROOM, linger_s=0.05)
FRAMES = canned.OPENAI["text"].frames
HUGE: dict[str, Any] = {"context_tokens": 10_000_000}


def body_of(size: int, model: str = "a", **fields: Any) -> bytes:
    """``size`` bytes of a good request."""
    said: dict[str, Any] = {"role": "user", "content": ""}
    asked = {"model": model, "max_tokens": 9, **fields, "messages": [said]}
    said["content"] = "x" * (size - len(msgspec.json.encode(asked)))
    return msgspec.json.encode(asked)


LONG = 1000 * KIB
SIZES = {"in one piece": 100 * KIB, "in many pieces": LONG}
"""The first is here with its head, or nearly; the second comes while it is read."""


@pytest.fixture
async def served(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, up, at(up, "a", **HUGE), limits=LIMITS) as running:
        yield running


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What only the collector of garbage would find is held until it comes, which is too long."""
    gc.disable()
    yield
    gc.enable()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


def taken(served: Served) -> int:
    return served.state.body_memory.taken_bytes


def counts(served: Served, size: int) -> bool:
    return taken(served) == size


class Sender:
    """A client that sends what a test tells it to, when it tells it to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    @classmethod
    async def to(cls, served: Served) -> "Sender":
        return cls(*await asyncio.open_connection("127.0.0.1", served.port))

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await asyncio.wait_for(self._writer.drain(), 5)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)

    async def rest(self) -> bytes:
        with closing(self._writer):
            return await asyncio.wait_for(self.reader.read(), 5)

    def leave(self) -> None:
        self._writer.transport.abort()


async def begun(served: Served, body: bytes, sent: int) -> Sender:
    """A request of which so much has come."""
    before = taken(served)
    sender = await Sender.to(served)
    await sender.send(served.head(body) + body[:sent])
    await until(lambda: taken(served) == before + sent)
    return sender


# ---------------------------------------------------------------- the limit


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("path", [CHAT, MESSAGES, PREVIEW])
async def test_the_one_that_does_not_fit_is_refused_until_another_has_ended(
    served: Served, path: str, size: int
) -> None:
    body = body_of(LONG)
    held = [await begun(served, body, LONG - 40 * KIB) for _ in range(2)]

    refused = await served.request("POST", path, body_of(size))
    still = taken(served)
    await held[0].send(body[LONG - 40 * KIB :])
    first = await held[0].rest()
    again = await served.request("POST", path, body_of(size))
    await held[1].send(body[LONG - 40 * KIB :])
    second = await held[1].rest()

    assert (refused.status, refused.json["error"]["code"]) == (503, "overloaded")
    assert "max_body_memory" in refused.json["error"]["message"]
    assert (refused.json.get("type") == "error") is (path == MESSAGES)
    assert (refused.headers["x-should-retry"], refused.headers["retry-after"]) == ("true", "1")
    assert still == 2 * (LONG - 40 * KIB)
    assert [again.status, first[9:12], second[9:12]] == [200, b"200", b"200"]
    await until(lambda: taken(served) == 0)


async def test_a_refusal_is_told_to_who_still_sends_and_ends_the_connection(served: Served) -> None:
    """As it is with a body that is too large."""
    body = body_of(LONG)
    held = [await begun(served, body, LONG - 40 * KIB) for _ in range(2)]
    sender = await Sender.to(served)

    await sender.send(served.head(body).replace(b"close", b"keep-alive") + body[: LONG // 2])
    answer = await sender.rest()
    for each in held:
        each.leave()

    assert answer.startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(("size", "told"), [(LONG, b"503"), (SMALL_BYTES, b"100")])
async def test_who_asks_before_it_sends_is_told_then(
    served: Served, size: int, told: bytes
) -> None:
    body, asked = body_of(LIMITS.max_body_bytes), body_of(size)
    held = [await begun(served, body, ROOM // 2) for _ in range(2)]
    sender = await Sender.to(served)

    await sender.send(served.head(asked, expect="100-continue"))
    answer = await sender.head()
    for each in (*held, sender):
        each.leave()

    assert answer[9:12] == told


async def test_a_refusal_is_on_record(served: Served) -> None:
    body = body_of(LONG)
    held = [await begun(served, body, LONG - 40 * KIB) for _ in range(2)]

    await served.request("POST", CHAT, body)
    for each in held:
        each.leave()
    [refused] = [fact for fact in served.facts if isinstance(fact, Refused)]

    assert (refused.status, refused.code) == (503, "overloaded")
    assert b'code="overloaded"' in served.metrics.render()


async def test_what_is_promised_takes_nothing(served: Served) -> None:
    """Ten promise six times of what there is, and send little or nothing."""
    body = body_of(LIMITS.max_body_bytes)
    silent = [await begun(served, body, 0) for _ in range(5)]
    for _ in range(5):
        silent.append(await Sender.to(served))
        await silent[-1].send(served.head(body) + body[:SMALL_BYTES])

    got = await served.request("POST", CHAT, body_of(LONG))
    for each in silent:
        each.leave()

    assert got.status == 200
    await until(lambda: taken(served) == 0)


async def test_what_has_come_counts_as_it_comes(served: Served) -> None:
    body = body_of(LONG)
    sender = await begun(served, body, 100 * KIB)
    for come in (400 * KIB, 700 * KIB):
        await sender.send(body[come - 300 * KIB : come])
        await until(partial(counts, served, come))
    await sender.send(body[700 * KIB :])

    assert (await sender.rest()).startswith(b"HTTP/1.1 200 ")


async def test_small_ones_are_served_where_there_is_no_room(served: Served) -> None:
    body = body_of(LIMITS.max_body_bytes)
    held = [await begun(served, body, ROOM // 2) for _ in range(2)]

    at_once = await served.request("POST", CHAT, body_of(SMALL_BYTES))
    small = body_of(SMALL_BYTES)
    sender = await Sender.to(served)
    await sender.send(served.head(small) + small[:9])
    await until(lambda: served.listener.in_flight == 3)
    await sender.send(small[9:])
    in_two = await sender.rest()
    for each in held:
        each.leave()

    assert (at_once.status, in_two[9:12]) == (200, b"200")


@pytest.mark.parametrize("path", [CHAT, PREVIEW])
async def test_no_stranger_takes_of_it(up: Scripted, tmp_path: Path, path: str) -> None:
    body = body_of(LONG)
    async with serving(tmp_path, up, at(up, "a"), limits=LIMITS, key=KeyLimits()) as served:
        served.key = ""
        sender = await Sender.to(served)
        await sender.send(served.head(body, path))
        answer = await sender.rest()

    assert answer.startswith(b"HTTP/1.1 401 ")


# ---------------------------------------------------------------- how long


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_body_is_held_until_its_answer_has_ended(
    up: Scripted, tmp_path: Path, streams: bool, size: int, no_collector: None
) -> None:
    """The second endpoint gets all of it as well, after the first has had it."""
    first, second = Gate(), Gate()
    up.on("a", (first, *reply({}, status=500)))
    whole = reply(canned.openai_whole({"content": "Hello."}))
    up.on("b", stream(*FRAMES[:2], second, *FRAMES[2:]) if streams else (second, *whole))

    async with serving(tmp_path, up, at(up, "a", **HUGE), at(up, "b", **HUGE)) as served:
        body = body_of(size, "list", stream=streams)
        sender = await Sender.to(served)
        await sender.send(served.head(body) + body)
        await until(lambda: bool(up.asked("a")))
        before, sent = taken(served), up.asked("a")[0].json
        first.open()
        await until(lambda: bool(up.asked("b")))
        if streams:
            await sender.head()
        amid = taken(served)
        second.open()
        await sender.rest()
        await until(lambda: taken(served) == 0)

    assert before == amid == size
    assert sent["messages"] == up.asked("b")[0].json["messages"] == json.loads(body)["messages"]


async def test_one_that_is_answered_without_its_caller_is_held_until_then(
    up: Scripted, tmp_path: Path, no_collector: None
) -> None:
    gate = Gate()
    up.on("a", (gate, *reply(canned.OPENAI["text"].whole)))
    body = body_of(LONG)

    async with serving(tmp_path, up, at(up, "a", **HUGE)) as served:
        sender = await Sender.to(served)
        await sender.send(served.head(body, idempotency_key="7") + body)
        await until(lambda: bool(up.asked("a")))
        sender.leave()
        await until(lambda: served.listener.in_flight == 0)
        alone = taken(served)
        gate.open()
        await until(lambda: taken(served) == 0)

    assert alone == LONG


# ---------------------------------------------------------------- ways to end

Way = Callable[[Served, bytes], Awaitable[None]]


async def ask(served: Served, body: bytes, status: int, **headers: str) -> None:
    sender = await Sender.to(served)
    await sender.send(served.head(body, **headers) + body)
    answer = await sender.rest()
    assert int(answer[9:12]) == status, answer[:2000]


def answered(status: int, model: str = "a", **headers: str) -> Way:
    async def run(served: Served, body: bytes) -> None:
        body = body.replace(b'"model":"a"', b'"model":"%b"' % model.encode())
        await ask(served, body, status, **headers)

    return run


def streamed(model: str) -> Way:
    async def run(served: Served, body: bytes) -> None:
        body = body.replace(b'"model":"a"', b'"model":"%b","stream":true' % model.encode())
        await ask(served, body, 200)

    return run


async def previewed(served: Served, body: bytes) -> None:
    sender = await Sender.to(served)
    await sender.send(served.head(body, PREVIEW) + body)
    assert (await sender.rest())[9:12] == b"200"


async def not_json(served: Served, body: bytes) -> None:
    await ask(served, body[:-1] + b"]", 400)


async def too_large(served: Served, body: bytes) -> None:
    """It comes in chunks, so that nothing is known of its size before."""
    whole = body + b" " * (3000 * KIB)
    head = served.head(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    sender = await Sender.to(served)
    await sender.send(head + b"%x\r\n%b" % (len(whole), whole))
    assert (await sender.rest())[9:12] == b"413"


async def too_many_parts(served: Served, body: bytes) -> None:
    """It is refused once it is here."""
    many = body[:-1] + b',"x":[%b0]}' % (b"0," * 550_000)
    await ask(served, many, 413)


async def too_slow(served: Served, body: bytes) -> None:
    sender = await Sender.to(served)
    await sender.send(served.head(body) + body[:-1])
    assert (await sender.rest())[9:12] == b"408"


async def not_http(served: Served, body: bytes) -> None:
    head = served.head(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    sender = await Sender.to(served)
    await sender.send(head + b"%x\r\n%b\r\n" % (len(body), body))
    await until(lambda: taken(served) == len(body))
    await sender.send(b"no size\r\n")
    assert (await sender.rest())[9:12] == b"400"


async def cut_off(served: Served, body: bytes) -> None:
    (await begun(served, body, len(body) - 1)).leave()


async def cut_off_early(served: Served, body: bytes) -> None:
    (await begun(served, body, SMALL_BYTES + 1)).leave()


async def answering(
    served: Served, body: bytes, model: str, fields: bytes, headers: Mapping[str, str]
) -> tuple[Sender, bytes]:
    """A request that the endpoint has, and its body; of a stream the caller has the head."""
    body = body.replace(b'"model":"a"', b'"model":"%b"%b' % (model.encode(), fields))
    sender = await Sender.to(served)
    await sender.send(served.head(body, **headers) + body)
    await until(lambda: bool(served.up.asked(model)))
    if fields:
        await sender.head()
    return sender, body


def left(model: str, fields: bytes = b"", **headers: str) -> Way:
    """The caller goes while it is answered."""

    async def run(served: Served, body: bytes) -> None:
        sender, asked = await answering(served, body, model, fields, headers)
        sender.leave()
        await until(lambda: served.listener.in_flight == 0)
        if headers and replays.MOST_ALONE:  # it is answered all the same
            assert taken(served) == len(asked)
            await served.listener._replays.close()

    return run


async def left_for_good(served: Served, body: bytes) -> None:
    """As many are answered without their callers as may be."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr("fairlead.server.replays.MOST_ALONE", 0)
        await left("waits", idempotency_key="7")(served, body)


def stopped(model: str, fields: bytes = b"", **headers: str) -> Way:
    """The gateway is told to stop, and does not wait."""

    async def run(served: Served, body: bytes) -> None:
        sender, _ = await answering(served, body, model, fields, headers)
        await served.listener.stop(0.0)
        await sender.rest()

    return run


async def stopped_while_it_came(served: Served, body: bytes) -> None:
    sender = await begun(served, body, len(body) - 1)
    await served.listener.stop(0.0)
    assert (await sender.rest())[9:12] == b"503"


async def broken(served: Served, body: bytes) -> None:
    """In our own code."""

    def fail(*seen: object) -> View:
        raise RuntimeError("broken")

    served.state.view = fail  # type: ignore[assignment,method-assign]
    await ask(served, body, 500)


STREAM = b',"stream":true'
WAYS: Mapping[str, Way] = {
    "answered": answered(200),
    "answered, and kept": answered(200, idempotency_key="7"),
    "answered as a stream": streamed("a"),
    "previewed": previewed,
    "no such model": answered(404, "none"),
    "all endpoints fail": answered(502, "fails"),
    "the stream breaks": streamed("breaks"),
    "not JSON": not_json,
    "asked for what is not there": answered(403, x_fairlead_zone="nowhere"),
    "too large": too_large,
    "too many parts": too_many_parts,
    "too slow": too_slow,
    "not HTTP": not_http,
    "cut off": cut_off,
    "cut off early": cut_off_early,
    "caller left": left("waits"),
    "caller left a stream": left("streams", STREAM),
    "caller left a stream that would be kept": left("streams", STREAM, idempotency_key="7"),
    "caller left one that would be kept": left("waits", idempotency_key="7"),
    "caller left for good": left_for_good,
    "stopped": stopped("waits"),
    "stopped in a stream": stopped("streams", STREAM),
    "stopped in one that would be kept": stopped("streams", STREAM, idempotency_key="7"),
    "stopped while it came": stopped_while_it_came,
    "an error of ours": broken,
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("way", WAYS)
async def test_what_was_taken_is_given_back_however_it_ends(
    up: Scripted,
    tmp_path: Path,
    way: str,
    size: int,
    no_collector: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    up.on("fails", reply({}, status=500))
    up.on("breaks", (*stream(*FRAMES[:2])[:-1], End.CLOSE))
    up.on("waits", (Gate(),))
    up.on("streams", (*stream(*FRAMES[:2])[:-1], Gate()))
    limits = Limits(max_body_bytes=2200 * KIB, body_idle_s=0.3, linger_s=0.05)
    most = 0
    take = Share.take

    def watched(share: Share, more: int) -> None:
        nonlocal most
        take(share, more)
        most = max(most, share._memory.taken_bytes)

    monkeypatch.setattr(Share, "take", watched)
    # What pytest captures it keeps, and all that was on the way of an error.
    monkeypatch.setattr(log, "propagate", False)
    ends = [at(up, name, **HUGE) for name in ("a", "fails", "breaks", "waits", "streams")]
    async with serving(tmp_path, up, *ends, limits=limits) as served:
        await WAYS[way](served, body_of(size))
        await until(lambda: taken(served) == 0)
        assert most >= min(size, SMALL_BYTES)
