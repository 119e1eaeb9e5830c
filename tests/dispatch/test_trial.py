"""What an attempt is settled at when its answer breaks off or does not say what it used, and which
answers are whole although their stream is not."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fairlead.types.chat import Usage
from servers import canned
from servers.inprocess import LIST, QUICK, Got, Served, at, serving
from servers.scripted import End, Gate, Script, Scripted, reply, stream

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
    strange: dict[str, Any] = {f"{number:02}{'x' * 200}": 1 for number in range(90)}

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


# Only the terminal is missing --------------------------------------------------------------------

ANSWERS = {"openai_chat": canned.OPENAI, "anthropic_messages": canned.ANTHROPIC}
ENDS: Mapping[str, Callable[[Sequence[bytes]], Script]] = {
    "closed": lambda frames: stream(*frames),
    "cut": lambda frames: broken(*frames),
    "cut in a frame": lambda frames: broken(*frames, b"da"),
    "stalled": lambda frames: (*stream(*frames)[:-1], Gate()),
}


async def streamed(served: Served, path: str, **fields: Any) -> Got:
    asked = {"model": LIST, "stream": True, "max_tokens": 99, **fields}
    return await served.request(
        "POST", path, {**asked, "messages": [{"role": "user", "content": "Hello."}]}
    )


def told(got: Got) -> list[Any]:
    """Every event, but for what is made up for each answer."""
    assert (got.status, got.whole) == (200, True)
    made_up = {"id", "created"}
    return [
        json.loads(
            json.dumps(event), object_hook=lambda of: {k: of[k] for k in of.keys() - made_up}
        )
        for event in got.events
    ]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("said", "rescue"), [("text", True), ("text", False), ("tools", True), ("thinking", True)]
)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("dialect", ANSWERS)
async def test_an_answer_that_lacks_only_its_terminal_is_whole(
    up: Scripted, tmp_path: Path, dialect: str, path: str, said: str, end: str, rescue: bool
) -> None:
    """All is said, and why it ends, and what it used: nobody is asked, or paid, a second time."""
    answer = ANSWERS[dialect][said]
    up.on("a", answer, ENDS[end](answer.frames[:-1]))
    one = at(up, "a", dialect, timeouts=QUICK)

    async with serving(tmp_path, up, one, at(up, "b"), rescue=rescue) as served:
        usual = await streamed(served, path)
        got = await streamed(served, path)

    assert told(got) == told(usual)
    assert [len(up.asked(name)) for name in "ab"] == [2, 0]
    before, fact = served.exchanged()
    assert (fact.outcome, fact.finish, fact.code) == ("ok", before.finish, "")
    [first], [second] = before.attempts, fact.attempts
    assert (second.failure, second.basis) == ("", "provider_usage")
    assert (second.usage, second.cost_nano_usd) == (first.usage, first.cost_nano_usd)
    assert (first.message, second.message) == ("", "its stream ended without a terminal")


@pytest.mark.parametrize("end", ENDS)
async def test_it_is_whole_without_a_word_on_usage_too_and_estimated(
    up: Scripted, tmp_path: Path, end: str
) -> None:
    up.on("a", ENDS[end](OPENAI[:-2]))

    async with serving(tmp_path, up, at(up, "a", timeouts=QUICK), at(up, "b")) as served:
        got = await streamed(served, CHAT)

    assert (got.text, got.events[-1], up.asked("b")) == ("one two three ", "[DONE]", [])
    [one] = served.exchanged()[0].attempts
    assert (one.failure, one.basis, one.usage) == ("", "partial_estimate", Usage(INPUT_TOKENS, 3))


SECOND = OPENAI[2].replace(b'"index": 0', b'"index": 1')
ERROR = b'data: {"error":{"message":"no"}}\n\n'
UNFINISHED = {
    "no reason": ("openai_chat", broken(*OPENAI[:-3]), {}),
    "no reason in Messages": ("anthropic_messages", broken(*ANTHROPIC[:-2]), {}),
    "an error after the reason": ("openai_chat", broken(*OPENAI[:-2], ERROR), {}),
    "one of two choices": ("openai_chat", broken(OPENAI[0], SECOND, *OPENAI[1:-1]), {"n": 2}),
    "one of two, of the other no word": ("openai_chat", broken(*OPENAI[:-1]), {"n": 2}),
}


@pytest.mark.parametrize("case", UNFINISHED)
async def test_what_lacks_more_than_its_terminal_is_broken(
    up: Scripted, tmp_path: Path, case: str
) -> None:
    dialect, script, fields = UNFINISHED[case]
    up.on("a", script)
    path = CHAT if dialect == "openai_chat" else MESSAGES

    async with serving(tmp_path, up, at(up, "a", dialect), rescue=False) as served:
        got = await streamed(served, path, **fields)

    assert not got.whole
    assert [one.failure for one in served.exchanged()[0].attempts] == ["stream_broken"]
