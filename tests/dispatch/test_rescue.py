"""A stream breaks that its caller has seen text of: who goes on, and that nothing is lost, said
twice or charged twice.

``serving`` checks after each test that every attempt was held, settled and told exactly once.
"""

import json
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dialects.anthropic_cases import message_of
from servers import canned
from servers.canned import ANTHROPIC, OPENAI, TEXT
from servers.inprocess import LIST, Got, Served, at, serving
from servers.scripted import Answer, End, Gate, Script, Scripted, Seen, reply, stream

PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}
FRAMES = {"openai_chat": OPENAI["text"].frames, "anthropic_messages": ANTHROPIC["text"].frames}
FIRST_TEXT = {"openai_chat": 2, "anthropic_messages": 4}
"""The frames up to the first text."""
DIALECTS = tuple(PATHS)
ASKED: Mapping[str, Any] = {
    "model": LIST,
    "stream": True,
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "Hello."}],
}


@pytest.fixture
async def up() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server


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
    [fact] = served.exchanged()
    assert (fact.outcome, fact.finish, fact.code) == ("ok", "stop", "")
    only_the_last_frame = (
        first == caller == "anthropic_messages" and place == len(FRAMES[first]) - 1
    )
    then = [] if only_the_last_frame else [("", "provider_usage")]
    assert [(one.failure, one.basis) for one in fact.attempts] == [
        ("stream_broken", "partial_estimate"),
        *then,
    ]


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
    continues = at(up, "b", second, can=frozenset({"system", "stream", "sampling", "prefill"}))

    async with serving(tmp_path, up, at(up, "a", first), continues) as served:
        got = await ask(served, seen, caller)

    assert text_of(got, caller) == TEXT
    turns = [asked.json["messages"][-1] for asked in up.asked("b")]
    assert [turn["role"] for turn in turns] == ["assistant"] * len(turns)
    assert all(TEXT.startswith(turn["content"]) for turn in turns)
