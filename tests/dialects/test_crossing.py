"""Ways in which gateways got translation wrong, by number: 1 to 10, mostly of answers. Each goes
the whole way: the caller's bytes, the endpoint's, its answer's, the caller's answer's."""

import json
from typing import Any

import msgspec
import pytest

from dialects.crossings import (
    ANTHROPIC,
    CROSSED,
    HI,
    OPENAI,
    PAIRS,
    SPOKEN,
    Told,
    ask,
    pair_id,
    read,
)
from dialects.openai_cases import DONE, calls, chunk, completion, frame, usage_chunk
from fairlead.dialects import DIALECTS
from fairlead.types.errors import BadRequest, Failure, UpstreamError
from servers import canned

over_every_provider = pytest.mark.parametrize("pair", PAIRS, ids=pair_id)
crossing = pytest.mark.parametrize("pair", CROSSED, ids=pair_id)
over_itself = pytest.mark.parametrize("dialect", SPOKEN)
streamed_or_whole = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])

CITY = {"city": "Zürich"}
TEXT = json.dumps(CITY)
A_FIRST = {"id": "call_a", "name": "get_weather"}
A = {**A_FIRST, "arguments": TEXT}
B = {"id": "call_b", "name": "get_time", "arguments": "{}"}
USE = {"type": "tool_use", "id": "call_a", "name": "get_weather", "input": {}}
FINISH = chunk({}, "tool_calls")


def streamed(pair: tuple[str, str], *frames: bytes, **fields: Any) -> Told:
    asked = ask(*pair, stream=True, **fields)
    return read(pair[0], asked.answered(b"".join(frames)), stream=True)


def piece(index: int | None, **said: Any) -> dict[str, Any]:
    """Of a call, as an OpenAI endpoint streams it."""
    numbered = {} if index is None else {"index": index}
    named = {"id": said.pop("id")} if "id" in said else {}
    return {**numbered, **named, "type": "function", "function": said}


def block(start: Any, *deltas: Any, stop: str = "tool_use") -> bytes:
    """An answer of one block, as an Anthropic endpoint streams it."""
    return b"".join(canned.anthropic_frames([(start, deltas)], stop))


def partial(text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": text}


# 1 and 2: arguments may come at any time.


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([calls(piece(0, **A))], id="with the name"),
        pytest.param(
            [calls(piece(0, arguments=TEXT[:5])), calls(piece(0, **A_FIRST, arguments=TEXT[5:]))],
            id="before the name",
        ),
        pytest.param(
            [calls(piece(0, **A_FIRST, arguments=TEXT[:5])), calls(piece(0, arguments=TEXT[5:]))],
            id="some with the name",
        ),
        pytest.param([calls(piece(0, **{**A, "arguments": CITY}))], id="as an object"),
        pytest.param(
            [
                chunk({"role": "assistant"}),
                frame({"choices": [{"message": {"tool_calls": [piece(0, **A)]}}]}),
            ],
            id="with the last word alone",
        ),
    ],
)
def test_bug_1_and_2_arguments_count_whenever_an_openai_endpoint_sends_them(
    frames: list[bytes],
) -> None:
    told = streamed((ANTHROPIC, OPENAI), *frames, FINISH, DONE)

    assert (told.calls, told.reason) == ((("call_a", "get_weather", CITY),), "tool_calls")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(block({**USE, "input": CITY}), id="with the start"),
        pytest.param(block({**USE, "input": CITY}, partial("")), id="with the start alone"),
        pytest.param(block(USE, partial(TEXT)), id="after the start"),
        pytest.param(block(USE, partial(TEXT[:5]), partial(TEXT[5:])), id="in pieces"),
    ],
)
def test_bug_1_and_2_arguments_count_whenever_an_anthropic_endpoint_sends_them(
    answer: bytes,
) -> None:
    told = streamed((OPENAI, ANTHROPIC), answer)

    assert (told.calls, told.reason) == ((("call_a", "get_weather", CITY),), "tool_calls")


# 3: calls in disorder.


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([calls(piece(-1, **A)), calls(piece(-1, **B))], id="numbered -1"),
        pytest.param([calls(piece(None, **A)), calls(piece(None, **B))], id="without numbers"),
        pytest.param([calls(piece(0, **A)), calls(piece(0, **B))], id="all numbered 0"),
        pytest.param([calls(piece(3, **A)), calls(piece(7, **B))], id="numbered with gaps"),
        pytest.param([calls(piece(0, **A), piece(1, **B))], id="in one chunk"),
        pytest.param(
            [
                calls(piece(0, id="", name="")),
                calls(piece(0, **A)),
                calls(piece(1, id=None, name=None)),
                calls(piece(1, **B)),
            ],
            id="named late",
        ),
        pytest.param(
            [
                calls(piece(0, **A_FIRST, arguments=TEXT[:4])),
                calls(piece(0, **A_FIRST, arguments=TEXT[4:])),
                calls(piece(1, **B)),
            ],
            id="named again",
        ),
        pytest.param(
            [calls(piece(0, **A_FIRST), piece(1, **B)), calls(piece(0, arguments=TEXT))],
            id="in turns",
        ),
    ],
)
def test_bug_3_calls_are_told_apart_however_they_are_numbered(frames: list[bytes]) -> None:
    told = streamed((ANTHROPIC, OPENAI), *frames, FINISH, DONE)

    assert told.calls == (("call_a", "get_weather", CITY), ("call_b", "get_time", {}))


# 4: half a call, and an empty one.


@streamed_or_whole
def test_bug_4_half_a_call_of_an_openai_endpoint_is_no_call(stream: bool) -> None:
    half = {"tool_calls": [piece(0, **A_FIRST, arguments='{"city')]}
    asked = ask(ANTHROPIC, OPENAI, stream=stream)

    def answer(finish: str) -> bytes:
        return chunk(half, finish) + DONE if stream else completion(half, finish)

    assert read(ANTHROPIC, asked.answered(answer("length")), stream).reason == "length"
    with pytest.raises(UpstreamError) as caught:
        asked.answered(answer("tool_calls"))
    assert caught.value.failure is Failure.STREAM_BROKEN


def test_bug_4_half_a_call_of_an_anthropic_endpoint_says_that_it_was_cut() -> None:
    told = streamed((OPENAI, ANTHROPIC), block(USE, partial('{"city'), stop="max_tokens"))

    assert (told.calls, told.reason) == ((("call_a", "get_weather", '{"city'),), "length")


@crossing
@streamed_or_whole
def test_bug_4_no_arguments_are_an_empty_object(stream: bool, pair: tuple[str, str]) -> None:
    empty = {"tool_calls": [piece(0, **A_FIRST, arguments="")]}
    streams = {OPENAI: chunk(empty) + FINISH + DONE, ANTHROPIC: block(USE)}
    wholes = {
        OPENAI: completion(empty),
        ANTHROPIC: msgspec.json.encode(canned.anthropic_whole([USE], "tool_use")),
    }
    answer = ask(*pair, stream=stream).answered((streams if stream else wholes)[pair[1]])

    assert read(pair[0], answer, stream).calls == (("call_a", "get_weather", {}),)


# 5: what must be given back as it was.

SIGNED = {
    OPENAI: {
        "role": "assistant",
        "reasoning_content": "Hm.",
        "tool_calls": [
            {**piece(None, **A), "extra_content": {"google": {"thought_signature": "c2ln"}}}
        ],
    },
    ANTHROPIC: {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "c2Vj"},
            {"type": "tool_use", "id": "call_a", "name": "get_weather", "input": CITY},
        ],
    },
}


@over_itself
def test_bug_5_signatures_go_back_to_their_vendor_as_they_came(dialect: str) -> None:
    messages = [*HI, SIGNED[dialect], *HI]

    assert ask(dialect, dialect, messages=messages).sent["messages"] == messages


@crossing
def test_bug_5_signatures_of_another_vendor_are_left_out_and_told_of(
    pair: tuple[str, str],
) -> None:
    asked = ask(*pair, messages=[*HI, SIGNED[pair[0]], *HI])

    assert "reasoning" in asked.dropped
    assert ("messages.extra_content" in asked.dropped) is (pair[0] == OPENAI)
    assert not {b"c2ln", b"c2Vj", b"Hm."} & set(asked.rendered.body.split(b'"'))


@streamed_or_whole
def test_bug_5_thoughts_of_another_model_never_pass_for_signed_ones(stream: bool) -> None:
    shown = ask(ANTHROPIC, OPENAI, stream=stream).answered_with(canned.OPENAI["thinking"])
    thought = {"type": "thinking", "thinking": shown.thought, "signature": shown.signature}
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "Hello."}]}
    asked = ask(ANTHROPIC, ANTHROPIC, messages=[*HI, said, *HI])

    assert shown.thought == canned.THOUGHT
    assert asked.sent["messages"][1]["content"] == [{"type": "text", "text": "Hello."}]
    assert asked.dropped == ("reasoning",)


# 6: cached tokens.


@streamed_or_whole
@pytest.mark.parametrize("read_tokens", [0, 70])
@crossing
def test_bug_6_cached_tokens_are_counted_once(
    read_tokens: int, stream: bool, pair: tuple[str, str]
) -> None:
    """One vendor counts them in, the other apart."""
    usage: dict[str, dict[str, Any]] = {
        OPENAI: {
            **canned.OPENAI_USAGE,
            "prompt_tokens_details": {"cached_tokens": read_tokens},
        },
        ANTHROPIC: {"input_tokens": 120 - read_tokens, "cache_read_input_tokens": read_tokens},
    }
    caller, provider = pair
    text = {OPENAI: canned.OPENAI["text"], ANTHROPIC: canned.ANTHROPIC["text"]}[provider]
    whole = {**text.whole, "usage": {"output_tokens": 30, **usage[provider]}}
    if provider == OPENAI:
        frames = [*text.frames[:-2], usage_chunk(usage[OPENAI]), DONE]
    else:
        start = {"type": "message_start", "message": {**whole, "content": []}}
        frames = [b"data: " + msgspec.json.encode(start) + b"\n\n", *text.frames[1:]]
    options = {"stream_options": {"include_usage": True}} if caller == OPENAI and stream else {}
    told = ask(caller, provider, options, stream=stream).answered_with(
        canned.Canned(whole, tuple(frames))
    )

    assert (told.input_tokens, told.cached_tokens) == (120, read_tokens)


# 7: what only one dialect has.

GRAMMAR = {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "a"'}}
ONLY_HERE = {
    OPENAI: [
        {"tools": [{"type": "custom", "custom": {"name": "patch", "format": GRAMMAR}}]},
        {"web_search_options": {}},
        {"n": 2},
        {"logprobs": True},
    ],
    ANTHROPIC: [
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]},
        {"context_management": {"edits": []}},
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
    ],
}
ROWS = [(dialect, fields) for dialect in SPOKEN for fields in ONLY_HERE[dialect]]


@pytest.mark.parametrize(("dialect", "fields"), ROWS, ids=str)
def test_bug_7_what_one_dialect_alone_has_passes_within_it(dialect: str, fields: Any) -> None:
    asked = ask(dialect, dialect, fields)

    assert {name: asked.sent[name] for name in fields} == fields
    assert asked.dropped == ()


@pytest.mark.parametrize(("dialect", "fields"), ROWS, ids=str)
def test_bug_7_and_is_refused_by_name_where_it_would_be_lost(dialect: str, fields: Any) -> None:
    other = ANTHROPIC if dialect == OPENAI else OPENAI
    with pytest.raises(BadRequest) as caught:
        ask(dialect, other, fields)

    assert caught.value.param is not None
    assert caught.value.param.partition("[")[0].partition(".")[0] in fields


# 8: schemas that a server cannot make a grammar of.

ODD_SCHEMA = {
    "type": "object",
    "properties": {"at": {"$ref": "#/$defs/time"}, "id": {"pattern": "^(?!x)\\w+$"}},
    "$defs": {"time": {"type": "string", "format": "date-time"}},
}


@over_every_provider
def test_bug_8_schemas_of_tools_are_never_rewritten(pair: tuple[str, str]) -> None:
    tools = {
        OPENAI: [{"type": "function", "function": {"name": "f", "parameters": ODD_SCHEMA}}],
        ANTHROPIC: [{"name": "f", "input_schema": ODD_SCHEMA}],
    }
    caller, provider = pair

    assert ask(caller, provider, tools=tools[caller]).sent["tools"] == tools[provider]


@over_itself
def test_bug_8_an_endpoint_that_cannot_read_one_says_so_to_the_caller(dialect: str) -> None:
    body = b'{"error": {"code": 400, "message": "failed to parse grammar", "type": "x"}}'
    error = DIALECTS[OPENAI].parse_error(400, {}, body)

    assert error.status == 400
    assert b"failed to parse grammar" in DIALECTS[dialect].render_error(error, "r1")


# 9 and 10: local servers leave things out.


def test_bug_9_numbers_that_an_openai_endpoint_leaves_out_are_put_in() -> None:
    """Chunks without an id, a model, a time, and an index of the choice."""
    frames = [
        frame({"choices": [{"delta": said}]})
        for said in (
            {"reasoning_content": "Hm."},
            {"content": "Hi"},
            {"tool_calls": [piece(0, **A)]},
        )
    ]
    last = frame({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    told = streamed((ANTHROPIC, OPENAI), *frames, last)

    assert (told.thought, told.text) == ("Hm.", "Hi")
    assert told.calls == (("call_a", "get_weather", CITY),)


def test_bug_9_numbers_and_names_that_an_anthropic_endpoint_leaves_out_are_put_in() -> None:
    """Blocks without an index, and events named in their data alone."""
    stream = b"".join(canned.ANTHROPIC["tools"].frames)
    for index in b"01":
        stream = stream.replace(b'"index": %c, ' % index, b"")
    bare = b"\n".join(line for line in stream.split(b"\n") if not line.startswith(b"event:"))
    told = streamed((OPENAI, ANTHROPIC), bare)

    assert told.calls == canned.CALLS


@pytest.mark.parametrize("content", [None, ""])
@pytest.mark.parametrize("usage", [{"prompt_tokens": 9, "completion_tokens": 2}, None])
def test_bug_10_stop_beside_calls_means_calls(usage: Any, content: str | None) -> None:
    frames = [
        chunk({"role": "assistant", "content": content}),
        chunk({"content": content, "tool_calls": [piece(0, **A)]}),
        chunk({"content": content}, "stop"),
        usage_chunk(usage),
        DONE,
    ]
    told = streamed((ANTHROPIC, OPENAI), *frames)

    assert (told.text, told.reason) == ("", "tool_calls")
    assert told.calls == (("call_a", "get_weather", CITY),)
    assert (told.input_tokens, told.output_tokens) == ((9, 2) if usage else (0, 0))


def test_bug_10_end_turn_beside_calls_means_calls() -> None:
    told = streamed((OPENAI, ANTHROPIC), block(USE, partial(TEXT), stop="end_turn"))

    assert told.reason == "tool_calls"
