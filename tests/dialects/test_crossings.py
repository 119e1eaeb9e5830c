"""Every caller over every provider: what is asked and what is answered means the same."""

import dataclasses
import json
from functools import partial
from typing import Any

import pytest

from dialects.cases import REPLY
from dialects.crossings import (
    ANTHROPIC,
    CROSSED,
    NEWER,
    OPENAI,
    PAIRS,
    Asked,
    Told,
    ask,
    endpoint,
    frames_of,
    pair_id,
)
from fairlead.dialects import DIALECTS
from fairlead.dialects.anthropic_messages_wire import UNSIGNED
from fairlead.types.errors import Failure, UpstreamError
from servers import canned

HI = {"role": "user", "content": "Hi"}
PNG = "iVBORw0KGgo="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

over_every_provider = pytest.mark.parametrize("pair", PAIRS, ids=pair_id)
crossing = pytest.mark.parametrize("pair", CROSSED, ids=pair_id)


# What is asked: the same wish in each dialect, and each must become the other.


def tool(name: str) -> dict[str, Any]:
    definition = {"name": name, "description": f"Does {name}."}
    return {
        OPENAI: {"type": "function", "function": {**definition, "parameters": SCHEMA}},
        ANTHROPIC: {**definition, "input_schema": SCHEMA},
    }


def tools(openai: Any = None, anthropic: Any = None) -> dict[str, Any]:
    """Two tools, and a choice among them."""
    defined = [tool("get_weather"), tool("get_time")]
    return {
        OPENAI: {"tools": [one[OPENAI] for one in defined], **(openai or {})},
        ANTHROPIC: {"tools": [one[ANTHROPIC] for one in defined], **(anthropic or {})},
    }


def calls() -> list[Any]:
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'},
        }
        for number in (1, 2)
    ]


def uses() -> list[Any]:
    return [
        {"type": "tool_use", "id": id, "name": "get_weather", "input": {"city": "Zürich"}}
        for id in ("call_1", "call_2")
    ]


WISHES: dict[str, dict[str, Any]] = {
    "text": {
        OPENAI: {"messages": [{"role": "user", "content": "Grüße\n👋"}]},
        ANTHROPIC: {"messages": [{"role": "user", "content": "Grüße\n👋"}]},
    },
    "conversation": {
        OPENAI: {"messages": [HI, {"role": "assistant", "content": "Ho"}, HI]},
        ANTHROPIC: {"messages": [HI, {"role": "assistant", "content": "Ho"}, HI]},
    },
    "system prompt": {
        OPENAI: {"messages": [{"role": "system", "content": "Be brief."}, HI]},
        ANTHROPIC: {"system": "Be brief.", "messages": [HI]},
    },
    "system prompt in parts": {
        OPENAI: {
            "messages": [
                {
                    "role": "system",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                },
                HI,
            ]
        },
        ANTHROPIC: {
            "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "messages": [HI],
        },
    },
    "images": {
        OPENAI: {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {
                            "type": "image_url",
                            "image_url": {"url": f"data:image/png;base64,{PNG}"},
                        },
                        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                    ],
                }
            ]
        },
        ANTHROPIC: {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                        {
                            "type": "image",
                            "source": {"type": "url", "url": "https://x.test/a.png"},
                        },
                    ],
                }
            ]
        },
    },
    "tools": tools(),
    "tools if it likes": tools({"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}),
    "no tools this time": tools({"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
    "some tool": tools({"tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
    "this tool": tools(
        {"tool_choice": {"type": "function", "function": {"name": "get_time"}}},
        {"tool_choice": {"type": "tool", "name": "get_time"}},
    ),
    "one tool at a time": tools(
        {"tool_choice": "auto", "parallel_tool_calls": False},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    "tool results": tools(
        {
            "messages": [
                HI,
                {"role": "assistant", "content": "I look.", "tool_calls": calls()},
                {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
                {"role": "tool", "tool_call_id": "call_2", "content": "late"},
            ]
        },
        {
            "messages": [
                HI,
                {"role": "assistant", "content": [{"type": "text", "text": "I look."}, *uses()]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                        {"type": "tool_result", "tool_use_id": "call_2", "content": "late"},
                    ],
                },
            ]
        },
    ),
    "answer by schema": {
        OPENAI: {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA},
            }
        },
        ANTHROPIC: {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    },
    "stop sequences": {
        OPENAI: {"stop": ["END", "###"]},
        ANTHROPIC: {"stop_sequences": ["END", "###"]},
    },
    "sampling": {OPENAI: {"temperature": 0.5}, ANTHROPIC: {"temperature": 0.5}},
    "thinking": {
        OPENAI: {"reasoning_effort": "medium"},
        ANTHROPIC: {"thinking": {"type": "enabled", "budget_tokens": 8192}},
    },
}
UNLIKE = {"max_tokens", "max_completion_tokens", "stream", "stream_options"}
"""Told of in tests of their own."""


@over_every_provider
@pytest.mark.parametrize("wish", WISHES)
def test_what_is_asked(wish: str, pair: tuple[str, str]) -> None:
    caller, provider = pair
    asked = ask(caller, provider, WISHES[wish][caller])
    expected = {"model": "upstream-model", "messages": [HI], **WISHES[wish][provider]}

    assert {name: asked.sent[name] for name in asked.sent.keys() - UNLIKE} == expected
    assert asked.dropped == ()


@over_every_provider
@pytest.mark.parametrize(
    ("openai", "anthropic"),
    [
        ({"reasoning_effort": "high"}, {"effort": "high"}),
        ({"reasoning_effort": "low"}, {"effort": "low"}),
        ({"reasoning_effort": "max"}, {"effort": "max"}),
    ],
)
def test_a_model_that_thinks_adaptively_is_told_an_effort(
    openai: Any, anthropic: Any, pair: tuple[str, str]
) -> None:
    wish = {
        OPENAI: openai,
        ANTHROPIC: {"thinking": {"type": "adaptive"}, "output_config": anthropic},
    }
    caller, provider = pair
    asked = ask(caller, provider, wish[caller], to=endpoint(provider, NEWER))

    assert {name: asked.sent[name] for name in wish[provider]} == wish[provider]
    assert asked.dropped == ()


@over_every_provider
@pytest.mark.parametrize(("said", "cap", "sent"), [(900, None, 900), (900, 50, 50), (9, 50, 9)])
def test_the_longest_answer(said: int, cap: int | None, sent: int, pair: tuple[str, str]) -> None:
    caller, provider = pair
    name = "max_completion_tokens" if pair == (ANTHROPIC, OPENAI) else "max_tokens"

    assert ask(caller, provider, max_tokens=said, cap=cap).sent[name] == sent


@over_every_provider
def test_a_stream_is_asked_for_as_one(pair: tuple[str, str]) -> None:
    caller, provider = pair
    sent = ask(caller, provider, stream=True).sent

    assert sent["stream"] is True
    assert sent.get("stream_options") == ({"include_usage": True} if provider == OPENAI else None)


@crossing
@pytest.mark.parametrize("wish", WISHES)
def test_what_crosses_twice_is_what_it_was(wish: str, pair: tuple[str, str]) -> None:
    caller, provider = pair
    there = ask(caller, provider, WISHES[wish][caller])
    sent = {name: there.sent[name] for name in there.sent.keys() - {"max_completion_tokens"}}
    back = ask(provider, caller, sent)

    wished = {"model": "upstream-model", "messages": [HI], **WISHES[wish][caller]}
    assert {name: back.sent[name] for name in back.sent.keys() - UNLIKE} == wished


# What is answered.

CANNED = {OPENAI: canned.OPENAI, ANTHROPIC: canned.ANTHROPIC}
ANSWERS = {
    "text": Told(text=canned.TEXT),
    "tools": Told(calls=canned.CALLS, reason="tool_calls"),
    "thinking": Told(text=canned.TEXT, thought=canned.THOUGHT),
    "json": Told(text=json.dumps(canned.ANSWER)),
    "length": Told(text=canned.TEXT[:10], reason="length"),
}
SIGNATURES = {(ANTHROPIC, ANTHROPIC): canned.SIGNATURE, (ANTHROPIC, OPENAI): UNSIGNED}
"""Of thoughts. A caller without a place for them gets none."""

streamed_or_whole = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def asking(pair: tuple[str, str], stream: bool) -> Asked:
    """A request that wants to know what it used."""
    options = {"stream_options": {"include_usage": True}} if pair[0] == OPENAI and stream else {}
    return ask(*pair, options, stream=stream)


@over_every_provider
@streamed_or_whole
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_answered(answer: str, stream: bool, pair: tuple[str, str]) -> None:
    told = asking(pair, stream).answered_with(CANNED[pair[1]][answer])

    assert told == dataclasses.replace(
        ANSWERS[answer],
        signature=SIGNATURES.get(pair, "") if answer == "thinking" else "",
        input_tokens=120,
        cached_tokens=100,
        output_tokens=30,
    )


@over_every_provider
@streamed_or_whole
def test_why_it_ended_at_a_stop_sequence(stream: bool, pair: tuple[str, str]) -> None:
    """Chat Completions has no word for which it was."""
    answer = {
        OPENAI: canned.openai_text("Hi"),
        ANTHROPIC: canned.anthropic_text("Hi", "stop_sequence"),
    }
    reason = "stop_sequence" if pair == (ANTHROPIC, ANTHROPIC) else "stop"

    assert asking(pair, stream).answered_with(answer[pair[1]]).reason == reason


SPENT: dict[str, dict[str, Any]] = {
    OPENAI: {
        "prompt_tokens": 120,
        "completion_tokens": 30,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 25},
    },
    ANTHROPIC: {
        "input_tokens": 20,
        "cache_read_input_tokens": 90,
        "cache_creation_input_tokens": 10,
        "output_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 25},
    },
}


def spending(answer: canned.Canned, usage: dict[str, Any]) -> canned.Canned:
    """The same answer, at another price: only the last word on it counts."""
    *before, last, terminal = answer.frames
    name, _, data = last.partition(b"data: ")
    changed = json.dumps({**json.loads(data), "usage": usage}).encode()
    frames = (*before, name + b"data: " + changed + b"\n\n", terminal)
    return canned.Canned({**answer.whole, "usage": usage}, frames)


@over_every_provider
@streamed_or_whole
@pytest.mark.parametrize("answer", ["text", "tools", "thinking"])
def test_what_was_used(answer: str, stream: bool, pair: tuple[str, str]) -> None:
    provider = pair[1]
    told = asking(pair, stream).answered_with(spending(CANNED[provider][answer], SPENT[provider]))

    assert (told.input_tokens, told.cached_tokens, told.written_tokens) == (120, 90, 10)
    assert (told.output_tokens, told.reasoning_tokens) == (30, 25)


# What goes wrong.

TORN = {
    OPENAI: b"".join(canned.OPENAI["tools"].frames[:-4]),
    ANTHROPIC: b"".join(canned.ANTHROPIC["tools"].frames[:-5]),
}
"""Streams that stop inside their second tool call."""
FAILED = {
    OPENAI: b'data: {"error": {"message": "Overloaded", "code": "server_overloaded"}}\n\n',
    ANTHROPIC: b'event: error\ndata: {"type": "error", "error": '
    b'{"type": "overloaded_error", "message": "Overloaded"}}\n\n',
}
ENDS = (b"[DONE]", b"message_stop", b'"finish_reason":"', b"message_delta")


@over_every_provider
@pytest.mark.parametrize("last", [{}, FAILED], ids=["cut", "an error"])
def test_a_torn_stream_has_no_end_in_any_dialect(last: Any, pair: tuple[str, str]) -> None:
    caller, provider = pair
    decoder = DIALECTS[provider].decoder(ask(*pair, stream=True).request, caller == provider)
    encoder = DIALECTS[caller].encoder(ask(*pair, stream=True).request, REPLY)
    told = b"".join(map(encoder.encode, decoder.feed(TORN[provider])))
    fails = partial(decoder.feed, last[provider]) if last else decoder.close
    with pytest.raises(UpstreamError) as caught:
        fails()
    told += encoder.error(caught.value)

    assert caught.value.failure is Failure.STREAM_BROKEN
    assert canned.CALLS[1][1].encode() in told
    assert not any(end in told for end in ENDS)
    final = [*frames_of(told)][-1]
    assert json.loads(final)["error"]["message"] == caught.value.message


@over_every_provider
@streamed_or_whole
@pytest.mark.parametrize("answer", [b"", b"<html>\n\n</html>", b"[]"])
def test_a_200_that_is_no_answer(answer: bytes, stream: bool, pair: tuple[str, str]) -> None:
    with pytest.raises(UpstreamError) as caught:
        ask(*pair, stream=stream).answered(answer)

    assert caught.value.failure is Failure.BAD_SUCCESS


@over_every_provider
def test_an_error_before_content_is_of_its_own_class(pair: tuple[str, str]) -> None:
    with pytest.raises(UpstreamError) as caught:
        ask(*pair, stream=True).answered(FAILED[pair[1]])

    assert caught.value.failure is Failure.OVERLOADED
