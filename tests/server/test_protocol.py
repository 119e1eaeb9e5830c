"""What is not HTTP, or two kinds of it at once, is refused on the spot and never served."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from fairlead.server.limits import Limits
from fairlead.server.protocol import Protocol
from servers import canned
from servers.hostile import ASK, CASES, CHAT, LAST, SMUGGLED, Case, asking, smuggling
from servers.inprocess import Served, at, serving, statuses
from servers.scripted import Endless, Gate, Scripted, reply, stream


@pytest.fixture
async def served(up: Scripted, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, up, at(up, "a"), limits=Limits(linger_s=0.05)) as running:
        yield running


async def sent(served: Served, case: Case) -> bytes:
    """What comes back until the gateway closes. The pieces arrive one by one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    with closing(writer):
        for piece in case.pieces[:-1]:
            writer.write(piece)
            for _ in range(4):  # turns of the loop in which the gateway reads
                await asyncio.sleep(0)
        writer.write(case.pieces[-1])
        return await asyncio.wait_for(reader.read(), 5.0)


@pytest.mark.parametrize("case", CASES)
async def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_connection(
    served: Served, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await sent(served, CASES[case])

    assert statuses(answer) == list(CASES[case].statuses)
    assert served.up.asked("smuggled") == []
    assert caplog.text == ""


@pytest.mark.parametrize("case", ["a trailer that is no header", "a chunk that is longer"])
async def test_wherever_the_message_is_cut(served: Served, case: str) -> None:
    whole = CASES[case].pieces[0]
    for cut in range(whole.index(ASK), whole.index(SMUGGLED)):
        with suppress(ConnectionResetError):  # it was refused before all of it was sent
            answer = await sent(served, Case((whole[:cut], whole[cut:]), (400,)))

            assert statuses(answer) == [400], (whole[:cut], whole[cut:])
    assert served.up.seen == []


async def test_no_disguise_of_a_length_lets_a_second_request_through(served: Served) -> None:
    """One by one, on connections of their own."""
    for case in smuggling():
        answer = await sent(served, case)

        assert statuses(answer) == list(case.statuses), case
    assert served.up.seen == []


@pytest.mark.parametrize("case", ["nonsense", "a host with a path", "a long header", "two hosts"])
async def test_a_refusal_is_told_like_every_error(served: Served, case: str) -> None:
    head, _, body = (await sent(served, CASES[case])).partition(b"\r\n\r\n")

    assert set(msgspec.json.decode(body)["error"]) >= {"message", "type", "code"}
    assert b"x-fairlead-request-id: " in head
    assert b"x-should-retry: false" in head
    assert b"aiohttp" not in head


async def test_requests_in_a_row_are_answered_in_their_order(served: Served) -> None:
    answer = await served.raw(asking() + asking() + LAST)

    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.endswith(b'{"status":"ok"}')
    assert len(served.up.seen) == 2


HURRIED = Limits(header_timeout_s=0.05, keep_alive_s=5.0, linger_s=0.05)
DRIBBLED = {
    "nothing": ((), b""),
    "half a head": ((CHAT,), b"408"),
    "empty lines": ((b"\r\n", b"\r\n"), b"408"),
    "half a head behind a request": ((asking(), CHAT), b"200408"),
}


@pytest.mark.parametrize("case", DRIBBLED)
async def test_a_head_that_does_not_come_is_not_waited_for(
    up: Scripted, tmp_path: Path, case: str
) -> None:
    pieces, told = DRIBBLED[case]
    async with serving(tmp_path, up, at(up, "a"), limits=HURRIED) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        answer = b""
        with closing(writer):
            for piece in pieces:
                writer.write(piece)
                if piece == asking():
                    answer += await reader.readuntil(b'"}]')
            answer += await asyncio.wait_for(reader.read(), 5.0)

    assert "".join(map(str, statuses(answer))).encode() == told


async def test_who_dribbles_a_head_gains_no_time(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), limits=HURRIED) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        answered = asyncio.ensure_future(reader.readuntil(b"}}"))
        with closing(writer), suppress(ConnectionError):
            for letter in asking()[:-1]:
                writer.write(bytes((letter,)))
                if (await asyncio.wait((answered,), timeout=0.01))[0]:
                    break
        answer = await answered

    assert statuses(answer) == [408]
    assert b"x-should-retry: true" in answer


async def test_a_long_answer_is_no_late_head(up: Scripted, tmp_path: Path) -> None:
    gate = Gate()
    up.on("a", (gate, *reply(canned.OPENAI["text"].whole)))
    async with serving(tmp_path, up, at(up, "a"), limits=HURRIED) as served:
        asked = asyncio.create_task(served.ask("a"))
        await asyncio.to_thread(up.wait_for, "a")
        protocol = served.listener._server.connections[0]
        assert isinstance(protocol, Protocol)
        protocol._look()
        protocol._look()
        gate.open()

        assert (await asked).status == 200


async def test_an_idle_connection_is_closed(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), limits=Limits(keep_alive_s=0.05)) as served:
        answer = await served.raw(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")

    assert answer.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("path", "place"), [("/v1/chat/completions", ("code",)), ("/v1/messages", ("type",))]
)
async def test_a_bug_of_ours_is_told_in_the_callers_dialect_and_logged_under_its_id(
    served: Served, path: str, place: tuple[str], caplog: pytest.LogCaptureFixture
) -> None:
    served.state.registry.catalog = None  # type: ignore[assignment]
    asked = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}]}

    got = await served.request("POST", path, asked)

    assert (got.status, got.headers["x-should-retry"]) == (500, "false")
    assert got.json["error"][place[0]] in ("internal_error", "api_error")
    assert "Traceback" not in got.body.decode()
    assert got.headers["x-fairlead-request-id"] in caplog.text
    assert "Traceback" in caplog.text
    assert served.listener.in_flight == 0


# Readers that do not read -----------------------------------------------------------------------

STREAMED = b'{"model":"a","stream":true,"messages":[{"role":"user","content":"Hello."}]}'
UNREAD = Limits(write_idle_s=0.1, linger_s=0.05)


def deaf(served: Served) -> socket.socket:
    """Has asked for an answer of which only a little fits into the kernel, and reads nothing."""
    here = socket.socket()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    here.connect(("127.0.0.1", served.port))
    here.sendall(served.head(STREAMED) + STREAMED)
    return here


async def gone(served: Served) -> None:
    async with asyncio.timeout(5.0):
        while served.listener._server.connections:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def test_a_stream_that_nobody_reads_is_stopped_and_settled(
    up: Scripted, tmp_path: Path
) -> None:
    text = canned.OPENAI["text"].frames
    up.on("a", Endless(text[1], text[0]))

    async with serving(tmp_path, up, at(up, "a"), limits=UNREAD) as served:
        with closing(deaf(served)):
            seen = await asyncio.to_thread(up.wait_for, "a")
            await asyncio.to_thread(seen.left.wait)
            await gone(served)
        await served.settled()

    assert [fact.outcome for fact in served.exchanged()] == ["cancelled"]
    assert served.exchanged()[0].attempts[0].failure == "cancelled"


async def test_a_finished_answer_that_nobody_reads_is_not_kept(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("a", stream(*(canned.OPENAI["text"].frames[1:2] * 40_000), *canned.OPENAI["text"].frames))

    async with serving(tmp_path, up, at(up, "a"), limits=UNREAD) as served:
        with closing(deaf(served)):
            await asyncio.to_thread(up.wait_for, "a")
            await gone(served)

        assert served.buffered() == 0


async def test_the_kernel_holds_little_of_what_is_not_read(served: Served) -> None:
    """By itself it takes megabytes, which count as this process's memory where that is limited."""
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    with closing(writer):
        async with asyncio.timeout(5.0):
            while not (connections := served.listener._server.connections):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        transport = connections[0].transport
        assert transport is not None
        ours = transport.get_extra_info("socket")

        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 512 << 10
