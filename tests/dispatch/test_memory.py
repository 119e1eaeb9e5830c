"""Answers that wait here, over real sockets: all of them together have a limit, and nothing of it
is lost however they end."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Rendered
from servers import canned
from servers.inprocess import Served, at, serving
from servers.scripted import JSON, End, Gate, Script, Scripted, Step, head, stream

LONG = msgspec.json.encode(canned.openai_whole({"content": "word " * 160_000}))
"""Some 800 kB: it comes in many pieces."""
HALF = len(LONG) // 2
KEPT = 1_000_000
"""One long answer fits, and not two."""
PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}


def in_halves(*between: Step, upto: int = len(LONG)) -> tuple[Step, ...]:
    begun = head(200, {"content-type": JSON, "content-length": str(len(LONG))})
    return (begun + LONG[:HALF], *between, LONG[HALF:upto])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)


async def until_free(served: Served) -> None:
    await until(lambda: served.state.answer_memory.taken_bytes == 0)


async def until_half_is_here(served: Served) -> None:
    await until(lambda: served.state.answer_memory.taken_bytes > HALF - 200_000)


def asking(served: Served, model: str, **fields: Any) -> asyncio.Task[Any]:
    return asyncio.ensure_future(served.ask(model, **fields))


@pytest.mark.parametrize("caller", PATHS)
async def test_the_answer_that_does_not_fit_is_given_up(
    up: Scripted, tmp_path: Path, caller: str
) -> None:
    gate = Gate()
    up.on("a", in_halves(gate))
    up.on("b", in_halves())
    asked = {"model": "b", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}]}

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        served.state.answer_memory.most_bytes = KEPT
        first = asking(served, "a")
        await until_half_is_here(served)
        refused = await served.request("POST", PATHS[caller], asked)
        gate.open()
        got = await first
        await until_free(served)

    assert (refused.status, refused.json["error"]["code"]) == (503, "overloaded")
    assert (refused.headers["x-should-retry"], refused.headers["retry-after"]) == ("true", "1")
    assert (got.status, len(got.json["choices"][0]["message"]["content"])) == (200, 800_000)
    assert [(fact.outcome, fact.code) for fact in served.exchanged()] == [
        ("failed", "overloaded"),
        ("ok", ""),
    ]
    assert b'code="overloaded"' in served.metrics.render()


@pytest.mark.parametrize("once", [False, True], ids=["", "under a key of its own"])
async def test_what_was_taken_is_there_for_the_next(
    up: Scripted, tmp_path: Path, once: bool
) -> None:
    up.on("a", in_halves())

    async with serving(tmp_path, up, at(up, "a")) as served:
        served.state.answer_memory.most_bytes = KEPT
        for number in range(4):
            headers = {"idempotency-key": str(number)} if once else {}
            assert (await served.ask("a", headers=headers)).status == 200
            await until_free(served)


FAILS: dict[str, Script] = {
    "cut": (*in_halves(upto=-10), End.CLOSE),
    "not JSON": (in_halves()[0], b"}" * (len(LONG) - HALF)),
}


@pytest.mark.parametrize("case", FAILS)
async def test_an_attempt_that_fails_gives_back_what_it_took(
    up: Scripted, tmp_path: Path, case: str
) -> None:
    gate = Gate()
    up.on("a", FAILS[case])
    up.on("b", in_halves(gate))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        served.state.answer_memory.most_bytes = KEPT
        answer = asking(served, "list")
        await until(lambda: bool(up.asked("b")))
        assert served.state.answer_memory.taken_bytes <= HALF
        gate.open()
        assert (await answer).status == 200
        await until_free(served)


class Body(bytes):
    """One that tells when nobody has it any more."""

    gone: Callable[[], None]

    def __del__(self) -> None:
        self.gone()


@pytest.mark.parametrize("streams", [False, True])
async def test_what_was_sent_to_an_endpoint_is_not_kept_until_it_has_answered(
    up: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    dialect = type(DIALECTS["openai_chat"])
    render = dialect.render_request
    told: list[str] = []

    def rendered(*asked: Any) -> Rendered:
        usual = render(*asked)
        body = Body(usual.body)
        body.gone = lambda: told.append("gone")
        return replace(usual, body=body)

    monkeypatch.setattr(dialect, "render_request", rendered)
    up.on("a", (Gate(),))

    async with serving(tmp_path, up, at(up, "a")) as served:
        asked = asking(served, "a", stream=streams)
        await until(lambda: bool(up.asked("a")))
        before = list(told)
        asked.cancel()

    assert before == ["gone"]


async def test_a_caller_who_leaves_gives_back_what_was_taken(up: Scripted, tmp_path: Path) -> None:
    up.on("a", in_halves(Gate()))

    async with serving(tmp_path, up, at(up, "a")) as served:
        asked = asking(served, "a")
        await until_half_is_here(served)
        asked.cancel()
        await until_free(served)


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_an_answer_counts_until_its_caller_has_it(
    up: Scripted, tmp_path: Path, version: bytes
) -> None:
    huge = msgspec.json.encode(canned.openai_whole({"content": "word " * 3_000_000}))
    begun = head(200, {"content-type": JSON, "content-length": str(len(huge))})
    up.on("a", (begun, huge))
    body = b'{"model":"a","messages":[{"role":"user","content":"Hello."}]}'

    async with serving(tmp_path, up, at(up, "a")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1 << 16)
        with closing(writer):
            writer.write(served.head(body).replace(b"HTTP/1.1", version) + body)
            await until(lambda: served.buffered() > 1 << 20)
            assert served.state.answer_memory.taken_bytes > len(huge) - (1 << 18)
            while await asyncio.wait_for(reader.read(1 << 20), 10):
                pass
        await until_free(served)


@pytest.mark.parametrize("caller", PATHS)
async def test_an_event_of_a_stream_counts_until_it_is_whole(
    up: Scripted, tmp_path: Path, caller: str
) -> None:
    begun = canned.openai_frames([{"content": "Hello"}])
    gate = Gate()
    endless = b'data: {"choices":[{"delta":{"content":"' + b"x" * 600_000
    up.on("a", stream(*begun[:2], gate, endless, endless))
    asked = {
        "model": "a",
        "max_tokens": 9,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello."}],
    }

    async with serving(tmp_path, up, at(up, "a")) as served:
        served.state.answer_memory.most_bytes = KEPT
        gate.open()
        got = await served.request("POST", PATHS[caller], asked)
        await until_free(served)

    assert (got.status, got.whole) == (200, False)
    error = got.events[-1]["error"]
    assert (error["code"], error["should_retry"]) == ("overloaded", True)


async def test_events_that_are_whole_take_nothing(up: Scripted, tmp_path: Path) -> None:
    up.on("a", stream(*canned.openai_frames([{"content": "x" * 200_000}] * 9)))

    async with serving(tmp_path, up, at(up, "a")) as served:
        served.state.answer_memory.most_bytes = 300_000
        got = await served.ask("a", stream=True)
        await until_free(served)

    assert got.events[-1] == "[DONE]"
