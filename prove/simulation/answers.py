"""What the world's models say, in the words of two dialects. The same question, the same answer.

A question reads ``say 12 of 7 ...``: number 12, an answer of 7 words. So whoever reads an answer
knows what it should have been.
"""

from typing import Any

import msgspec
from msgspec import Struct

OPENAI, ANTHROPIC = "openai_chat", "anthropic_messages"


class Question(Struct, frozen=True):
    """What an endpoint reads in a request's body."""

    number: int
    words: int
    stream: bool
    max_tokens: int | None
    usage_wanted: bool
    prefix: str
    """The last assistant turn, where the answer is to go on from."""
    input_tokens: int


class Said(Struct, frozen=True):
    """One answer: its pieces of text, and what is charged for."""

    pieces: tuple[str, ...]
    finish: str
    input_tokens: int
    output_tokens: int


def asked(number: int, words: int, padding: int) -> str:
    return f"say {number} of {words}{' x' * padding}"


def text_of(number: int, words: int, letter: str = "n") -> tuple[str, ...]:
    return tuple(f"{letter}{number}w{index} " for index in range(words))


def read(body: bytes) -> Question:
    sent: dict[str, Any] = msgspec.json.decode(body)
    messages = sent["messages"]
    prefix = ""
    if messages[-1]["role"] == "assistant":
        prefix = _text(messages[-1]["content"])
    content = next(_text(one["content"]) for one in messages if one["role"] == "user")
    _, number, _, words, *_ = content.split(" ", 4)
    return Question(
        number=int(number),
        words=int(words),
        stream=bool(sent.get("stream")),
        max_tokens=sent.get("max_tokens") or sent.get("max_completion_tokens"),
        usage_wanted=bool((sent.get("stream_options") or {}).get("include_usage")),
        prefix=prefix,
        input_tokens=4 + len(content) // 4,
    )


def say(question: Question, input_lie: int = 1, other_words: bool = False) -> Said:
    whole = text_of(question.number, question.words, "o" if other_words else "n")
    if question.prefix and "".join(whole).startswith(question.prefix):
        rest = "".join(whole)[len(question.prefix) :]
        whole = tuple(f"{word} " for word in rest.split(" ")[:-1])
    elif question.prefix and not question.prefix.endswith(" "):
        whole = (" ", *whole)
    most = question.max_tokens
    pieces = whole if most is None else whole[:most]
    finish = "stop" if len(pieces) == len(whole) else "length"
    return Said(pieces, finish, question.input_tokens * input_lie, len(pieces))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


# OpenAI Chat Completions -------------------------------------------------------------------------


def openai_whole(said: Said, usage: bool) -> bytes:
    text = "".join(said.pieces)
    return (
        '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
        f'"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"{said.finish}"}}]'
        f"{_openai_usage(said) if usage else ''}}}"
    ).encode()


def _openai_usage(said: Said) -> str:
    return (
        f',"usage":{{"prompt_tokens":{said.input_tokens},"completion_tokens":{said.output_tokens},'
        f'"total_tokens":{said.input_tokens + said.output_tokens}}}'
    )


def _chunk(choices: str, rest: str = "") -> bytes:
    head = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
    return f'data: {head}"choices":[{choices}]{rest}}}\n\n'.encode()


def _delta(delta: str, finish: str = "null") -> bytes:
    return _chunk(f'{{"index":0,"delta":{{{delta}}},"finish_reason":{finish}}}')


def openai_frames(said: Said, usage: bool) -> list[bytes]:
    frames = [_delta('"role":"assistant","content":""')]
    frames += [_delta(f'"content":"{piece}"') for piece in said.pieces]
    frames.append(_delta("", f'"{said.finish}"'))
    if usage:
        frames.append(_chunk("", _openai_usage(said)))
    frames.append(b"data: [DONE]\n\n")
    return frames


# Anthropic Messages ------------------------------------------------------------------------------

STOPS = {"stop": "end_turn", "length": "max_tokens"}


def anthropic_whole(said: Said, usage: bool) -> bytes:
    counted = said if usage else Said((), "", 0, 0)
    return (
        '{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text",'
        f'"text":"{"".join(said.pieces)}"}}],"stop_reason":"{STOPS[said.finish]}",'
        f'"stop_sequence":null,"usage":{{"input_tokens":{counted.input_tokens},'
        f'"output_tokens":{counted.output_tokens}}}}}'
    ).encode()


def _event(kind: str, rest: str = "") -> bytes:
    return f'event: {kind}\ndata: {{"type":"{kind}"{rest}}}\n\n'.encode()


def anthropic_frames(said: Said, usage: bool) -> list[bytes]:
    counted = said if usage else Said((), "", 0, 0)
    opening = (
        ',"message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],'
        f'"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":{counted.input_tokens},'
        '"output_tokens":1}}'
    )
    block = ',"index":0,"content_block":{"type":"text","text":""}'
    frames = [_event("message_start", opening), _event("content_block_start", block)]
    for piece in said.pieces:
        delta = f',"index":0,"delta":{{"type":"text_delta","text":"{piece}"}}'
        frames.append(_event("content_block_delta", delta))
    frames.append(_event("content_block_stop", ',"index":0'))
    stop = f'"stop_reason":"{STOPS[said.finish]}","stop_sequence":null'
    tokens = f'"output_tokens":{counted.output_tokens}'
    frames.append(_event("message_delta", f',"delta":{{{stop}}},"usage":{{{tokens}}}'))
    frames.append(_event("message_stop"))
    return frames


WHOLE = {OPENAI: openai_whole, ANTHROPIC: anthropic_whole}
FRAMES = {OPENAI: openai_frames, ANTHROPIC: anthropic_frames}
PING = {OPENAI: b": ping\n\n", ANTHROPIC: _event("ping")}


def error_body(dialect: str, code: str) -> bytes:
    if dialect == ANTHROPIC:
        return (
            f'{{"type":"error","error":{{"type":"{code}","message":"it did not work"}}}}'.encode()
        )
    return f'{{"error":{{"message":"it did not work","type":null,"code":"{code}"}}}}'.encode()


def error_frame(dialect: str, code: str) -> bytes:
    event = b"event: error\n" if dialect == ANTHROPIC else b""
    return event + b"data: " + error_body(dialect, code) + b"\n\n"


# What a caller got -------------------------------------------------------------------------------


class Got(Struct, frozen=True):
    """The frames or the body that reached a caller, read."""

    text: str
    ends: int
    """Terminal frames."""
    errors: int
    after: int
    """Frames after the first terminal or error."""


def got_whole(dialect: str, body: bytes) -> Got:
    answer = msgspec.json.decode(body)
    if dialect == OPENAI:
        return Got(answer["choices"][0]["message"]["content"] or "", 1, 0, 0)
    return Got(_text(answer["content"]), 1, 0, 0)


def got_frames(dialect: str, data: bytes) -> Got:
    text, ends, errors, after = "", 0, 0, 0
    for frame in data.decode().split("\n\n"):
        line = next((one for one in frame.split("\n") if one.startswith("data: ")), "")
        if not line:
            continue
        after += bool(ends or errors)
        if line == "data: [DONE]":
            ends += 1
            continue
        event = msgspec.json.decode(line[6:])
        if "error" in event:
            errors += 1
        elif dialect == OPENAI:
            text += "".join(one["delta"].get("content") or "" for one in event["choices"])
        else:
            text += (event.get("delta") or {}).get("text", "")
            ends += event["type"] == "message_stop"
    return Got(text, ends, errors, after)
