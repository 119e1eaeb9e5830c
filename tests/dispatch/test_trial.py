"""What an attempt is settled at when its answer breaks off or does not say what it used."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.types.chat import Usage
from servers import canned
from servers.inprocess import at, serving
from servers.scripted import End, Script, Scripted, reply, stream

INPUT_TOKENS = 6
"""Our estimate for ``Hello.``."""
OPENAI = canned.openai_frames([{"content": word} for word in ("one ", "two ", "three ")])
THOUGHTS = canned.openai_frames([{"reasoning_content": "so "}, {"content": "one "}])
ANTHROPIC = canned.anthropic_frames([canned.text_block("word " * 5)])
NOTHING_YET = (
    ANTHROPIC[0]
    .replace(b'"input_tokens": 20', b'"input_tokens": 0')
    .replace(b'"cache_read_input_tokens": 100', b'"cache_read_input_tokens": 0')
)
GREETING = canned.openai_whole({"content": "Hello."})
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
STARTED = {"input_tokens": 120, "cached_read_tokens": 100}


def broken(*frames: bytes, at_once: bool = False) -> Script:
    return (*stream(*([b"".join(frames)] if at_once else frames))[:-1], End.CLOSE)


def crlf(*frames: bytes) -> tuple[bytes, ...]:
    return tuple(frame.replace(b"\n", b"\r\n") for frame in frames)


CASES: dict[str, tuple[str, str, Script, Usage]] = {
    "a token a frame": ("openai_chat", CHAT, broken(*OPENAI[:3]), Usage(INPUT_TOKENS, 2)),
    "in one packet": (
        *("openai_chat", CHAT, broken(*OPENAI[:3], at_once=True)),
        Usage(INPUT_TOKENS, 2),
    ),
    "other line ends": ("openai_chat", CHAT, broken(*crlf(*OPENAI[:3])), Usage(INPUT_TOKENS, 2)),
    "translated": ("openai_chat", MESSAGES, broken(*OPENAI[:3]), Usage(INPUT_TOKENS, 2)),
    "thoughts": ("openai_chat", MESSAGES, broken(*THOUGHTS[:3]), Usage(INPUT_TOKENS, 2)),
    "the input was reported": (
        *("anthropic_messages", MESSAGES, broken(*ANTHROPIC[:6])),
        Usage(output_tokens=3, **STARTED),
    ),
    "reported and translated": (
        *("anthropic_messages", CHAT, broken(*ANTHROPIC[:6])),
        Usage(output_tokens=3, **STARTED),
    ),
    "a zero that means nothing yet": (
        *("anthropic_messages", MESSAGES, broken(NOTHING_YET, *ANTHROPIC[1:6])),
        Usage(INPUT_TOKENS, 3),
    ),
    "all was reported but the end": (
        *("openai_chat", CHAT, broken(OPENAI[0], OPENAI[1], OPENAI[-2])),
        Usage(120, 30, cached_read_tokens=100),
    ),
    "ended without a word on usage": (
        *("openai_chat", CHAT, stream(*OPENAI[:-2], OPENAI[-1])),
        Usage(INPUT_TOKENS, 3),
    ),
}


@pytest.fixture
async def up() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server


@pytest.mark.parametrize("case", CASES)
async def test_what_is_charged_for_an_answer_that_does_not_say(
    up: Scripted, tmp_path: Path, case: str
) -> None:
    dialect, path, script, usage = CASES[case]
    up.on("a", script)
    asked = {
        "model": "a",
        "stream": True,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "Hello."}],
    }

    async with serving(tmp_path, up, at(up, "a", dialect)) as served:
        await served.request("POST", path, asked)

    one = served.exchanged()[0].attempts[0]
    assert (one.usage, one.basis) == (usage, "partial_estimate")


async def test_a_zero_that_was_reported_at_the_end_stays_zero(up: Scripted, tmp_path: Path) -> None:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    up.on("a", reply(GREETING | {"usage": nothing}))

    async with serving(tmp_path, up, at(up, "a")) as served:
        await served.ask("a")

    [one] = served.exchanged()[0].attempts
    assert (one.usage, one.cost_nano_usd, one.basis) == (Usage(), 0, "provider_zero")


async def test_what_is_left_behind_is_told_in_brief(up: Scripted, tmp_path: Path) -> None:
    up.on("a", canned.ANTHROPIC["text"])
    strange = {f"{number:02}{'x' * 200}": 1 for number in range(90)}

    async with serving(tmp_path, up, at(up, "a", "anthropic_messages")) as served:
        got = await served.ask("a", **strange)

    told = got.headers["x-fairlead-dropped"].split(",")
    assert got.status == 200
    assert told == [*[f"{number:02}{'x' * 98}" for number in range(40)], "and 50 more"]
    assert list(served.exchanged()[0].dropped) == told


def nested(depth: int) -> object:
    schema: dict[str, object] = {}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


async def test_what_is_nested_too_deep_to_cross_is_the_callers_affair(
    up: Scripted, tmp_path: Path
) -> None:
    up.on("a", canned.ANTHROPIC["text"])
    can = frozenset({"json_schema", "system"})
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": nested(350)}}

    async with serving(tmp_path, up, at(up, "a", "anthropic_messages", can=can)) as served:
        got = await served.ask("a", response_format=form)

    assert (got.status, got.json["error"]["code"]) == (400, "invalid_request")
    assert "nested too deep" in got.json["error"]["message"]
    assert up.seen == []
