"""Answers whose price is known to the upstream that gives them: usage of every kind, in both
dialects, and its cost in whole nano-dollars by the rule in docs/budgets-and-keys.md.

Shares nothing with the gateway: prices are read from the configuration's own words.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from servers.scripted import Script, Step, reply, stream

PRICE = {
    "input": "$0.01",
    "cached_read": "$0.001",
    "cached_write": "$0.0125",
    "output": "$2",
    "reasoning": "$3",
}
"""By million tokens. Output is so much dearer than a short prompt that a reserve tells how long an
answer the request allowed."""
PATIENT = {"max_wait": "10s"}
"""For ``server.limits``: nobody is turned away for want of time, for these proofs are of money."""
PICO_USD = {kind: int(Decimal(price[1:]) * 10**6) for kind, price in PRICE.items()}
"""By token."""
WORST_OUTPUT_NANO_USD = max(PICO_USD["output"], PICO_USD["reasoning"]) // 1000

BEFORE = {"openai_chat": 1, "anthropic_messages": 2}
"""Frames of a stream before its first word."""


@dataclass(frozen=True)
class Bill:
    """Tokens of one answer; no token is in two of them."""

    plain: int = 0
    cached_read: int = 0
    cached_write: int = 0
    text: int = 0
    reasoning: int = 0

    @property
    def inputs(self) -> int:
        return self.plain + self.cached_read + self.cached_write

    @property
    def outputs(self) -> int:
        return self.text + self.reasoning

    @property
    def tokens(self) -> tuple[int, int, int, int, int]:
        """As the ledger has them."""
        cached = self.cached_read, self.cached_write
        return (self.inputs, self.outputs, *cached, self.reasoning)

    @property
    def nano_usd(self) -> int:
        """Tokens times prices, rounded up once."""
        pico_usd = (
            self.plain * PICO_USD["input"]
            + self.cached_read * PICO_USD["cached_read"]
            + self.cached_write * PICO_USD["cached_write"]
            + self.text * PICO_USD["output"]
            + self.reasoning * PICO_USD["reasoning"]
        )
        return -(-pico_usd // 1000)

    def openai(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.inputs,
            "completion_tokens": self.outputs,
            "total_tokens": self.inputs + self.outputs,
            "prompt_tokens_details": {
                "cached_tokens": self.cached_read,
                "cache_write_tokens": self.cached_write,
            },
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }

    def anthropic(self) -> dict[str, Any]:
        return {
            "input_tokens": self.plain,
            "cache_read_input_tokens": self.cached_read,
            "cache_creation_input_tokens": self.cached_write,
            "output_tokens": self.outputs,
            "output_tokens_details": {"thinking_tokens": self.reasoning},
        }


def any_bill(dice: Random, most_output: int) -> Bill:
    """Some of every kind, and sometimes none of it."""
    reasoning = dice.choice((0, dice.randint(0, most_output // 2)))
    return Bill(
        plain=dice.randint(0, 20),
        cached_read=dice.choice((0, dice.randint(1, 10))),
        cached_write=dice.choice((0, dice.randint(1, 10))),
        text=dice.randint(1, most_output - reasoning),
        reasoning=reasoning,
    )


def answer(
    dialect: str, streams: bool, words: Sequence[str], bill: Bill, pauses: Sequence[Step] = ()
) -> Script:
    """A proper answer of so many words; ``pauses`` are waited for between them, in turn."""
    if not streams:
        return (*pauses, *whole(dialect, words, bill))
    steps: list[Step] = []
    waits = list(pauses)
    for frame in frames(dialect, words, bill):
        steps.append(frame)
        if waits:
            steps.append(waits.pop(0))
    return stream(*steps)


def whole(dialect: str, words: Sequence[str], bill: Bill) -> tuple[Step, ...]:
    made = _openai_whole if dialect == "openai_chat" else _anthropic_whole
    return reply(made("".join(words), bill))


def frames(dialect: str, words: Sequence[str], bill: Bill) -> list[bytes]:
    """Of a stream: ``BEFORE`` the first word, one a word, and then the end, with the usage."""
    made = _openai_frames if dialect == "openai_chat" else _anthropic_frames
    return made(words, bill)


def _openai_whole(text: str, bill: Bill) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return _openai("chat.completion", [choice], bill.openai())


def _openai_frames(words: Sequence[str], bill: Bill) -> list[bytes]:
    def frame(choices: Sequence[Mapping[str, Any]], usage: object = None) -> bytes:
        return b"data: " + _json(_openai("chat.completion.chunk", choices, usage)) + b"\n\n"

    def choice(delta: Mapping[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": finish}]

    return [
        frame(choice({"role": "assistant", "content": ""})),
        *(frame(choice({"content": word})) for word in words),
        frame(choice({}, "stop")),
        frame([], bill.openai()),
        b"data: [DONE]\n\n",
    ]


def _openai(kind: str, choices: object, usage: object) -> dict[str, Any]:
    about = {"id": "chatcmpl-1", "object": kind, "created": 1_760_000_000, "model": "m"}
    return {**about, "choices": choices, "usage": usage}


def _anthropic_whole(text: str, bill: Bill) -> dict[str, Any]:
    content = [{"type": "text", "text": text}] if text else []
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": bill.anthropic(),
    }


def _anthropic_frames(words: Sequence[str], bill: Bill) -> list[bytes]:
    def frame(kind: str, **fields: object) -> bytes:
        return f"event: {kind}\ndata: ".encode() + _json({"type": kind, **fields}) + b"\n\n"

    opening = _anthropic_whole("", bill) | {"stop_reason": None}
    opening["usage"] = bill.anthropic() | {"output_tokens": 1, "output_tokens_details": None}
    deltas = [{"type": "text_delta", "text": word} for word in words]
    return [
        frame("message_start", message=opening),
        frame("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(frame("content_block_delta", index=0, delta=delta) for delta in deltas),
        frame("content_block_stop", index=0),
        frame(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage=bill.anthropic(),
        ),
        frame("message_stop"),
    ]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
