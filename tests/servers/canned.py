"""Answers as vendors write them, by dialect and case, to be played by the scripted upstream.

The same five answers in each dialect: ``text``, ``tools`` (two calls, in parallel), ``thinking``,
``json`` and ``length``. Each is known whole and as the frames of its stream.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servers.scripted import Script, Seen, reply, stream

TEXT = "Grüße from the harbour: the line runs clear. ⚓"
THOUGHT = "The caller greets, so greet back."
SIGNATURE = "EqQBCgIYAhIkc2lnbmVkLWJ5LXZlbmRvcg=="
CALLS = (
    ("call_a", "get_weather", {"city": "Zürich", "unit": "celsius"}),
    ("call_b", "get_time", {"zone": "Europe/Zurich"}),
)
ANSWER = {"name": "Ada", "age": 36}


@dataclass(frozen=True)
class Canned:
    """One answer in one dialect."""

    whole: Mapping[str, Any]
    frames: tuple[bytes, ...]

    def __call__(self, seen: Seen) -> Script:
        if not seen.json.get("stream"):
            return reply({**self.whole, "model": seen.model})
        if (seen.json.get("stream_options") or {}).get("include_usage"):
            return stream(*self.frames)
        return stream(*(frame for frame in self.frames if b'"choices": [],' not in frame))


# ---------------------------------------------------------------- OpenAI Chat Completions

OPENAI_USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 100},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def openai_whole(message: Mapping[str, Any], finish: str = "stop") -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, "refusal": None, **message},
        "logprobs": None,
        "finish_reason": finish,
    }
    return {
        "id": "chatcmpl-canned",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "canned",
        "choices": [choice],
        "usage": OPENAI_USAGE,
        "system_fingerprint": "fp_canned",
    }


def openai_frames(deltas: Sequence[Mapping[str, Any]], finish: str = "stop") -> tuple[bytes, ...]:
    def frame(choices: object, usage: object = None) -> bytes:
        chunk = {
            "id": "chatcmpl-canned",
            "object": "chat.completion.chunk",
            "created": 1_760_000_000,
            "model": "canned",
            "choices": choices,
            "usage": usage,
        }
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def choice(delta: Mapping[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]

    return (
        frame(choice({"role": "assistant", "content": ""})),
        *(frame(choice(delta)) for delta in deltas),
        frame(choice({}, finish)),
        frame([], OPENAI_USAGE),
        b"data: [DONE]\n\n",
    )


def openai_text(text: str, finish: str = "stop") -> Canned:
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    return Canned(
        openai_whole({"content": text}, finish),
        openai_frames([{"content": piece} for piece in pieces], finish),
    )


def openai_tools() -> Canned:
    """The first call's arguments begin on its first chunk; the second's come in two halves."""
    (id_a, name_a, args_a), (id_b, name_b, args_b) = CALLS
    text_a, text_b = json.dumps(args_a), json.dumps(args_b)
    half = len(text_b) // 2

    def call(index: int, arguments: str, **first: str) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": first["name"]} if first else {})}
        head = {"id": first["id"], "type": "function"} if first else {}
        return {"tool_calls": [{"index": index, **head, "function": function}]}

    whole = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
        for id, name, args in CALLS
    ]
    deltas = [
        call(0, text_a, id=id_a, name=name_a),
        call(1, "", id=id_b, name=name_b),
        call(1, text_b[:half]),
        call(1, text_b[half:]),
    ]
    return Canned(
        openai_whole({"tool_calls": whole}, "tool_calls"), openai_frames(deltas, "tool_calls")
    )


def openai_thinking() -> Canned:
    """As the open-weights servers show it: ``reasoning_content`` beside ``content``."""
    return Canned(
        openai_whole({"content": TEXT, "reasoning_content": THOUGHT}),
        openai_frames([{"reasoning_content": THOUGHT}, {"content": TEXT}]),
    )


OPENAI = {
    "text": openai_text(TEXT),
    "tools": openai_tools(),
    "thinking": openai_thinking(),
    "json": openai_text(json.dumps(ANSWER)),
    "length": openai_text(TEXT[:10], "length"),
}

EMBEDDINGS = {
    "object": "list",
    "data": [
        {"object": "embedding", "index": index, "embedding": [0.25, -0.5, index]}
        for index in range(2)
    ],
    "model": "canned",
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}

# ---------------------------------------------------------------- Anthropic Messages

ANTHROPIC_USAGE = {
    "input_tokens": 20,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 0,
    "output_tokens": 30,
    "service_tier": "standard",
}


def anthropic_whole(content: Sequence[Mapping[str, Any]], stop: str = "end_turn") -> dict[str, Any]:
    return {
        "id": "msg_canned",
        "type": "message",
        "role": "assistant",
        "model": "canned",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": ANTHROPIC_USAGE,
    }


Block = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]
"""How a content block starts, and its deltas."""


def anthropic_frames(blocks: Sequence[Block], stop: str = "end_turn") -> tuple[bytes, ...]:
    def frame(kind: str, **fields: object) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    opening = anthropic_whole([]) | {"stop_reason": None}
    opening["usage"] = ANTHROPIC_USAGE | {"output_tokens": 1}
    frames = [frame("message_start", message=opening), frame("ping")]
    for index, (start, deltas) in enumerate(blocks):
        frames.append(frame("content_block_start", index=index, content_block=start))
        frames += [frame("content_block_delta", index=index, delta=delta) for delta in deltas]
        frames.append(frame("content_block_stop", index=index))
    delta = {"stop_reason": stop, "stop_sequence": None}
    usage = {"output_tokens": ANTHROPIC_USAGE["output_tokens"]}
    return (*frames, frame("message_delta", delta=delta, usage=usage), frame("message_stop"))


def text_block(text: str) -> Block:
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return {"type": "text", "text": ""}, deltas


def anthropic_text(text: str, stop: str = "end_turn") -> Canned:
    return Canned(
        anthropic_whole([{"type": "text", "text": text}], stop),
        anthropic_frames([text_block(text)], stop),
    )


def anthropic_tools() -> Canned:
    blocks: list[Block] = []
    for id, name, arguments in CALLS:
        text = json.dumps(arguments)
        parts = ("", text[:9], text[9:])
        start = {"type": "tool_use", "id": id, "name": name, "input": {}}
        blocks.append((start, [{"type": "input_json_delta", "partial_json": x} for x in parts]))
    content = [
        {"type": "tool_use", "id": id, "name": name, "input": arguments}
        for id, name, arguments in CALLS
    ]
    return Canned(anthropic_whole(content, "tool_use"), anthropic_frames(blocks, "tool_use"))


def anthropic_thinking() -> Canned:
    thought = {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}
    deltas = [
        {"type": "thinking_delta", "thinking": THOUGHT},
        {"type": "signature_delta", "signature": SIGNATURE},
    ]
    start = {"type": "thinking", "thinking": "", "signature": ""}
    return Canned(
        anthropic_whole([thought, {"type": "text", "text": TEXT}]),
        anthropic_frames([(start, deltas), text_block(TEXT)]),
    )


ANTHROPIC = {
    "text": anthropic_text(TEXT),
    "tools": anthropic_tools(),
    "thinking": anthropic_thinking(),
    "json": anthropic_text(json.dumps(ANSWER)),
    "length": anthropic_text(TEXT[:10], "max_tokens"),
}

COUNT = {"input_tokens": 42}
