"""The one client, against a real server that misbehaves."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from aiohttp.client_proto import ResponseHandler

from fairlead.outside.connections import Connection, Origin
from fairlead.outside.upstream import MOST_INTERIM, REST_S, HttpUpstream
from fairlead.types.catalog import Timeouts
from fairlead.types.errors import Failure, UpstreamError
from servers.scripted import End, Gate, Scripted, Step, cut, head, reply, scripted, silent, stream

TIMEOUTS = Timeouts(connect_s=1.0)
LONG_S = 5.0
BODY = b'{"model":"m"}'


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as upstream:
        yield upstream


async def read_all(up: HttpUpstream, server: Scripted) -> bytes:
    """A stream, to its end. Raises UpstreamError."""
    pieces = []
    async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
        while (piece := await answer.chunk()) is not None:
            pieces.append(piece)
    return b"".join(pieces)


def connections() -> int:
    """How many are in memory."""
    return sum(isinstance(one, Connection) for one in gc.get_objects())


async def test_bytes_go_out_and_come_back_untouched(up: HttpUpstream, server: Scripted) -> None:
    server.on("m", reply(b'{"a":  1}', headers={"x-vendor": "v"}))
    headers = {"authorization": "Bearer k", "content-type": "application/json"}

    async with up.send(f"{server.address}/v1/x", headers, BODY, TIMEOUTS) as answer:
        body = await answer.read(1000)

    seen = server.wait_for("m")
    assert (answer.status, answer.headers["x-vendor"], body) == (200, "v", b'{"a":  1}')
    assert (seen.path, seen.body) == ("/v1/x", BODY)
    assert seen.headers["authorization"] == "Bearer k"
    assert "accept-encoding" not in seen.headers
    assert "cookie" not in seen.headers


async def test_a_stream_ends_with_none(up: HttpUpstream, server: Scripted) -> None:
    server.on("m", stream(b"data: 1\n\n", b"data: 2\n\n"))

    assert await read_all(up, server) == b"data: 1\n\ndata: 2\n\n"


class Pauses:
    """In the place of the time between two looks at a stream: it lasts until the test ends it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self._sleep = asyncio.sleep
        monkeypatch.setattr("fairlead.outside.upstream.PACE_S", LONG_S)
        monkeypatch.setattr(asyncio, "sleep", self._pause)

    async def _pause(self, seconds: float) -> None:
        if seconds != LONG_S:
            await self._sleep(seconds)
            return
        self.count += 1
        self.begun.set()
        await self.over.wait()


@pytest.mark.parametrize("end", [None, End.CLOSE, End.RESET])
async def test_while_the_core_is_busy_a_fast_stream_is_read_less_often(
    up: HttpUpstream, server: Scripted, monkeypatch: pytest.MonkeyPatch, end: End | None
) -> None:
    """Its first pieces at once, then many together, and its end as ever."""
    frames = [b"data: %d\n\n" % number for number in range(50)]
    gates = [Gate(), Gate()]
    script = stream(frames[0], gates[0], frames[1], gates[1], *frames[2:])
    server.on("m", script if end is None else (*script[:-1], end))
    pauses = Pauses(monkeypatch)
    up.be_busy(True)

    async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
        first = await answer.chunk()
        gates[0].open()
        second = await answer.chunk()
        third = asyncio.create_task(answer.chunk())
        await asyncio.wait_for(pauses.begun.wait(), LONG_S)
        gates[1].open()
        async with asyncio.timeout(LONG_S):
            while server.playing:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)
        pauses.over.set()
        pieces = [first, second, await third]
        with suppress(UpstreamError):
            while (piece := await answer.chunk()) is not None:
                pieces.append(piece)

    assert (first, second) == (frames[0], frames[1])
    got, sent = b"".join(filter(None, pieces)), b"".join(frames)
    assert got == sent or (end is End.RESET and sent.startswith(got))  # which may overtake the last
    assert 0 < pauses.count < 10


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
@pytest.mark.parametrize("frames", [0, 2], ids=["before an answer", "amid a stream"])
async def test_one_that_breaks_off_is_not_kept(
    up: HttpUpstream, server: Scripted, end: End, frames: int
) -> None:
    """Its memory is free at once, not when the collector comes."""
    steps = stream(*[b"data: 1\n\n"] * frames)[:-1] if frames else ()
    server.on("m", (*steps, end))
    gc.collect()
    gc.disable()
    try:
        before = connections()
        with pytest.raises(UpstreamError):
            await read_all(up, server)
        async with asyncio.timeout(LONG_S):
            while connections() > before:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)
    finally:
        gc.enable()


async def test_a_stream_that_is_slow_by_itself_is_not_slowed(
    up: HttpUpstream, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("m", stream(*[b"data: 1\n\n"] * 20))
    pauses = Pauses(monkeypatch)
    monkeypatch.setattr("fairlead.outside.upstream.PACE_S", 1e-9)
    up.be_busy(True)

    await read_all(up, server)

    assert pauses.count == 0


async def test_nor_is_one_whose_core_is_not_busy_any_more(
    up: HttpUpstream, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("m", stream(*[b"data: 1\n\n"] * 20))
    pauses = Pauses(monkeypatch)
    up.be_busy(True)
    up.be_busy(False)

    await read_all(up, server)

    assert pauses.count == 0


async def test_who_leaves_while_a_stream_is_not_read_stops_it(
    up: HttpUpstream, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("m", (*stream(*[b"data: 1\n\n"] * 9)[:-1], Gate()))
    pauses = Pauses(monkeypatch)
    up.be_busy(True)

    reading = asyncio.create_task(read_all(up, server))
    # Each piece by itself or all at once: there may be too few for a pause.
    await asyncio.wait((reading, asyncio.create_task(pauses.begun.wait())), timeout=1.0)
    reading.cancel()
    await asyncio.wait((reading,))

    await asyncio.to_thread(server.wait_for("m").left.wait)


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
async def test_a_cut_is_never_an_end(up: HttpUpstream, server: Scripted, end: End) -> None:
    server.on("m", cut(stream(b"data: 1\n\n" * 100), after=400, end=end))

    with pytest.raises(UpstreamError) as broken:
        await read_all(up, server)

    assert broken.value.failure in (Failure.STREAM_BROKEN, Failure.TRANSIENT)


async def test_a_transfer_that_is_no_http_is_a_cut(up: HttpUpstream, server: Scripted) -> None:
    """Not a wait for more: the parser has given up."""
    gate = Gate()
    server.on("m", (*stream(b"data: 1\n\n")[:2], gate, b"zz\r\nnonsense\r\n", Gate()))

    async def read_on() -> None:
        async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
            while await answer.chunk() is not None:
                gate.open()

    with pytest.raises(UpstreamError) as broken:
        async with asyncio.timeout(LONG_S):
            await read_on()

    assert broken.value.failure is Failure.STREAM_BROKEN


@pytest.mark.parametrize("interim", [16, 17])
async def test_interim_responses_come_to_an_end(
    up: HttpUpstream, server: Scripted, interim: int
) -> None:
    server.on("m", (head(103, {"link": "</a>"}) * interim, *reply(b"{}")))

    async def status() -> int:
        async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
            return answer.status

    if interim <= MOST_INTERIM:
        assert await status() == 200
    else:
        with pytest.raises(UpstreamError) as endless:
            await status()
        assert endless.value.failure is Failure.TRANSIENT


async def test_leaving_early_closes_the_endpoint(up: HttpUpstream, server: Scripted) -> None:
    server.on("m", (*stream(b"data: 1\n\n")[:2], *silent()))

    async def leave() -> None:
        async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
            await answer.chunk()
            raise GeneratorExit

    with pytest.raises(GeneratorExit):
        await leave()

    await asyncio.to_thread(server.wait_for("m").left.wait, REST_S / 2)


async def test_who_stops_waiting_for_the_head_stops_the_endpoint(
    up: HttpUpstream, server: Scripted
) -> None:
    server.on("m", silent())

    async def wait_for_the_head() -> None:
        async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS):
            pass

    waiting = asyncio.create_task(wait_for_the_head())
    seen = await asyncio.to_thread(server.wait_for, "m")
    waiting.cancel()

    await asyncio.to_thread(seen.left.wait)


async def test_nobody_there_is_a_connect_failure(up: HttpUpstream) -> None:
    with pytest.raises(UpstreamError) as refused:
        async with up.send("http://127.0.0.1:1/v1", {}, BODY, TIMEOUTS):
            pass

    assert refused.value.failure is Failure.CONNECT


@pytest.mark.parametrize(
    "script",
    [
        (End.RESET,),
        (End.CLOSE,),
        (b"HTTP/1.1 200 OK\r\ncont", End.RESET),
        (b"junk\r\n\r\n", End.CLOSE),
    ],
    ids=["reset", "closed", "half a head", "not HTTP"],
)
async def test_what_was_sent_may_have_been_worked_on(
    up: HttpUpstream, server: Scripted, script: tuple[Step, ...]
) -> None:
    server.on("m", script)

    with pytest.raises(UpstreamError) as broken:
        async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS):
            pass

    assert broken.value.failure is Failure.TRANSIENT
    assert len(server.asked("m")) == 1


async def test_an_answer_is_read_no_further_than_the_limit(
    up: HttpUpstream, server: Scripted
) -> None:
    server.on("m", stream(b"x" * 5000))

    with pytest.raises(UpstreamError) as large:
        async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
            await answer.read(4999)

    assert large.value.failure is Failure.BAD_SUCCESS


async def test_a_large_body_arrives_whole(up: HttpUpstream, server: Scripted) -> None:
    server.on("m", reply(b"1"))
    body = b'{"model":"m","text":"%b"}' % (b"x" * 4_000_000)

    async with up.send(f"{server.address}/v1/x", {}, body, TIMEOUTS) as answer:
        assert await answer.read(10) == b"1"

    assert server.wait_for("m").body == body


async def test_hints_on_the_way_are_not_the_answer(up: HttpUpstream, server: Scripted) -> None:
    server.on("m", (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", *reply(b"1")))

    async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
        assert (answer.status, await answer.read(10)) == (200, b"1")


async def test_an_answer_without_a_length_ends_with_its_connection(
    up: HttpUpstream, server: Scripted
) -> None:
    server.on("m", (b"HTTP/1.1 200 OK\r\n\r\nto the end", End.CLOSE))

    async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
        assert await answer.read(100) == b"to the end"


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b"])
async def test_no_header_can_hold_another(up: HttpUpstream, server: Scripted, value: str) -> None:
    with pytest.raises(UpstreamError) as refused:
        async with up.send(f"{server.address}/v1/x", {"x-a": value}, BODY, TIMEOUTS):
            pass

    assert refused.value.failure is Failure.CALLER_FAULT
    assert server.seen == []


async def test_a_head_beyond_all_measure_is_no_answer(up: HttpUpstream, server: Scripted) -> None:
    server.on("m", reply(b"1", headers={"x-a": "a" * 50_000}))

    with pytest.raises(UpstreamError) as broken:
        async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS):
            pass

    assert broken.value.failure is Failure.TRANSIENT


async def test_the_end_of_a_transfer_may_come_after_the_end_of_the_answer(
    up: HttpUpstream, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back = asyncio.Event()
    give_back = up._connections.give_back

    def told(origin: Origin, connection: ResponseHandler) -> None:
        give_back(origin, connection)
        given_back.set()

    monkeypatch.setattr(up._connections, "give_back", told)
    ends = Gate()
    head, one, last = stream(b"data: 1\n\n")
    server.on("m", (head, one, ends, last), reply(b"2"))

    async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
        await answer.chunk()
    [connection] = server.open
    assert not given_back.is_set()
    ends.open()
    await asyncio.wait_for(given_back.wait(), REST_S)
    async with up.send(f"{server.address}/v1/x", {}, BODY, TIMEOUTS) as answer:
        await answer.read(10)

    assert server.open == {connection}


async def test_redirects_are_not_followed(up: HttpUpstream, server: Scripted) -> None:
    server.on("m", reply(status=307, headers={"location": f"{server.address}/elsewhere"}))

    async with up.send(f"{server.address}/v1/x", {"authorization": "k"}, BODY, TIMEOUTS) as answer:
        assert answer.status == 307

    assert [seen.path for seen in server.asked("m")] == ["/v1/x"]


async def test_a_probe_of_nothing_is_none(up: HttpUpstream) -> None:
    assert await up.probe("http://127.0.0.1:1/", 0.3) is None
