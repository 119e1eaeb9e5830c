"""What a plan comes to when endpoints fail, stall, refuse or lie, and when the caller leaves.

``serving`` checks after each test that every attempt was held, settled and told exactly once.
"""

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
from msgspec.structs import replace

from facts import attempted
from fairlead.decide import decide
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.dispatch import Dispatch, Errand
from fairlead.dispatch.trial import Trial
from fairlead.gateway import Call, Gateway
from fairlead.state.keys import LOCAL
from fairlead.types.catalog import Shift, Timeouts
from fairlead.types.decision import Grant, Plan
from fairlead.types.decision import Limits as KeyLimits
from fairlead.types.errors import OurError, UpstreamError
from servers import canned
from servers.inprocess import LIST, QUICK, Served, at, secret_of, serving
from servers.scripted import (
    End,
    Endless,
    Gate,
    Script,
    Scripted,
    Seen,
    cut,
    head,
    reply,
    silent,
    stream,
)

GOOD = canned.OPENAI["text"]
FRAMES = GOOD.frames
STARTED = FRAMES[:3]
"""A role, and two pieces of the text."""
PLENTY = KeyLimits(budget_day_nano_usd=10**9)


@pytest.fixture
async def up() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        server.on("b", GOOD)
        yield server


def error(code: str, message: str = "It did not work.", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "code": code, **fields}}


# What another endpoint makes good --------------------------------------------------------------

FAILURES: Mapping[str, tuple[Script, str]] = {
    "429": (reply(error("rate_limit_exceeded"), status=429), "rate_limit"),
    "429, retry-after": (reply(status=429, headers={"retry-after": "7"}), "rate_limit"),
    "429, no credit": (reply(error("insufficient_quota"), status=429), "quota"),
    "402": (reply(error(""), status=402), "quota"),
    "500": (reply(error("server_error"), status=500), "transient"),
    "502 from a proxy": (reply(b"<html>", status=502), "transient"),
    "503": (reply(status=503), "overloaded"),
    "529": (reply(error("overloaded_error"), status=529), "overloaded"),
    "401": (reply(error("invalid_api_key"), status=401), "credential"),
    "404, model gone": (reply(error("model_not_found"), status=404), "model_gone"),
    "redirect": (reply(status=307, headers={"location": "http://127.0.0.1:1/"}), "bad_success"),
    "200, HTML": (reply(b"<html>", content_type="text/html"), "bad_success"),
    "200, nothing": (reply(b""), "bad_success"),
    "200, an error": (reply(error("server_overloaded")), "overloaded"),
    "reset": ((End.RESET,), "transient"),
    "closed": ((End.CLOSE,), "transient"),
    "half a head": ((b"HTTP/1.1 200 OK\r\ncont", End.RESET), "transient"),
    "a long error": (reply(b'{"error":"' + b"x" * 400_000, status=500), "transient"),
    "an error cut off": (cut(reply(b"x" * 900, status=429), after=200), "rate_limit"),
}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", FAILURES)
async def test_another_endpoint_takes_over_unseen(
    up: Scripted, tmp_path: Path, case: str, streams: bool
) -> None:
    script, failure = FAILURES[case]
    up.on("a", script)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await served.ask(stream=streams)

    assert (got.status, got.text, got.attempts) == (200, canned.TEXT, 2)
    assert got.headers["x-fairlead-endpoint"] == "at-b/b"
    [fact] = served.exchanged()
    assert [one.failure for one in fact.attempts] == [failure, ""]
    assert (fact.outcome, len(up.asked("a")), len(up.asked("b"))) == ("ok", 1, 1)


BEFORE_CONTENT: Mapping[str, tuple[Script, str]] = {
    "cut at the role": ((*stream(FRAMES[0])[:-1], End.CLOSE), "stream_broken"),
    "closed at the role": (stream(FRAMES[0]), "stream_broken"),
    "reset": (cut(stream(*FRAMES), after=200, end=End.RESET), "stream_broken"),
    "nothing": (stream(), "bad_success"),
    "only its end": (stream(FRAMES[-1]), "bad_success"),
    "an error": (stream(b'data: {"error":{"message":"no","code":503}}\n\n'), "overloaded"),
}


@pytest.mark.parametrize("case", BEFORE_CONTENT)
async def test_a_stream_that_breaks_before_its_content_is_made_good(
    up: Scripted, tmp_path: Path, case: str
) -> None:
    script, failure = BEFORE_CONTENT[case]
    up.on("a", script)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await served.ask(stream=True)

    assert (got.text, got.attempts, got.whole) == (canned.TEXT, 2, True)
    [fact] = served.exchanged()
    assert [one.failure for one in fact.attempts] == [failure, ""]


async def test_an_address_where_nobody_listens_is_passed_over(up: Scripted, tmp_path: Path) -> None:
    nobody = at(up, "a", base_url="http://127.0.0.1:1")

    async with serving(tmp_path, up, nobody, at(up, "b")) as served:
        got = await served.ask()

    assert (got.text, got.attempts) == (canned.TEXT, 2)
    [fact] = served.exchanged()
    assert [(one.failure, one.basis) for one in fact.attempts] == [
        ("connect", "rejected_zero"),
        ("", "provider_usage"),
    ]


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (400, "invalid_request_error", "caller_fault"),
        (422, "", "caller_fault"),
        (400, "content_filter", "content_filter"),
    ],
)
async def test_what_the_caller_must_change_is_told_and_not_tried_elsewhere(
    up: Scripted, tmp_path: Path, status: int, code: str, failure: str
) -> None:
    up.on("a", reply(error(code, "top_q is unknown", param="top_q"), status=status))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await served.ask()

    assert (got.status, got.attempts, up.asked("b")) == (400, 1, [])
    assert "top_q is unknown" in got.json["error"]["message"]
    assert got.headers["x-should-retry"] == "false"
    assert served.exchanged()[0].attempts[0].failure == failure


async def test_a_prompt_too_long_goes_only_to_a_larger_context(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("a", reply(error("context_length_exceeded"), status=400))
    up.on("c", GOOD)
    larger = at(up, "c", context_tokens=1_000_000)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b"), larger) as served:
        got = await served.ask()

    assert (got.headers["x-fairlead-endpoint"], up.asked("b")) == ("at-c/c", [])


async def test_the_declared_successor_takes_over_from_a_model_that_is_gone(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("old", reply(error("model_not_found", "old is no longer available"), status=404))
    up.on("new", GOOD)

    async with serving(tmp_path, up, at(up, "old", successor="new"), at(up, "new")) as served:
        at_once = await served.ask("old")
        afterwards = await served.ask("old")

    assert (at_once.headers["x-fairlead-model"], at_once.attempts) == ("new", 2)
    assert (afterwards.headers["x-fairlead-model"], afterwards.attempts) == ("new", 1)
    assert len(up.asked("old")) == 1


async def test_another_credential_comes_before_another_endpoint(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("a", reply(status=429), GOOD)

    async with serving(
        tmp_path, up, at(up, "a", secrets=("KEY_1", "KEY_2")), at(up, "b")
    ) as served:
        got = await served.ask()

    assert got.headers["x-fairlead-endpoint"] == "at-a/a"
    presented = sorted(seen.headers["authorization"] for seen in up.asked("a"))
    assert presented == [f"Bearer {secret_of(name)}" for name in ("KEY_1", "KEY_2")]


async def test_a_credential_that_is_not_there_is_passed_over(up: Scripted, tmp_path: Path) -> None:
    without = at(up, "a", signer="bearer", secrets=())

    async with serving(tmp_path, up, without, at(up, "b")) as served:
        got = await served.ask()

    assert (got.headers["x-fairlead-endpoint"], up.asked("a")) == ("at-b/b", [])
    assert served.exchanged()[0].attempts[0].basis == "rejected_zero"


# What nobody makes good -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status", "retry", "whose"),
    [
        (reply(status=429, headers={"retry-after": "7"}), 429, "true", "at-a/a: "),
        (reply(error("insufficient_quota"), status=429), 429, "false", "at-a/a: "),
        (reply(b"<html>"), 502, "false", "at-a/a: "),
        (reply(status=401), 502, "false", "at-a/a: "),
        (reply(error("model_not_found"), status=404), 404, "false", "at-a/a: "),
        (reply(error("context_length_exceeded"), status=400), 400, "false", ""),
        (reply(error("bad"), status=400), 400, "false", ""),
    ],
)
async def test_the_last_failure_is_told_with_every_attempt(
    up: Scripted, tmp_path: Path, script: Script, status: int, retry: str, whose: str
) -> None:
    up.on("a", script)

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.ask()

    assert (got.status, got.attempts) == (status, 1)
    assert got.headers["x-should-retry"] == retry
    assert got.headers.get("retry-after") == ("7" if retry == "true" else None)
    message = got.json["error"]["message"]
    assert message.startswith(whose or message[:1])
    assert ("at-a" in message) == bool(whose)


async def test_the_soonest_retry_of_all_is_told(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(status=429, headers={"retry-after": "7"}))
    up.on("b", reply(status=429, headers={"retry-after": "90"}))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await served.ask()

    assert (got.status, got.headers["retry-after"], got.attempts) == (429, "7", 2)
    assert "at-a/a: " in got.json["error"]["message"]


async def test_no_more_attempts_are_made_than_the_route_allows(
    up: Scripted, tmp_path: Path
) -> None:
    for name in "abc":
        up.on(name, reply(status=401))

    async with serving(
        tmp_path, up, at(up, "a"), at(up, "b"), at(up, "c"), max_attempts=2
    ) as served:
        got = await served.ask()

    assert (got.attempts, len(up.seen), up.asked("c")) == (2, 2, [])


async def test_one_endpoint_alone_is_asked_once_more(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(status=429, headers={"retry-after": "0.01"}), GOOD)

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.ask()

    assert (got.text, got.attempts) == (canned.TEXT, 2)


# Time -------------------------------------------------------------------------------------------


async def test_the_deadline_is_one_for_all_attempts(up: Scripted, tmp_path: Path) -> None:
    up.on("a", silent())

    async with serving(tmp_path, up, at(up, "a"), at(up, "b"), deadline_s=0.1) as served:
        began_s = monotonic()
        got = await served.ask()
        took_s = monotonic() - began_s

    assert (got.status, up.asked("b")) == (504, [])
    assert 0.1 <= took_s < 5.0


async def test_the_deadline_counts_from_arrival(up: Scripted, tmp_path: Path) -> None:
    up.on("a", silent())
    body = b'{"model":"list","messages":[{"role":"user","content":"Hello."}]}'

    async with serving(tmp_path, up, at(up, "a"), deadline_s=20.0) as served:
        began_s = monotonic()
        late = replace(call(served, body), arrived_s=began_s - 19.9)
        with pytest.raises(UpstreamError, match="no answer in time"):
            await served.gateway.answer(late)

    assert monotonic() - began_s < 3.0


async def test_a_request_may_ask_for_a_shorter_deadline(up: Scripted, tmp_path: Path) -> None:
    up.on("a", silent())

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.ask(headers={"x-fairlead-deadline": "50ms"})

    assert got.status == 504


async def test_no_pause_outlasts_the_deadline(
    up: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlead.decide.failover.PAUSE_S", 2.0)
    up.on("a", reply(status=500))

    async with serving(tmp_path, up, at(up, "a"), deadline_s=1.5) as served:
        began_s = monotonic()
        got = await served.ask()
        took_s = monotonic() - began_s

    assert (got.status, got.attempts) == (502, 1)
    assert took_s < 1.5


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose queue of connections is full: another one is never answered."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            waiting.append(one)
        yield listening.getsockname()[1]
        for one in waiting:
            one.close()


async def test_a_connection_is_not_waited_for_too_long(
    up: Scripted, tmp_path: Path, full: int
) -> None:
    deaf = at(up, "a", base_url=f"http://127.0.0.1:{full}", timeouts=QUICK)

    async with serving(tmp_path, up, deaf, at(up, "b")) as served:
        got = await served.ask()

    assert got.text == canned.TEXT
    # Loopback drops the packet, so that nothing tells waiting to connect from waiting for a reply.
    assert served.exchanged()[0].attempts[0].failure in ("connect", "silent")


async def test_a_flood_without_content_is_not_held_for_long(up: Scripted, tmp_path: Path) -> None:
    """It comes within the time for the first content, and would be held in memory."""
    up.on("a", Endless(b": ping\n\n" * 10_000, FRAMES[0]))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await asyncio.wait_for(served.ask(stream=True), 10.0)

    assert (got.text, got.attempts) == (canned.TEXT, 2)
    assert served.exchanged()[0].attempts[0].message == "a flood of events without content"


SILENCES: Mapping[str, Script] = {
    "no answer": silent(),
    "no content": (*stream(FRAMES[0])[:-1], Gate()),
    "only pings": Endless(b": ping\n\n", FRAMES[0]),
}


@pytest.mark.parametrize("case", SILENCES)
async def test_the_first_content_is_not_waited_for_too_long(
    up: Scripted, tmp_path: Path, case: str
) -> None:
    up.on("a", SILENCES[case])

    async with serving(tmp_path, up, at(up, "a", timeouts=QUICK), at(up, "b")) as served:
        got = await served.ask(stream=True)

    assert (got.text, got.attempts) == (canned.TEXT, 2)
    [fact] = served.exchanged()
    assert [one.failure for one in fact.attempts] == ["silent", ""]
    await asyncio.wait_for(up.asked("a")[0].left.opened(), 5.0)


async def test_an_errors_words_are_not_waited_for_too_long(up: Scripted, tmp_path: Path) -> None:
    head, body = reply(b"x" * 90, status=429)
    assert isinstance(body, bytes)
    up.on("a", (head, body[:5], Gate()))
    patient = at(up, "a", timeouts=Timeouts(first_token_s=5.0, stall_s=0.1))

    async with serving(tmp_path, up, patient, at(up, "b")) as served:
        got = await served.ask()

    assert got.text == canned.TEXT
    assert served.exchanged()[0].attempts[0].failure == "rate_limit"


async def test_a_slow_answer_that_keeps_coming_is_let_be(up: Scripted, tmp_path: Path) -> None:
    gates = [Gate() for _ in FRAMES]
    steps = [step for pair in zip(FRAMES, gates, strict=True) for step in pair]
    up.on("a", stream(*steps))
    most = Timeouts(first_token_s=0.3, stall_s=0.3)
    loop = asyncio.get_running_loop()

    async with serving(tmp_path, up, at(up, "a", timeouts=most)) as served:
        for number, gate in enumerate(gates):
            loop.call_later(0.04 * number, gate.open)
        got = await served.ask(stream=True)

    assert (got.text, got.attempts) == (canned.TEXT, 1)
    assert served.exchanged()[0].total_ms > 1000 * most.stall_s


# After the first content, on a route that wants no rescue ---------------------------------------

BREAKS: Mapping[str, Script] = {
    "closed": (*stream(*STARTED)[:-1], End.CLOSE),
    "reset": (*stream(*STARTED)[:-1], End.RESET),
    "ended early": stream(*STARTED),
    "stalled": (*stream(*STARTED)[:-1], Gate()),
    "an error": stream(*STARTED, b'data: {"error":{"message":"no","code":503}}\n\n'),
    "nonsense": stream(*STARTED, b"data: {]\n\n"),
}
ERROR_FRAMES = {
    "/v1/chat/completions": b'data: {"error":{',
    "/v1/messages": b'event: error\ndata: {"type":"error"',
}


@pytest.mark.parametrize("path", ERROR_FRAMES)
@pytest.mark.parametrize("case", BREAKS)
async def test_a_broken_stream_ends_in_an_error_of_the_callers_dialect(
    up: Scripted, tmp_path: Path, case: str, path: str
) -> None:
    up.on("a", BREAKS[case])
    asked = {
        "model": LIST,
        "stream": True,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "Hello."}],
    }

    quick = at(up, "a", timeouts=QUICK)
    async with serving(tmp_path, up, quick, at(up, "b"), rescue=False) as served:
        got = await served.request("POST", path, asked)

    assert (got.status, got.whole) == (200, False)
    assert ERROR_FRAMES[path] in got.body.split(b"\n\n")[-2] + b"\n\n"
    assert b"[DONE]" not in got.body
    assert b"message_stop" not in got.body
    [fact] = served.exchanged()
    assert (fact.outcome, fact.code) == ("failed", "upstream_stream_broken")
    assert [(one.failure, one.basis) for one in fact.attempts] == [
        ("stream_broken", "partial_estimate")
    ]


async def test_no_final_chunk_follows_an_error(up: Scripted, tmp_path: Path) -> None:
    up.on("a", BREAKS["closed"])
    body = b'{"model":"a","stream":true,"messages":[{"role":"user","content":"Hello."}]}'

    async with serving(tmp_path, up, at(up, "a")) as served:
        answer = await served.raw(served.head(body) + body)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"transfer-encoding: chunked" in answer.lower()
    assert answer.rstrip().endswith(b"}")
    assert not answer.endswith(b"0\r\n\r\n")


async def test_what_a_stream_came_through_serves_the_next_one(up: Scripted, tmp_path: Path) -> None:
    """A connection costs a handshake: it is given back after the end, not cut at it."""
    async with serving(tmp_path, up, at(up, "b")) as served:
        used = []
        for _ in range(4):
            assert (await served.ask(stream=True)).whole
            used.append({transport.get_extra_info("peername") for transport in up.open})

    assert used == [used[0]] * 4
    assert len(used[0]) == 1


# Gates, breakers, retirement --------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        reply(status=429, headers={"retry-after": "60"}),
        reply(error("insufficient_quota"), status=429),
        reply(status=401),
        reply(error("model_not_found"), status=404),
    ],
    ids=["rate limit", "quota", "credential", "gone"],
)
async def test_an_endpoint_that_said_no_is_left_alone_by_the_next_request(
    up: Scripted, tmp_path: Path, script: Script
) -> None:
    up.on("a", script)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        await served.ask()
        second = await served.ask()
        alone = await served.ask("a")

    assert (second.attempts, len(up.asked("a"))) == (1, 1)
    assert (alone.status, alone.json["error"]["code"]) == (503, "no_endpoint_available")


async def test_five_failures_in_a_row_open_the_breaker(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(status=500))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        for _ in range(6):
            assert (await served.ask()).text == canned.TEXT

    assert len(up.asked("a")) == 5


def failed_earlier(served: Served, name: str, ago_s: float = 60.0, times: int = 5) -> None:
    """Its breaker opened so long ago that it is half open now."""
    one = attempted(
        endpoint=f"at-{name}/{name}", credential=f"env:KEY_{name.upper()}", failure="transient"
    )
    for _ in range(times):
        served.state.observe(one, monotonic() - ago_s)


def breaker(served: Served, name: str) -> str:
    key = (f"at-{name}/{name}", f"env:KEY_{name.upper()}")
    return served.state.health.vitals(monotonic())[key].state


@pytest.mark.parametrize(("script", "state"), [(GOOD, "closed"), (reply(status=500), "open")])
async def test_one_probe_decides_on_a_breaker(
    up: Scripted, tmp_path: Path, script: Any, state: str
) -> None:
    up.on("a", script)

    async with serving(tmp_path, up, at(up, "a"), max_attempts=1) as served:
        failed_earlier(served, "a")
        assert breaker(served, "a") == "half_open"
        await served.ask()
        assert breaker(served, "a") == state


async def test_who_waits_for_a_silent_endpoint_does_not_wait_as_long_as_an_answer_may_take(
    up: Scripted, tmp_path: Path
) -> None:
    """An answer of a thousand tokens may take half an hour here: but not where others before it
    were never heard of."""
    up.on("a", GOOD, silent())
    patience = Timeouts(connect_s=1.0, first_token_s=0.2, stall_s=5.0)
    one = at(up, "a", timeouts=patience, expected_tokens_per_s=1.0)

    async with serving(tmp_path, up, one, at(up, "b")) as served, asyncio.timeout(20):
        await served.ask()
        waiting = asyncio.create_task(served.ask(max_tokens=1_000))
        await asyncio.to_thread(up.wait_for, "a", 2)
        now_s = monotonic()
        for number in range(200):
            served.state.health.begin(("at-a/a", "env:KEY_A"), now_s + number)
        got = await waiting

    assert (got.text, got.attempts) == (canned.TEXT, 2)
    assert [one.failure for one in served.exchanged()[1].attempts] == ["silent", ""]


async def test_twins_share_by_what_they_have_in_hand(up: Scripted, tmp_path: Path) -> None:
    gate = Gate()
    up.on("a", (gate, *reply(GOOD.whole)))
    one = at(up, "a")
    other = replace(at(up, "b"), model=one.model)

    async with serving(tmp_path, up, one, other) as served:
        first = asyncio.create_task(served.ask("a"))
        await asyncio.to_thread(up.wait_for, "a")
        meanwhile = [await served.ask("a") for _ in range(3)]
        gate.open()
        assert (await first).headers["x-fairlead-endpoint"] == "at-a/a"

    assert [got.headers["x-fairlead-endpoint"] for got in meanwhile] == ["at-b/b"] * 3


def in_days(days: float) -> str:
    return datetime.fromtimestamp(time() + days * 86_400, UTC).date().isoformat()


async def test_requests_move_to_a_successor_and_back_when_it_fails(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("old", GOOD)
    up.on("new", GOOD, *[reply(status=500)] * 3, GOOD)
    old = at(up, "old", retires=in_days(1), successor="new", shift=Shift(0.05, 90 * 86_400.0))

    async with serving(tmp_path, up, old, at(up, "new")) as served:
        got = [await served.ask("old") for _ in range(6)]

    by = [one.headers["x-fairlead-model"] for one in got]
    assert by == ["new", "old", "old", "old", "old", "old"]
    assert [one.attempts for one in got] == [1, 2, 2, 2, 1, 1]
    assert "of its requests go to new by now" in got[0].headers["x-fairlead-reason"]
    assert got[-1].headers["x-fairlead-reason"].endswith("but fails")
    assert len(up.asked("new")) == 4


USED_UP = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0s"}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_an_endpoint_that_has_used_up_its_rate_limit_is_spared(
    up: Scripted, tmp_path: Path, streams: bool
) -> None:
    """It has not refused anything yet, and need not."""
    up.on("a", stream(*FRAMES, headers=USED_UP) if streams else reply(GOOD.whole, headers=USED_UP))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = [await served.ask(stream=streams) for _ in range(2)]
        plan = served.exchanged()[1].plan

    assert [one.headers["x-fairlead-endpoint"] for one in got] == ["at-a/a", "at-b/b"]
    assert isinstance(plan, Plan)
    assert "rate limit used up for" in plan.attempts[-1].last_resort


async def test_but_not_where_nobody_else_can_answer(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(GOOD.whole, headers=USED_UP))

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = [await served.ask() for _ in range(3)]

    assert [one.status for one in got] == [200, 200, 200]


async def test_alone_and_down_it_is_hardly_asked_more_often_than_there_are_requests(
    up: Scripted, tmp_path: Path
) -> None:
    """Retries of each request would double the load on a server that cannot bear it."""
    up.on("a", reply(status=503))

    async with serving(tmp_path, up, at(up, "a")) as served:
        for _ in range(5):
            got = await asyncio.gather(*(served.ask() for _ in range(20)))
            assert {one.status for one in got} == {503}
            assert {one.json["error"]["code"] for one in got} == {"upstream_overloaded"}

    assert 100 <= len(up.asked("a")) <= 110


@pytest.mark.parametrize("times", [0, 2, 4])
@pytest.mark.parametrize("ago_s", [3600.0, 2.0], ids=["an hour ago", "seconds ago"])
async def test_many_at_once_may_fail_over_to_one_that_failed_and_is_well(
    up: Scripted, tmp_path: Path, ago_s: float, times: int
) -> None:
    """Its answers take their time: until the first is there nobody knows that it is well again."""
    fails, answers = Gate(), Gate()
    up.on("a", (fails, *reply(status=503)))
    up.on("b", (answers, *reply(GOOD.whole)))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served, asyncio.timeout(20):
        failed_earlier(served, "b", ago_s, times)
        asked = [asyncio.create_task(served.ask()) for _ in range(20)]
        await asyncio.to_thread(up.wait_for, "a", 20)
        fails.open()
        await asyncio.to_thread(up.wait_for, "b", 20)
        answers.open()
        got = await asyncio.gather(*asked)

    assert [one.status for one in got] == [200] * 20
    assert (len(up.asked("a")), len(up.asked("b"))) == (20, 20)


async def test_while_a_probe_is_out_the_others_go_elsewhere(up: Scripted, tmp_path: Path) -> None:
    gate = Gate()
    up.on("a", (gate, *reply(GOOD.whole)))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        failed_earlier(served, "a")
        probe = asyncio.create_task(served.ask())
        await asyncio.to_thread(up.wait_for, "a")
        other = await served.ask()
        gate.open()
        assert (await probe).headers["x-fairlead-endpoint"] == "at-a/a"

    assert other.headers["x-fairlead-endpoint"] == "at-b/b"
    assert len(up.asked("a")) == 1


async def test_where_there_is_no_elsewhere_an_open_breaker_keeps_nobody_out(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("a", GOOD)

    async with serving(tmp_path, up, at(up, "a")) as served:
        failed_earlier(served, "a", ago_s=0.0)
        assert breaker(served, "a") == "open"
        got = await served.ask()
        assert breaker(served, "a") == "closed"

    assert (got.status, got.text) == (200, canned.TEXT)
    assert got.headers["x-fairlead-reason"].endswith("the least bad where nobody is well")


async def test_who_is_let_in_beside_a_probe_does_not_end_it(up: Scripted, tmp_path: Path) -> None:
    gate = Gate()
    scripts = iter([(gate, *reply(GOOD.whole)), reply(error("bad"), status=400)])
    up.on("a", lambda _: next(scripts))

    async with serving(tmp_path, up, at(up, "a")) as served:
        failed_earlier(served, "a")
        probe = asyncio.create_task(served.ask())
        await asyncio.to_thread(up.wait_for, "a")
        assert (await served.ask()).status == 400
        assert breaker(served, "a") == "open"
        gate.open()
        assert (await probe).status == 200

    assert [one.kept_out for fact in served.exchanged() for one in fact.attempts] == [True, False]


@pytest.mark.parametrize("ago_s", [60.0, 0.0], ids=["half open", "open"])
async def test_of_many_that_fail_over_to_an_open_breaker_a_few_may(
    up: Scripted, tmp_path: Path, ago_s: float
) -> None:
    """Who has nobody else left asks the least bad, but not all at once: it may be down."""
    may = 4  # three, and the probe, or for the five requests that were made
    fails, answers = Gate(), Gate()
    up.on("a", (fails, *reply(status=401)))
    up.on("b", (answers, *reply(GOOD.whole)))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served, asyncio.timeout(20):
        asked = [asyncio.create_task(served.ask()) for _ in range(12)]
        await asyncio.to_thread(up.wait_for, "a", 12)
        failed_earlier(served, "b", ago_s)
        fails.open()
        turned_away = []
        for task in asyncio.as_completed(asked):
            turned_away.append((await task).status)
            if len(turned_away) == 12 - may:
                answers.open()
        assert turned_away == [502] * (12 - may) + [200] * may
        assert breaker(served, "b") == "closed"

    assert len(up.asked("b")) == may


# The last resort --------------------------------------------------------------------------------

UNWELL: Mapping[str, tuple[Script, list[str]]] = {
    "503": (reply(status=503), ["overloaded", "overloaded", ""]),
    "500": (reply(status=500), ["transient", "transient", ""]),
    "401": (reply(status=401), ["credential", ""]),
    "429": (reply(status=429), ["rate_limit", ""]),
    "200, HTML": (reply(b"<html>", content_type="text/html"), ["bad_success", ""]),
}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", UNWELL)
async def test_when_all_others_have_failed_a_breaker_that_was_open_keeps_nobody_out(
    up: Scripted, tmp_path: Path, case: str, streams: bool
) -> None:
    """It failed before the request came, and may be well by now."""
    script, failures = UNWELL[case]
    up.on("a", script)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        failed_earlier(served, "b", ago_s=0.0)
        got = await served.ask(stream=streams)
        assert breaker(served, "b") == "closed"

    assert (got.status, got.text) == (200, canned.TEXT)
    [fact] = served.exchanged()
    assert [one.failure for one in fact.attempts] == failures


async def test_nor_does_a_forecast(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(status=401))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        served.state.health.dry(("at-b/b", "env:KEY_B"), 60.0, monotonic())
        got = await served.ask()

    assert (got.status, got.attempts) == (200, 2)


@pytest.mark.parametrize("script", [GOOD, reply(status=503)], ids=["well", "it fails once"])
async def test_a_last_resort_is_left_alone_while_another_answers(
    up: Scripted, tmp_path: Path, script: Script
) -> None:
    up.on("a", script, GOOD)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        failed_earlier(served, "b", ago_s=0.0)
        got = await served.ask()

    assert (got.status, got.headers["x-fairlead-endpoint"]) == (200, "at-a/a")
    assert up.asked("b") == []


async def test_a_last_resort_that_is_down_is_asked_once(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(status=503))
    up.on("b", reply(status=503))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b"), max_attempts=9) as served:
        failed_earlier(served, "b", ago_s=0.0)
        got = await served.ask()

    assert (got.status, len(up.asked("a")), len(up.asked("b"))) == (503, 2, 1)


async def test_of_many_that_have_only_a_last_resort_a_few_may(up: Scripted, tmp_path: Path) -> None:
    may = 4  # three, and for the five requests that were made
    fails, answers = Gate(), Gate()
    up.on("a", (fails, *reply(status=401)))
    up.on("b", (answers, *reply(GOOD.whole)))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served, asyncio.timeout(20):
        failed_earlier(served, "b", ago_s=0.0)
        asked = [asyncio.create_task(served.ask()) for _ in range(12)]
        await asyncio.to_thread(up.wait_for, "a", 12)
        fails.open()
        turned_away = []
        for task in asyncio.as_completed(asked):
            turned_away.append((await task).status)
            if len(turned_away) == 12 - may:
                answers.open()

    assert turned_away == [502] * (12 - may) + [200] * may
    assert len(up.asked("b")) == may


async def test_where_others_found_out_meanwhile_the_last_resort_is_asked(
    up: Scripted, tmp_path: Path
) -> None:
    """Its failure opens the breaker of the first, which is not asked again then."""
    up.on("a", reply(status=503))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        failed_earlier(served, "a", ago_s=0.0, times=4)
        failed_earlier(served, "b", ago_s=0.0)
        got = await served.ask()

    assert (got.status, got.attempts, len(up.asked("a"))) == (200, 2, 1)


@pytest.mark.parametrize("failure", ["rate_limit", "credential", "model_gone"])
@pytest.mark.parametrize("kept_back", [True, False], ids=["of last resort", "well"])
async def test_who_has_said_no_since_the_plan_was_made_is_not_asked(
    up: Scripted, tmp_path: Path, failure: str, kept_back: bool
) -> None:
    fails = Gate()
    up.on("a", (fails, *reply(status=503)))
    told = attempted(endpoint="at-b/b", credential="env:KEY_B", failure=failure, status=429)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served, asyncio.timeout(20):
        if kept_back:
            served.state.health.dry(("at-b/b", "env:KEY_B"), 60.0, monotonic())
        asked = asyncio.create_task(served.ask())
        await asyncio.to_thread(up.wait_for, "a")
        served.state.observe(told, monotonic())
        fails.open()
        assert (await asked).status == 503

    assert up.asked("b") == []


@pytest.mark.parametrize(
    ("names", "by"), [(["a"], None), (["a", "b"], "at-b/b")], ids=["alone", "with a last resort"]
)
async def test_who_says_no_while_he_is_waited_for_is_not_asked_again(
    up: Scripted, tmp_path: Path, names: list[str], by: str | None
) -> None:
    up.on("a", reply(status=503))
    told = attempted(
        endpoint="at-a/a", credential="env:KEY_A", failure="rate_limit", retry_after_s=30.0
    )

    async with (
        serving(tmp_path, up, *[at(up, name) for name in names]) as served,
        asyncio.timeout(20),
    ):
        if by:
            failed_earlier(served, "b", ago_s=0.0)
        asked = asyncio.create_task(served.ask())
        while ("at-a/a", "env:KEY_A") not in served.state.health.vitals(monotonic()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # nothing tells that it has failed
        served.state.observe(told, monotonic())
        got = await asked

    assert (got.status, got.headers.get("x-fairlead-endpoint")) == (200 if by else 503, by)
    assert len(up.asked("a")) == 1


# The caller leaves ------------------------------------------------------------------------------

BODY = b'{"model":"a","stream":%b,"messages":[{"role":"user","content":"Hello."}]}'


async def leave(served: Served, streams: bytes, after: bytes = b"") -> Seen:
    """Ask model ``a`` and break the connection off, once ``after`` has come."""
    body = BODY % streams
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(served.head(body) + body)
    seen = await asyncio.to_thread(served.up.wait_for, "a")
    if after:
        await reader.readuntil(after)
    writer.transport.abort()
    return seen


def check_cancelled(served: Served) -> None:
    [fact] = served.exchanged()
    assert (fact.outcome, fact.status, fact.code) == ("cancelled", 499, "cancelled")
    [one] = fact.attempts
    assert (one.failure, one.basis) == ("cancelled", "partial_estimate")
    assert one.cost_nano_usd
    assert served.up.asked("b") == []


@pytest.mark.parametrize(
    ("script", "streams", "after"),
    [
        (silent(), b"false", b""),
        (silent(), b"true", b""),
        ((*stream(*STARTED)[:-1], Gate()), b"true", b"data: "),
        (Endless(FRAMES[1], FRAMES[0]), b"true", b"data: "),
    ],
    ids=["no answer yet", "no head yet", "content came", "content comes and comes"],
)
async def test_when_the_caller_leaves_the_endpoint_stops(
    up: Scripted, tmp_path: Path, script: Script, streams: bytes, after: bytes
) -> None:
    up.on("a", script)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b"), key=PLENTY) as served:
        seen = await leave(served, streams, after)
        await asyncio.wait_for(seen.left.opened(), 5.0)
        await served.listener.stop(1.0)

    check_cancelled(served)


def call(served: Served, body: bytes) -> Call:
    return Call("r1", "openai_chat", body, {}, served.key, 1_795_521_600_000, monotonic())


class Refusing:
    """An upstream that refuses by its status, and whose error's body does not come."""

    status = 429
    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.read_from = asyncio.Event()

    def send(self, *request: object) -> "Refusing":
        return self

    async def __aenter__(self) -> "Refusing":
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def chunk(self) -> bytes | None:
        self.read_from.set()
        await asyncio.Event().wait()
        return None

    async def read(self, limit: int, take: object = None) -> bytes:
        raise NotImplementedError


async def test_a_caller_who_leaves_while_a_refusal_comes_pays_nothing(
    up: Scripted, tmp_path: Path
) -> None:
    async with serving(tmp_path, up, at(up, "a", secrets=()), key=PLENTY) as served:
        upstream = Refusing()
        dispatch = Dispatch(served.state, upstream, lambda *_: {}, lambda: 0.0)
        gateway = Gateway(served.state, dispatch, (served.facts.append,))
        asked = asyncio.create_task(gateway.answer(call(served, BODY % b"false")))
        await asyncio.wait_for(upstream.read_from.wait(), 5.0)
        asked.cancel()
        await asyncio.wait((asked,))

    [one] = served.exchanged()[0].attempts
    assert (one.failure, one.status, one.basis) == ("cancelled", 429, "rejected_zero")
    assert one.cost_nano_usd == 0


async def test_a_caller_who_leaves_before_the_intent_is_stored_pays_nothing(
    up: Scripted, tmp_path: Path
) -> None:
    body = b'{"model":"b","messages":[{"role":"user","content":"Hello."}]}'

    async with serving(tmp_path, up, at(up, "b"), key=PLENTY) as served:
        answering = asyncio.create_task(served.gateway.answer(call(served, body)))
        await asyncio.sleep(0)
        assert served.state.ledger.open_holds == 1
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering

    [fact] = served.exchanged()
    assert [(one.basis, one.cost_nano_usd) for one in fact.attempts] == [("rejected_zero", 0)]
    assert up.seen == []


async def test_a_caller_who_leaves_just_as_time_is_up_is_gone(up: Scripted, tmp_path: Path) -> None:
    up.on("a", silent())
    body = b'{"model":"list","messages":[{"role":"user","content":"Hello."}]}'
    loop = asyncio.get_running_loop()

    async with serving(tmp_path, up, at(up, "a", timeouts=QUICK), at(up, "b")) as served:
        answering = asyncio.create_task(served.gateway.answer(call(served, body)))
        await asyncio.sleep(0)
        # In the same round of the loop: the timers that are due run one after the other.
        loop.call_later(QUICK.first_token_s + 0.01, answering.cancel)
        await asyncio.to_thread(up.wait_for, "a")
        until_s = monotonic() + QUICK.first_token_s + 0.05
        while monotonic() < until_s:
            pass
        with pytest.raises(asyncio.CancelledError):
            await answering

    assert up.asked("b") == []
    assert served.exchanged()[0].outcome == "cancelled"


# Money ------------------------------------------------------------------------------------------


async def test_money_is_set_aside_before_and_settled_after(up: Scripted, tmp_path: Path) -> None:
    during: list[Any] = []

    def look(seen: object) -> Script:
        left = served.state.ledger.affordable_nano_usd(caller, int(time() * 1000))
        during.append((left, served.rows("SELECT reserved_nano FROM intent")))
        return reply(GOOD.whole)

    up.on("a", look)
    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        caller = served.state.keys.identify(served.key)
        got = await served.ask(max_tokens=100)
        # The answer came: what it cost is on disk.
        settled = served.rows("SELECT nano, basis FROM settle")

    [(left, [(reserved,)])] = during
    assert left == 10**9 - reserved
    assert reserved >= 500_000
    assert settled == [(180_000, "provider_usage")]
    assert got.headers["x-fairlead-cost-usd"] == "0.00018"


async def test_the_end_of_a_stream_is_seen_once_it_is_settled(up: Scripted, tmp_path: Path) -> None:
    up.on("a", GOOD)

    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        body = b'{"model":"a","stream":true,"messages":[{"role":"user","content":"Hello."}]}'
        writer.write(served.head(body) + body)
        await reader.readuntil(b"[DONE]")
        settled = served.rows("SELECT basis FROM settle")
        writer.close()

    assert settled == [("provider_usage",)]


async def test_an_exhausted_budget_refuses(up: Scripted, tmp_path: Path) -> None:
    up.on("a", GOOD)
    tight = KeyLimits(budget_day_nano_usd=400_000)

    async with serving(tmp_path, up, at(up, "a"), key=tight) as served:
        statuses = [(await served.ask(max_tokens=30)).status for _ in range(4)]
        [(spent,)] = served.rows("SELECT sum(nano) FROM settle")

    assert statuses == [200, 200, 402, 402]
    assert spent == 360_000


async def test_many_at_once_spend_no_more_than_the_budget(up: Scripted, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 30, "total_tokens": 35}
    up.on("a", reply({**GOOD.whole, "usage": usage}))
    tight = KeyLimits(budget_day_nano_usd=10**6)

    async with serving(tmp_path, up, at(up, "a"), key=tight) as served:
        many = await asyncio.gather(*(served.ask(max_tokens=30) for _ in range(20)))
        [(spent,)] = served.rows("SELECT sum(nano) FROM settle")

    assert {got.status for got in many} == {200, 402}
    assert spent <= 10**6


async def test_a_second_attempt_that_nobody_can_pay_is_told_with_the_first(
    up: Scripted, tmp_path: Path
) -> None:
    """The first one may have been charged for, and what is left affords no second."""
    up.on("b", (End.RESET,))
    tight = KeyLimits(budget_day_nano_usd=400_000)

    async with serving(tmp_path, up, at(up, "b"), at(up, "a"), key=tight) as served:
        failed_earlier(served, "a")
        got = await served.ask(max_tokens=70)
        assert breaker(served, "a") == "half_open"

    assert (got.status, got.attempts, up.asked("a")) == (502, 1, [])
    assert "at-a/a, not tried: the day's budget" in got.json["error"]["message"]


async def test_an_answer_that_reports_no_usage_is_estimated(up: Scripted, tmp_path: Path) -> None:
    up.on("a", stream(*FRAMES[:-2], FRAMES[-1]))

    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        await served.ask(stream=True)

    [one] = served.exchanged()[0].attempts
    assert (one.failure, one.basis) == ("", "partial_estimate")
    assert one.cost_nano_usd


async def test_an_estimate_charges_no_more_than_was_reserved(up: Scripted, tmp_path: Path) -> None:
    """Frames are counted for tokens, and there may be more of them than of those."""
    up.on("a", BREAKS["ended early"])

    async with serving(tmp_path, up, at(up, "a"), key=PLENTY, rescue=False) as served:
        await served.ask(stream=True, max_tokens=1)
        await served.store.flush()
        [(nano, reserved)] = served.rows(
            "SELECT nano, reserved_nano FROM settle JOIN intent USING (attempt_id)"
        )

    assert nano == reserved


# The grant --------------------------------------------------------------------------------------


async def test_no_attempt_goes_where_the_grant_does_not(up: Scripted, tmp_path: Path) -> None:
    body = b'{"model":"b","messages":[{"role":"user","content":"Hello."}]}'

    async with serving(tmp_path, up, at(up, "b")) as served:
        asked = OPENAI_CHAT.parse_request(body, {})
        view = served.state.view(LOCAL, monotonic(), 0)
        plan = replace(decide(asked, LOCAL, view), grant=Grant(frozenset()))
        errand = Errand("r1", LOCAL, asked, plan, view.today, monotonic())
        with pytest.raises(OurError, match="its grant does not allow"):
            async for _ in served.dispatch.carry(errand):
                pass

    assert up.seen == []


# What is left of it in memory -------------------------------------------------------------------

HALF = (*stream(*FRAMES[:5])[:-1], End.RESET)
LEFTOVERS: Mapping[str, tuple[bool, Script]] = {
    "refused": (False, reply(error(""), status=500)),
    "reset": (False, (End.RESET,)),
    "half a body": (False, (head(200, {"content-length": "100"}), b"x" * 50, Gate())),
    "no answer": (True, silent()),
    "a flood": (True, Endless(b": ping\n\n" * 10_000, FRAMES[0])),
    "a stream that stalls": (True, (*stream(*STARTED)[:-1], Gate())),
    "a stream that is cut": (True, HALF),
}


@pytest.mark.parametrize("others", [True, False], ids=["another answers", "nobody answers"])
@pytest.mark.parametrize("case", LEFTOVERS)
async def test_what_a_failed_attempt_had_read_is_let_go_of(
    up: Scripted, tmp_path: Path, case: str, others: bool
) -> None:
    """At once: not when cycles are collected next, which a server that serves seldom does."""
    streamed, script = LEFTOVERS[case]
    up.on("a", script)
    endpoints = [at(up, "a", timeouts=QUICK), *([at(up, "b")] if others else [])]

    async with serving(tmp_path, up, *endpoints) as served:
        gc.collect()
        gc.disable()
        try:
            await served.ask(stream=streamed)
            kept = [weakref.ref(each) for each in gc.get_objects() if isinstance(each, Trial)]
            for _ in range(100):  # callbacks of what has ended
                await asyncio.sleep(0)
            assert [each() for each in kept if each() is not None] == []
        finally:
            gc.enable()
