"""A stream breaks that its caller has seen text of: who goes on, and that nothing is lost, said
twice or charged twice.

``serving`` checks after each test that every attempt was held, settled and told exactly once.
"""

import asyncio
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest

from dialects.anthropic_cases import message_of
from facts import attempted
from fairlead.decide.eligible import HEALTHY
from fairlead.types.decision import Limits
from servers import canned
from servers.canned import ANTHROPIC, OPENAI, TEXT
from servers.inprocess import LIST, Got, Served, at, serving
from servers.scripted import Answer, End, Gate, Script, Scripted, Seen, reply, stream

PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}
FRAMES = {"openai_chat": OPENAI["text"].frames, "anthropic_messages": ANTHROPIC["text"].frames}
FIRST_TEXT = {"openai_chat": 2, "anthropic_messages": 4}
"""The frames up to the first text."""
DIALECTS = tuple(PATHS)
PLAIN = frozenset({"system", "stream", "sampling"})
PREFILL = PLAIN | {"prefill"}
ASKED: Mapping[str, Any] = {
    "model": LIST,
    "stream": True,
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "Hello."}],
}


async def ask(
    served: Served, seen: Gate | None = None, caller: str = "openai_chat", **fields: Any
) -> Got:
    """Opens ``seen`` once the first piece of the answer has come."""
    sent = {"content-type": "application/json", **served.credential()}
    body = BytesIO(json.dumps({**ASKED, **fields}).encode())
    async with served.client.post(
        served.address + PATHS[caller], data=body, headers=sent
    ) as response:
        pieces, whole = [], True
        try:
            async for piece in response.content.iter_any():
                pieces.append(piece)
                if seen:
                    seen.open()
        except aiohttp.ClientPayloadError:
            whole = False
        heads = {name.lower(): value for name, value in response.headers.items()}
        return Got(response.status, heads, b"".join(pieces), whole)


def text_of(got: Got, caller: str) -> str:
    """The whole text, of a stream that keeps every rule of its dialect."""
    assert (got.status, got.whole) == (200, True)
    if caller == "openai_chat":
        assert got.events[-1] == "[DONE]"
        heads = {(one["id"], one["created"], one["model"]) for one in got.events[:-1]}
        roles = [
            one["choices"][0]["delta"].get("role") for one in got.events[:-1] if one["choices"]
        ]
        finishes = [one["choices"][0]["finish_reason"] for one in got.events[:-1] if one["choices"]]
        assert len(heads) == 1
        assert roles[0] == "assistant"
        assert not any(roles[1:])
        assert finishes == [None] * (len(finishes) - 1) + ["stop"]
        return got.text
    message = message_of(got.body)
    assert message["stop_reason"] == "end_turn"
    return "".join([block["text"] for block in message["content"]])


ERRORS = {
    "openai_chat": b'data: {"error":{"message":"no","code":"server_error"}}\n\n',
    "anthropic_messages": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
    b'"message":"no"}}\n\n',
}


def continued_by(got: Got) -> list[str]:
    return [
        name
        for event in got.events[:-1]
        for name in event.get("fairlead", {}).get("continued_by", ())
    ]


def broken(dialect: str, frames: int, seen: Gate, end: End = End.CLOSE) -> Script:
    """Breaks off after so many frames, once the caller has ``seen`` some of it."""
    return (*stream(*FRAMES[dialect][:frames], seen)[:-1], end)


def gave_up(dialect: str, frames: int, seen: Gate) -> Script:
    """The same by an error of the endpoint's own: others are asked first."""
    return stream(*FRAMES[dialect][:frames], seen, ERRORS[dialect])


def whole(dialect: str) -> Answer:
    return (OPENAI if dialect == "openai_chat" else ANTHROPIC)["text"]


def going_on(text: str, dialect: str) -> Answer:
    """Continues a last assistant turn, as models do that can; refuses one that ends in blanks."""

    def answer(seen: Seen) -> Script:
        last = seen.json["messages"][-1]
        begun = last["content"] if last["role"] == "assistant" else ""
        if begun != begun.rstrip() or not text.startswith(begun):
            return reply({"error": {"message": "no such beginning"}}, status=400)
        make = canned.openai_text if dialect == "openai_chat" else canned.anthropic_text
        return make(text.removeprefix(begun))(seen)

    return answer


# Every crossing ---------------------------------------------------------------------------------

CROSSINGS = [
    (caller, one, two, place)
    for caller in DIALECTS
    for one in DIALECTS
    for two in DIALECTS
    for place in range(FIRST_TEXT[one], len(FRAMES[one]) - (2 if one == "openai_chat" else 1))
]


@pytest.mark.parametrize(("caller", "first", "second", "place"), CROSSINGS)
async def test_another_endpoint_goes_on_where_the_first_broke_off(
    up: Scripted, tmp_path: Path, caller: str, first: str, second: str, place: int
) -> None:
    seen = Gate()
    up.on("a", gave_up(first, place, seen))
    up.on("b", whole(second))

    async with serving(tmp_path, up, at(up, "a", first), at(up, "b", second)) as served:
        got = await ask(served, seen, caller)

    assert text_of(got, caller) == TEXT
    assert continued_by(got) == ["at-b/b"]
    [fact] = served.exchanged()
    assert (fact.outcome, fact.finish, fact.code) == ("ok", "stop", "")
    assert [(one.failure, one.basis) for one in fact.attempts] == [
        ("stream_broken", "partial_estimate"),
        ("", "provider_usage"),
    ]


@pytest.mark.parametrize("caller", DIALECTS)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("can", [PLAIN, PREFILL], ids=["again", "prefill"])
async def test_what_was_said_to_its_end_needs_nobody_else(
    up: Scripted, tmp_path: Path, caller: str, dialect: str, can: Any
) -> None:
    """Its reason to end was told. Given the text to go on with, a model might well find more."""
    seen = Gate()
    up.on("a", gave_up(dialect, len(FRAMES[dialect]) - 1, seen))

    async with serving(tmp_path, up, at(up, "a", dialect, can=can)) as served:
        got = await ask(served, seen, caller)

    assert text_of(got, caller) == TEXT
    [fact] = served.exchanged()
    assert (fact.outcome, fact.finish, len(fact.attempts)) == ("ok", "stop", 1)
    [one] = fact.attempts
    assert (one.failure, one.basis, one.usage and one.usage.output_tokens) == (
        "stream_broken",
        "partial_estimate",
        30,
    )


@pytest.mark.parametrize("end", End)
@pytest.mark.parametrize("caller", DIALECTS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_same_endpoint_says_it_again(
    up: Scripted, tmp_path: Path, caller: str, dialect: str, end: End
) -> None:
    seen = Gate()
    up.on("a", broken(dialect, FIRST_TEXT[dialect] + 1, seen, end), whole(dialect))

    async with serving(tmp_path, up, at(up, "a", dialect), at(up, "b")) as served:
        got = await ask(served, seen, caller)

    assert text_of(got, caller) == TEXT
    assert [len(up.asked(name)) for name in "ab"] == [2, 0]


@pytest.mark.parametrize(("caller", "first", "second", "place"), CROSSINGS[::5])
async def test_a_model_that_continues_is_given_what_was_said(
    up: Scripted, tmp_path: Path, caller: str, first: str, second: str, place: int
) -> None:
    seen = Gate()
    up.on("a", gave_up(first, place, seen))
    up.on("b", going_on(TEXT, second))
    continues = at(up, "b", second, can=PREFILL)

    async with serving(tmp_path, up, at(up, "a", first), continues) as served:
        got = await ask(served, seen, caller)

    assert text_of(got, caller) == TEXT
    turns = [asked.json["messages"][-1] for asked in up.asked("b")]
    assert [turn["role"] for turn in turns] == ["assistant"] * len(turns)
    assert all(TEXT.startswith(turn["content"]) for turn in turns)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_who_refuses_a_beginning_says_all_again(
    up: Scripted, tmp_path: Path, dialect: str
) -> None:
    seen = Gate()
    refusal = reply({"error": {"message": "The conversation must end with a user's."}}, status=400)
    up.on("a", broken(dialect, 6, seen), refusal, whole(dialect))

    async with serving(tmp_path, up, at(up, "a", dialect, can=PREFILL)) as served:
        got = await ask(served, seen)

    assert text_of(got, "openai_chat") == TEXT
    roles = [asked.json["messages"][-1]["role"] for asked in up.asked("a")]
    assert roles == ["user", "assistant", "user"]
    [fact] = served.exchanged()
    assert [one.failure for one in fact.attempts] == ["stream_broken", "caller_fault", ""]
    assert [one.basis for one in fact.attempts][1] == "rejected_zero"


async def test_who_begins_anew_after_a_beginning_is_not_believed(
    up: Scripted, tmp_path: Path
) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 6, seen), whole("openai_chat"))

    async with serving(tmp_path, up, at(up, "a", can=PREFILL)) as served:
        got = await ask(served, seen)

    assert text_of(got, "openai_chat") == TEXT
    [fact] = served.exchanged()
    assert [one.failure for one in fact.attempts] == ["stream_broken", "cancelled", ""]


async def test_a_leg_that_breaks_too_is_gone_on_with(up: Scripted, tmp_path: Path) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 3, seen), broken("openai_chat", 5, seen))
    up.on("b", whole("anthropic_messages"))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b", "anthropic_messages")) as served:
        got = await ask(served, seen)

    assert text_of(got, "openai_chat") == TEXT
    assert continued_by(got) == ["at-a/a", "at-b/b"]
    [fact] = served.exchanged()
    assert [one.failure for one in fact.attempts] == ["stream_broken", "stream_broken", ""]


@pytest.mark.parametrize("caller", DIALECTS)
async def test_a_call_after_the_text_is_the_second_ones(
    up: Scripted, tmp_path: Path, caller: str
) -> None:
    said = {"content": TEXT[:20]}
    call = {"index": 0, "id": "call_a", "function": {"name": "read", "arguments": '{"a":1}'}}
    frames = canned.openai_frames([said, {"tool_calls": [call]}], "tool_calls")
    seen = Gate()
    up.on("a", (*stream(*frames[:2], seen)[:-1], End.CLOSE), stream(*frames))
    schema = {"type": "object"}
    tools = {
        "openai_chat": {"type": "function", "function": {"name": "read", "parameters": schema}},
        "anthropic_messages": {"name": "read", "input_schema": schema},
    }

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await ask(served, seen, caller, tools=[tools[caller]])

    if caller == "openai_chat":
        assert got.text == TEXT[:20]
        calls = [one["choices"][0]["delta"].get("tool_calls") for one in got.events[:-2]]
        [[told]] = [one for one in calls if one]
        assert (told["id"], told["function"]["arguments"]) == ("call_a", '{"a":1}')
        assert got.events[-1] == "[DONE]"
    else:
        message = message_of(got.body)
        assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
        assert message["stop_reason"] == "tool_use"


# What is not gone on with -----------------------------------------------------------------------


def check_cut(got: Got, caller: str, chars: int | None, attempts: int = 1) -> str:
    """One error frame of the caller's dialect, last, and the connection broken. Returns its
    message."""
    assert (got.status, got.whole) == (200, False)
    assert b"[DONE]" not in got.body
    assert b"message_stop" not in got.body
    last = got.events[-1]
    assert [("error" in event) for event in got.events] == [False] * (len(got.events) - 1) + [True]
    if caller == "anthropic_messages":
        assert last["type"] == "error"
    error = last["error"]
    assert (error["code"], error["should_retry"]) == ("upstream_stream_broken", True)
    assert error.get("delivered_chars") == chars
    assert len(error["attempts"]) == attempts
    return str(error["message"])


@pytest.mark.parametrize("caller", DIALECTS)
@pytest.mark.parametrize("second", DIALECTS)
async def test_words_that_differ_are_not_shown(
    up: Scripted, tmp_path: Path, caller: str, second: str
) -> None:
    other = TEXT[:25].replace("harbour", "hxrbour") + " and that is all."
    make = canned.openai_text if second == "openai_chat" else canned.anthropic_text
    seen = Gate()
    up.on("a", gave_up("openai_chat", 6, seen))
    up.on("b", make(other))
    endpoints = at(up, "a"), at(up, "b", second)

    async with serving(tmp_path, up, *endpoints, max_attempts=2) as served:
        got = await ask(served, seen, caller)

    message = check_cut(got, caller, 35, attempts=2)
    assert "after 35 characters" in message
    assert "at-b/b: said something else than was said before" in message
    assert b"hxr" not in got.body
    [fact] = served.exchanged()
    assert (fact.outcome, fact.code, fact.finish) == ("failed", "upstream_stream_broken", None)
    assert [one.failure for one in fact.attempts] == ["stream_broken", "cancelled"]


@pytest.mark.parametrize("more", [0, 3])
async def test_an_answer_that_ends_too_soon_is_not_the_same(
    up: Scripted, tmp_path: Path, more: int
) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 6, seen), canned.openai_text(TEXT[: 35 - 14 + more]))

    async with serving(tmp_path, up, at(up, "a")) as served:
        got = await ask(served, seen)

    check_cut(got, "openai_chat", 35, attempts=2)
    assert served.exchanged()[0].finish is None


CUT_CALLS = {
    "openai_chat": OPENAI["tools"].frames[:4],
    "anthropic_messages": ANTHROPIC["tools"].frames[:5],
}
CUT_THOUGHTS = {
    "openai_chat": OPENAI["thinking"].frames[:3],
    "anthropic_messages": ANTHROPIC["thinking"].frames[:9],
}


@pytest.mark.parametrize("frames", [CUT_CALLS, CUT_THOUGHTS], ids=["calls", "thoughts"])
@pytest.mark.parametrize("caller", DIALECTS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_more_than_text_is_not_gone_on_with(
    up: Scripted, tmp_path: Path, caller: str, dialect: str, frames: Mapping[str, tuple[bytes, ...]]
) -> None:
    seen = Gate()
    up.on("a", (*stream(*frames[dialect], seen)[:-1], End.CLOSE))
    up.on("b", whole(dialect))

    async with serving(tmp_path, up, at(up, "a", dialect), at(up, "b", dialect)) as served:
        got = await ask(served, seen, caller)

    said = {"openai_chat": len(TEXT), "anthropic_messages": 14}[dialect]
    check_cut(got, caller, said if frames is CUT_THOUGHTS else 0)
    assert [len(up.asked(name)) for name in "ab"] == [1, 0]


FORMS: Mapping[str, Mapping[str, Any]] = {
    "json": {"response_format": {"type": "json_object"}},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
    "n": {"n": 2},
    "logprobs": {"logprobs": True},
    "grammar": {"guided_regex": "[a-z]+"},
}


@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_of_a_given_form_is_not_gone_on_with(
    up: Scripted, tmp_path: Path, form: str
) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 6, seen))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await ask(served, seen, **FORMS[form])

    check_cut(got, "openai_chat", 35)
    assert len(up.seen) == 1


async def test_the_form_of_an_anthropic_answer_counts_too(up: Scripted, tmp_path: Path) -> None:
    seen = Gate()
    up.on("a", broken("anthropic_messages", 6, seen))
    form = {"format": {"type": "json_schema", "schema": {"type": "object"}}}

    async with serving(tmp_path, up, at(up, "a", "anthropic_messages")) as served:
        got = await ask(served, seen, "anthropic_messages", output_config=form)

    check_cut(got, "anthropic_messages", 21)
    assert len(up.seen) == 1


async def test_an_answer_longer_than_is_kept_is_not_gone_on_with(
    up: Scripted, tmp_path: Path
) -> None:
    frames = canned.openai_text("word " * 60_000).frames
    seen = Gate()
    up.on("a", (*stream(b"".join(frames[:-3]), seen)[:-1], End.CLOSE))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await ask(served, seen)

    assert check_cut(got, "openai_chat", None).startswith("the answer broke off: ")
    assert len(up.seen) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_error_in_place_of_the_terminal_is_no_end(
    up: Scripted, tmp_path: Path, dialect: str
) -> None:
    """A text that is gone on with was all said; where none is, an error is no end."""
    seen, frames = Gate(), FRAMES[dialect]
    begun = FIRST_TEXT[dialect]
    last = b"".join([*frames[begun:-1], ERRORS[dialect]])
    up.on("a", (*stream(*frames[:begun], seen, last)[:-1], End.CLOSE))

    async with serving(tmp_path, up, at(up, "a", dialect), rescue=False) as served:
        got = await ask(served, seen)

    assert not got.whole
    [one] = served.exchanged()[0].attempts
    assert one.failure == "stream_broken"


async def test_a_filters_verdict_is_told(up: Scripted, tmp_path: Path) -> None:
    verdict = b'data: {"error":{"message":"Not this.","code":"content_filter"}}\n\n'
    seen = Gate()
    up.on("a", stream(*FRAMES["openai_chat"][:5], seen, verdict))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served:
        got = await ask(served, seen)

    assert got.events[-1]["error"]["code"] == "content_filter"
    assert (got.whole, len(up.seen)) == (False, 1)


async def test_no_more_attempts_are_made_than_the_route_allows(
    up: Scripted, tmp_path: Path
) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 6, seen))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b"), max_attempts=1) as served:
        got = await ask(served, seen)

    check_cut(got, "openai_chat", 35)
    assert len(up.seen) == 1


async def test_the_deadline_is_the_requests(up: Scripted, tmp_path: Path) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 6, seen), (Gate(),))

    async with serving(tmp_path, up, at(up, "a"), at(up, "b"), deadline_s=0.6) as served:
        got = await ask(served, seen)

    check_cut(got, "openai_chat", 35, attempts=2)


# Money ------------------------------------------------------------------------------------------

PLENTY = Limits(budget_day_nano_usd=10**9)


def usage_of(got: Got, caller: str) -> tuple[int, int]:
    if caller == "openai_chat":
        usage = got.events[-2]["usage"]
        return usage["prompt_tokens"], usage["completion_tokens"]
    usage = message_of(got.body)["usage"]
    return usage["input_tokens"] + usage["cache_read_input_tokens"], usage["output_tokens"]


@pytest.mark.parametrize("caller", DIALECTS)
@pytest.mark.parametrize(("can", "expected"), [(None, (120, 30)), (PREFILL, (115, 35))])
async def test_each_leg_is_charged_once_and_the_caller_is_told_of_one_answer(
    up: Scripted, tmp_path: Path, caller: str, can: Any, expected: tuple[int, int]
) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 6, seen), going_on(TEXT, "openai_chat"))
    endpoint = at(up, "a", **({"can": can} if can else {}))
    options = {"stream_options": {"include_usage": True}} if caller == "openai_chat" else {}

    async with serving(tmp_path, up, endpoint, key=PLENTY) as served:
        got = await ask(served, seen, caller, **options)
        rows = served.rows("SELECT nano, basis, output_tokens FROM settle ORDER BY attempt_id")

    assert text_of(got, caller) == TEXT
    assert usage_of(got, caller) == expected
    [(_, basis, output), second] = rows
    assert (basis, output) == ("partial_estimate", 5)
    assert second == (180_000, "provider_usage", 30)


async def test_a_leg_that_nobody_can_pay_is_not_made(up: Scripted, tmp_path: Path) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 6, seen))
    tight = Limits(budget_day_nano_usd=575_000)

    async with serving(tmp_path, up, at(up, "a"), key=tight) as served:
        got = await ask(served, seen, max_tokens=110)

    assert "at-a/a, not tried: the day's budget" in check_cut(got, "openai_chat", 35)
    assert len(up.seen) == 1


async def test_a_beginning_takes_its_share_of_the_longest_answer(
    up: Scripted, tmp_path: Path
) -> None:
    seen = Gate()
    up.on("a", broken("openai_chat", 6, seen), going_on(TEXT, "openai_chat"))

    async with serving(tmp_path, up, at(up, "a", can=PREFILL)) as served:
        got = await ask(served, seen, max_tokens=40)

    assert text_of(got, "openai_chat") == TEXT
    assert [asked.json["max_tokens"] for asked in up.asked("a")] == [40, 35]


# The caller leaves ------------------------------------------------------------------------------


async def test_when_the_caller_leaves_whoever_goes_on_stops(up: Scripted, tmp_path: Path) -> None:
    seen = Gate()
    up.on(
        "a",
        broken("openai_chat", 4, seen),
        (*stream(*FRAMES["openai_chat"][:6])[:-1], Gate()),
    )
    body = json.dumps(ASKED).encode()

    async with serving(tmp_path, up, at(up, "a")) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(served.head(body) + body)
        await reader.readuntil(b"data: ")
        seen.open()
        await reader.readuntil(json.dumps(TEXT[28:35]).encode())
        writer.transport.abort()
        await asyncio.wait_for(up.asked("a")[1].left.opened(), 5.0)
        await served.listener.stop(1.0)

    [fact] = served.exchanged()
    assert (fact.outcome, fact.status) == ("cancelled", 499)
    assert [one.failure for one in fact.attempts] == ["stream_broken", "cancelled"]


async def test_who_says_no_before_he_is_asked_again_does_not_go_on(
    up: Scripted, tmp_path: Path
) -> None:
    """To another request, in the pause after the break."""
    seen = Gate()
    up.on("a", broken("openai_chat", 4, seen))
    up.on("b", whole("openai_chat"))
    key = "at-a/a", "env:KEY_A"
    told = attempted(endpoint=key[0], credential=key[1], failure="rate_limit", retry_after_s=30.0)

    async with serving(tmp_path, up, at(up, "a"), at(up, "b")) as served, asyncio.timeout(20):
        asked = asyncio.create_task(ask(served, seen))
        while served.state.health.vitals(monotonic()).get(key, HEALTHY).success == 1.0:  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # nothing tells that it has broken
        served.state.observe(told, monotonic())
        got = await asked

    assert (text_of(got, "openai_chat"), continued_by(got)) == (TEXT, ["at-b/b"])
    assert len(up.asked("a")) == 1
