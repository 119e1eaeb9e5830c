"""What a caller is told, what is put on record, and what is never put anywhere."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import pytest

from fairlead.outside import database
from fairlead.types.catalog import Endpoint, Price, Rates, Timeouts
from fairlead.types.decision import Limits as KeyLimits
from servers import canned
from servers.inprocess import LIST, Served, at, secret_of, serving
from servers.scripted import End, Gate, Script, Scripted, Step, chunk, reply, stream

GOOD = canned.OPENAI["text"]
PLENTY = KeyLimits(budget_day_nano_usd=10**9)


@pytest.fixture
async def up() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        for name in "abc":
            server.on(name, GOOD)
        yield server


# What the caller is told ------------------------------------------------------------------------


async def test_a_whole_answer_says_who_gave_it_and_what_it_cost(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("a", reply(status=503))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await served.ask()

    told = {name: text for name, text in got.headers.items() if name.startswith("x-fairlead-")}
    [fact] = served.exchanged()
    assert told == {
        "x-fairlead-request-id": fact.request_id,
        "x-fairlead-route": "list",
        "x-fairlead-model": "b",
        "x-fairlead-endpoint": "at-b/b",
        "x-fairlead-attempts": "2",
        "x-fairlead-cost-usd": "0.00018",
        "x-fairlead-reason": "a: chat, easy; first on the route's list that can answer",
    }
    assert got.headers["x-request-id"] == fact.request_id
    assert got.headers["server"] == "fairlead"


async def test_a_body_that_took_its_time_is_decided_as_things_are_then(
    up: Scripted, tmp_path: Path
) -> None:
    asked = json.dumps(
        {"model": LIST, "messages": [{"role": "user", "content": "Hello."}]}
    ).encode()
    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        with closing(writer):
            writer.write(served.head(asked))
            async with asyncio.timeout(5.0):
                while not served.listener.in_flight:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0)
                until_s = monotonic() + 0.05
                served.state.health.dry(("at-a/a", "env:KEY_A"), 0.05, until_s - 0.05)
                while monotonic() <= until_s:
                    await served.request("GET", "/healthz")
                writer.write(asked)
                await reader.read()

    [fact] = served.exchanged()
    assert [attempted.endpoint for attempted in fact.attempts] == ["at-a/a"]


async def test_a_stream_says_so_before_it_knows_the_cost(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(status=503))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await served.ask(stream=True)

    assert got.headers["content-type"] == "text/event-stream"
    assert (got.headers["x-fairlead-endpoint"], got.attempts) == ("at-b/b", 2)
    assert "x-fairlead-cost-usd" not in got.headers
    assert float(got.headers["x-fairlead-expected-cost-usd"]) > 0


async def test_a_cost_that_nobody_knows_is_not_told_as_nothing(
    up: Scripted, tmp_path: Path
) -> None:
    async with serving(tmp_path, up, at(up, "a", prices=())) as served:
        got = await served.ask()

    assert got.status == 200
    assert "x-fairlead-cost-usd" not in got.headers
    assert served.exchanged()[0].cost_nano_usd is None


async def test_a_name_that_no_header_can_hold_is_made_to_fit(up: Scripted, tmp_path: Path) -> None:
    up.on("ü\r\nx", GOOD)

    async with serving(tmp_path, up, at(up, "ü\r\nx", secrets=())) as served:
        got = await served.ask("ü\r\nx")

    assert got.status == 200
    assert got.headers["x-fairlead-model"] == got.headers["x-fairlead-route"] == "???x"


async def test_who_asks_for_an_explanation_gets_it_in_the_answer(
    up: Scripted, tmp_path: Path
) -> None:
    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        plain = await served.ask()
        told = await served.ask(headers={"x-fairlead-explain": "true"})

    fairlead = told.json["fairlead"]
    assert {**told.json, "fairlead": None} == {**plain.json, "fairlead": None}
    assert "fairlead" not in plain.json
    assert fairlead["request-id"] == told.headers["x-fairlead-request-id"]
    assert fairlead["cost-usd"] == "0.00018"
    candidates = [one["endpoint"] for one in fairlead["plan"]["candidates"]]
    assert candidates == ["at-a/a", "at-b/b"]


# Narrowing --------------------------------------------------------------------------------------

WISHES: Mapping[str, tuple[str, str]] = {
    "zone": ("local", "b"),
    "models": ("c, b", "b"),
    "max-cost": ("$0.0005", "b"),
    "max-latency": ("500ms", "c"),
}
"""What is asked for, and who is the first that fits: ``a`` never is."""


def market(up: Scripted) -> tuple[Endpoint, ...]:
    """``b`` is local and free, ``c`` is fast."""
    from_1s: dict[str, Any] = {"expected_first_token_ms": 1000.0}
    free = (Price(Rates(input=0, output=0, cached_read=0)),)
    return (
        at(up, "a", **from_1s),
        at(up, "b", zone="local", prices=free, **from_1s),
        at(up, "c", expected_first_token_ms=100.0),
    )


@pytest.mark.parametrize("place", ["header", "metadata"])
@pytest.mark.parametrize("wish", WISHES)
async def test_a_wish_narrows_who_may_answer(
    up: Scripted, tmp_path: Path, wish: str, place: str
) -> None:
    value, first = WISHES[wish]

    async with serving(tmp_path, up, *market(up)) as served:
        if place == "header":
            got = await served.ask(headers={f"x-fairlead-{wish}": value})
        else:
            key = f"fairlead.{wish.replace('-', '_')}"
            got = await served.ask(metadata={key: value, "team": "blue"})

    assert got.headers["x-fairlead-model"] == first
    [seen] = up.seen
    assert "fairlead" not in seen.body.decode()
    assert not [name for name in seen.headers if name.startswith("x-fairlead")]
    assert (place == "header") or seen.json["metadata"] == {"team": "blue"}


async def test_both_wishes_hold_and_neither_widens_the_other(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, *market(up)) as served:
        both = await served.ask(
            headers={"x-fairlead-models": "a,b"}, metadata={"fairlead.models": "b,c"}
        )
        neither = await served.ask(
            headers={"x-fairlead-models": "a"}, metadata={"fairlead.models": "b"}
        )

    assert both.headers["x-fairlead-model"] == "b"
    assert (neither.status, neither.json["error"]["code"]) == (403, "forbidden")
    assert len(up.seen) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"x-fairlead-max-cost": "cheap"},
        {"x-fairlead-deadline": "soon"},
        {"x-fairlead-zone": ","},
    ],
)
async def test_a_wish_that_is_not_understood_is_not_ignored(
    up: Scripted, tmp_path: Path, headers: Mapping[str, str]
) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.ask(headers=headers)

    [name] = headers
    assert (got.status, got.json["error"]["param"]) == (400, name)
    assert up.seen == []


# Previews ---------------------------------------------------------------------------------------


async def test_a_preview_tells_the_plan_and_calls_nothing(up: Scripted, tmp_path: Path) -> None:
    body = {"model": "list", "messages": [{"role": "user", "content": "Hello."}]}

    async with serving(tmp_path, up, at(up, "a"), at(up, "b"), key=PLENTY) as served:
        got = await served.request("POST", "/v1/route", body)
        record = await served.record()
        told = await served.ask(headers={"x-fairlead-explain": "1"})

    assert got.status == 200
    assert [one["endpoint"] for one in got.json["candidates"]] == ["at-a/a", "at-b/b"]
    assert got.json["candidates"] == told.json["fairlead"]["plan"]["candidates"]
    assert (record, len(up.seen)) == ([], 1)


async def test_a_preview_without_any_candidate_says_why(up: Scripted, tmp_path: Path) -> None:
    body = {"model": "list", "messages": [{"role": "user", "content": "Hello."}]}

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.request("POST", "/v1/route", body, {"x-fairlead-zone": "moon"})

    assert (got.status, got.json["candidates"]) == (200, [])
    assert [one["rule"] for one in got.json["rejected"]] == ["zone"]


@pytest.mark.parametrize(
    ("query", "body", "dialect"),
    [
        ("?dialect=anthropic_messages", {"max_tokens": 9}, "anthropic_messages"),
        ("", {}, "openai_chat"),
    ],
)
async def test_a_preview_reads_the_dialect_that_is_named(
    up: Scripted, tmp_path: Path, query: str, body: Mapping[str, Any], dialect: str
) -> None:
    asked = {"model": "a", "messages": [{"role": "user", "content": "Hello."}], **body}

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.request("POST", f"/v1/route{query}", asked)

    assert got.status == 200
    header = "request-id" if dialect == "anthropic_messages" else "x-request-id"
    assert header in got.headers


async def test_a_preview_in_no_dialect_is_refused(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await served.request("POST", "/v1/route?dialect=latin", {})

    assert (got.status, got.json["error"]["param"]) == (400, "dialect")


# The record -------------------------------------------------------------------------------------


async def refuse(served: Served, case: str) -> Any:
    if case == "used up":
        await served.ask("a", max_tokens=30)
        return await served.ask("a", max_tokens=30)
    if case == "no key":
        served.key = ""
    if case == "too fast":
        for _ in range(3):
            await served.ask("nobody")  # refused before it counts
        await served.ask("a", max_tokens=1)
        return await served.ask("a", max_tokens=1)
    model = "nobody" if case == "unknown" else "a"
    fields = {"temperature": "hot"} if case == "bad" else {}
    headers = {"x-fairlead-zone": "moon"} if case == "forbidden" else {}
    return await served.ask(model, headers=headers, **fields)


@pytest.mark.parametrize(
    ("case", "limits", "status", "code", "known"),
    [
        ("unknown", KeyLimits(), 404, "model_not_found", True),
        ("bad", KeyLimits(), 400, "invalid_request", True),
        ("forbidden", KeyLimits(), 403, "forbidden", True),
        ("no key", KeyLimits(), 401, "invalid_api_key", False),
        ("used up", KeyLimits(budget_day_nano_usd=200_000), 402, "budget_exhausted", True),
        ("too fast", KeyLimits(requests_per_minute=1), 429, "rate_limit_exceeded", True),
    ],
)
async def test_a_refusal_is_on_record_with_its_caller_and_code(
    up: Scripted,
    tmp_path: Path,
    case: str,
    limits: KeyLimits,
    status: int,
    code: str,
    known: bool,
) -> None:
    async with serving(tmp_path, up, at(up, "a"), key=limits) as served:
        got = await refuse(served, case)
        entry = (await served.record())[-1]

    assert (got.status, got.json["error"]["code"]) == (status, code)
    assert (entry.outcome, entry.status, entry.code) == ("refused", status, code)
    assert entry.caller_name == ("team" if known else "")
    assert entry.request_id == got.headers["x-fairlead-request-id"]


async def test_a_budget_that_others_have_set_aside_is_worth_asking_again(
    up: Scripted, tmp_path: Path
) -> None:
    """Whoever states no ``max_tokens`` may be given all that is left."""
    gate = Gate()
    up.on("a", (gate, *reply(GOOD.whole)), GOOD)
    limits = KeyLimits(budget_day_nano_usd=20_000_000)

    async with serving(tmp_path, up, at(up, "a"), key=limits) as served:
        first = asyncio.create_task(served.ask("a"))
        await asyncio.to_thread(up.wait_for, "a")
        meanwhile = await served.ask("a")
        gate.open()
        assert (await first).status == 200
        afterwards = await served.ask("a")

    assert (meanwhile.status, meanwhile.headers["x-should-retry"]) == (402, "true")
    assert "are set aside for requests that run" in meanwhile.json["error"]["message"]
    assert afterwards.status == 200


async def test_every_request_is_one_line_and_one_entry(up: Scripted, tmp_path: Path) -> None:
    up.on("b", reply(status=401))
    up.on("c", (End.RESET,))
    workflow = {"x-fairlead-workflow": "nightly", "x-fairlead-step": "draft"}

    async with serving(tmp_path, up, at(up, "a"), at(up, "b"), at(up, "c")) as served:
        await served.ask("a", headers=workflow)
        await served.ask("a", stream=True)
        await served.ask("b")
        await served.ask("c", headers={"x-fairlead-deadline": "100ms"})
        await served.ask("nobody")
        record = await served.record()

    lines = [json.loads(line) for line in served.log.getvalue().splitlines()]
    outcomes = ["ok", "ok", "failed", "failed", "refused"]
    assert [line["outcome"] for line in lines] == outcomes
    assert [entry.outcome for entry in record] == outcomes
    assert (lines[0]["workflow"], lines[0]["step"]) == ("nightly", "draft")
    assert (record[0].workflow, record[0].step) == ("nightly", "draft")
    assert json.loads(record[0].plan)["candidates"][0]["endpoint"] == "at-a/a"
    metrics = served.metrics.render().decode()
    assert 'outcome="ok"' in metrics


PROMPT, ANSWER = "canary-prompt zeugma", "canary-answer syzygy"
ECHO = {"error": {"message": f"cannot read: {PROMPT} {secret_of('KEY_A')}", "code": "bad"}}
LEAKS: Mapping[str, Script] = {
    "answers": reply(canned.openai_whole({"content": ANSWER})),
    "streams": stream(*canned.openai_text(ANSWER).frames),
    "breaks off": (*stream(*canned.openai_text(ANSWER).frames[:4])[:-1], End.CLOSE),
    "is down and repeats what it got": reply(ECHO, status=500),
    "refuses and repeats what it got": reply(ECHO, status=400),
    "refuses the key and repeats it": reply(
        {"error": {"message": f"unknown key {secret_of('KEY_A')}"}}, status=401
    ),
    "answers 200 and repeats what it got": reply(ECHO),
    "answers with a text": reply(ANSWER.encode(), content_type="text/plain"),
    "fails in the stream": stream(b"data: " + json.dumps(ECHO).encode() + b"\n\n"),
    "validates": reply({"detail": [{"type": "missing", "input": {"text": PROMPT}}]}, status=422),
}


def in_files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir() if path.is_file()]


@pytest.mark.parametrize("case", LEAKS)
async def test_no_prompt_no_answer_and_no_secret_is_put_on_record(
    up: Scripted, tmp_path: Path, case: str
) -> None:
    up.on("a", LEAKS[case])
    streams = "stream" in case or "breaks" in case

    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        got = await served.ask("a", PROMPT, stream=streams)
        await served.ask("a", PROMPT, temperature=PROMPT)
        await served.store.flush()
        metrics = served.metrics.render()
        key = served.key.encode()

    written = b"".join([served.log.getvalue(), metrics, *in_files(tmp_path)])
    assert len(written) > 10_000
    canaries = [*PROMPT.split(), *ANSWER.split(), secret_of("KEY_A")]
    assert [one for one in canaries if one.encode() in written] == []
    assert key not in written
    assert secret_of("KEY_A").encode() not in got.body
    assert key not in got.body


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.02)


@pytest.mark.parametrize("streams", [False, True])
async def test_what_cannot_be_settled_is_not_given_out_as_whole(
    up: Scripted, tmp_path: Path, impatient: None, streams: bool
) -> None:
    path = tmp_path / "fairlead.db"

    def lock(seen: object) -> Script:
        other.execute("BEGIN IMMEDIATE")
        return stream(*GOOD.frames) if streams else reply(GOOD.whole)

    up.on("a", lock)
    async with serving(tmp_path, up, at(up, "a")) as served:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            got = await served.ask("a", stream=streams)
            other.execute("COMMIT")

    if streams:
        assert (got.status, got.whole) == (200, False)
        assert got.events[-1]["error"]["code"] == "overloaded"
        assert b"[DONE]" not in got.body
    else:
        assert (got.status, got.json["error"]["code"]) == (503, "overloaded")


async def test_tokens_that_were_not_used_are_given_back(up: Scripted, tmp_path: Path) -> None:
    up.on("a", reply(status=401), GOOD)
    limits = KeyLimits(tokens_per_minute=400)

    async with serving(
        tmp_path, up, at(up, "a", secrets=("KEY_1",)), at(up, "b"), key=limits
    ) as served:
        first = await served.ask("a")
        second = await served.ask("b")

    assert (first.status, second.status) == (502, 200)


@pytest.mark.parametrize("limit", ["requests_per_minute", "tokens_per_minute"])
async def test_what_is_refused_for_its_budget_or_by_the_disk_takes_nothing_of_a_minute(
    up: Scripted, tmp_path: Path, impatient: None, limit: str
) -> None:
    """All limits at once or none: the intent is refused after the minute's allowance was taken."""
    allows = {"requests_per_minute": 1, "tokens_per_minute": 40}
    limits = KeyLimits(budget_day_nano_usd=10**6, **{limit: allows[limit]})

    async with serving(tmp_path, up, at(up, "a"), key=limits) as served:
        with closing(sqlite3.connect(tmp_path / "fairlead.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked = await served.ask("a", max_tokens=30)
            other.execute("COMMIT")
        await served.store.flush()
        dear = await served.ask("a", "Hello. " * 2000, max_tokens=30)
        fits = await served.ask("a", max_tokens=30)
        too_fast = await served.ask("a", max_tokens=30)

    assert (locked.status, locked.json["error"]["code"]) == (503, "overloaded")
    assert (dear.status, dear.json["error"]["code"]) == (402, "budget_exhausted")
    assert (fits.status, too_fast.status) == (200, 429)
    assert len(up.seen) == 1


async def test_a_name_longer_than_any_is_not_looked_for(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        began_s = process_time()
        got = await served.ask("a" * 8_000_000)
        took_s = process_time() - began_s
        [entry] = await served.record()

    assert (got.status, got.json["error"]["param"]) == (400, "model")
    assert len(got.body) + len(entry.reason) + len(served.log.getvalue()) < 2000
    assert took_s < 1.0


# A slow reader ----------------------------------------------------------------------------------

PIECES = 800
PIECE = canned.openai_frames([{"content": "x" * 65_000}])[1]


class Counted:
    """A stream of fifty megabytes, which knows how much of it was taken."""

    def __init__(self) -> None:
        self.taken = 0
        self.most = asyncio.Event()

    def __iter__(self) -> Iterator[Step]:
        yield from stream(canned.openai_frames([])[0])[:-1]
        for self.taken in range(1, PIECES + 1):
            if self.taken > PIECES // 2:
                self.most.set()
            yield chunk(PIECE)
        yield from stream(*canned.openai_frames([])[1:])[1:]


async def test_a_slow_reader_slows_the_endpoint_and_fills_no_memory(
    up: Scripted, tmp_path: Path
) -> None:
    """Most of what is taken at first fills the kernel's buffers; the rest waits at the endpoint,
    whose clock stands still meanwhile."""
    counted = Counted()
    up.on("a", counted)
    body = b'{"model":"a","stream":true,"messages":[{"role":"user","content":"Hello."}]}'

    stall_s = 0.3
    async with serving(tmp_path, up, at(up, "a", timeouts=Timeouts(stall_s=stall_s))) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1)
        writer.write(served.head(body) + body)
        await reader.readexactly(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(counted.most.wait(), 2 * stall_s)
        held = served.buffered()
        rest = bytearray()
        while data := await reader.read(1 << 20):
            rest += data
        writer.close()

    assert held < 256 << 10
    assert counted.taken == PIECES
    assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert served.exchanged()[0].outcome == "ok"


# What is learned ---------------------------------------------------------------------------------

TOKENS = 1000


def long_answer(model: str, tokens: int) -> Script:
    usage = {"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}
    return reply(canned.openai_whole({"role": "assistant", "content": "Hi."}) | {"usage": usage})


async def test_estimates_of_tokens_are_corrected_by_what_is_reported(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("a", long_answer("a", TOKENS))

    async with serving(tmp_path, up, at(up, "a")) as served:
        await served.ask(text="word " * 400)
        learned = served.state.learned.chars_per_token()

    assert learned == {"a": pytest.approx(2.0, rel=0.02)}


async def test_nothing_is_learned_of_what_is_not_text_alone(up: Scripted, tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    up.on("a", long_answer("a", TOKENS))

    async with serving(tmp_path, up, at(up, "a")) as served:
        await served.ask(text="word " * 400, tools=[tool])

    assert served.state.learned.chars_per_token() == {}


async def test_a_request_that_nobody_could_be_asked_teaches_nothing(
    up: Scripted, tmp_path: Path
) -> None:
    async with serving(tmp_path, up, at(up, "a", "anthropic_messages")) as served:
        got = await served.ask(text="")

    assert (got.status, got.json["error"]["code"]) == (400, "invalid_request")
    [fact] = served.exchanged()
    assert (fact.outcome, fact.attempts) == ("failed", ())


# Token counts -----------------------------------------------------------------------------------


async def count(served: Served, model: str, text: str) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return await served.request("POST", "/v1/messages/count_tokens", body)


async def test_where_no_endpoint_counts_tokens_they_are_estimated(
    up: Scripted, tmp_path: Path
) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await count(served, "a", "x" * 4000)

    assert got.status == 200
    assert got.json == {"input_tokens": pytest.approx(1000, abs=10)}
    assert got.headers["x-fairlead-reason"].startswith("estimated here")
    assert up.asked("a") == []


async def test_an_estimate_is_not_for_everybody(up: Scripted, tmp_path: Path) -> None:
    async with serving(tmp_path, up, at(up, "a"), key=PLENTY) as served:
        served.key = ""
        got = await count(served, "a", "Hi")

    assert got.status == 401


async def test_a_refusal_for_want_of_a_candidate_has_its_plan_on_record(
    up: Scripted, tmp_path: Path
) -> None:
    async with serving(tmp_path, up, at(up, "a")) as served:
        await served.ask(headers={"x-fairlead-zone": "local"})
        [entry] = await served.record()

    assert (entry.outcome, entry.route, entry.task, entry.operation) == (
        "refused",
        "list",
        "chat",
        "chat",
    )
    assert json.loads(entry.plan)["rejected"] == [
        {
            "endpoint": "at-a/a",
            "rule": "zone",
            "reason": "zone 'cloud' is not among those of the request: local",
        }
    ]
