"""Events to an Anthropic answer: a stream of named frames, or one message.

Theory of operation of the stream. Anthropic's answer is a row of blocks, numbered, each started,
filled and stopped before the next one starts. Events of other dialects keep no such order: two
tool calls may arrive in turns. So blocks wait in a queue. The first is open and its frames leave at
once; frames of the others are kept. The open block is stopped as soon as another one waits behind
it and it cannot grow any more:

    block       belongs to it            cannot grow when
    text        TextDelta                anything else has begun
    thinking    ReasoningDelta           its signature came, or anything else has begun
    redacted    ReasoningDelta, one      always
    tool_use    ToolCallDelta, by index  its arguments are a whole JSON object
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from fairlead.dialects.anthropic_messages_wire import (
    STOP_REASON,
    UNSIGNED,
    error_type,
    wire_usage,
)
from fairlead.dialects.dialect import Reply
from fairlead.types.chat import (
    Begin,
    End,
    Event,
    FinishReason,
    Passed,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from fairlead.types.errors import Failure, GatewayError, UpstreamError

ENCODE = msgspec.json.Encoder().encode
OBJECT = msgspec.json.Decoder(dict[str, Raw])

DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
TEXT_DELTA = DELTA + b'{"type":"text_delta","text":'
THINKING_DELTA = DELTA + b'{"type":"thinking_delta","thinking":'
SIGNATURE_DELTA = DELTA + b'{"type":"signature_delta","signature":'
INPUT_DELTA = DELTA + b'{"type":"input_json_delta","partial_json":'
DELTA_END = b"}}\n\n"
BLOCK_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

CUT_SHORT: frozenset[FinishReason] = frozenset({"length", "content_filter", "refusal", "pause"})
"""Reasons after which a tool call may be unfinished without anything being broken."""


def frame(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), ENCODE(data))


def error_body(error: GatewayError, request_id: str | None = None) -> bytes:
    body: dict[str, Any] = {
        "type": "error",
        "error": {"type": error_type(error.status), "message": error.message},
    }
    if request_id is not None:
        body["request_id"] = request_id
    return ENCODE(body)


def count_body(input_tokens: int) -> bytes:
    return ENCODE({"input_tokens": input_tokens})


def message(
    reply: Reply,
    content: list[dict[str, Any]],
    usage: Usage | None,
    stop_reason: str | None = None,
    stop_sequence: str | None = None,
) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": wire_usage(usage),
    }


def stop_reason(reason: FinishReason, has_tools: bool) -> str:
    """Some servers say ``stop`` though they call a tool."""
    return STOP_REASON["tool_calls" if has_tools and reason == "stop" else reason]


class _Block:
    __slots__ = ("arguments", "frames", "grows", "index", "prefix", "signed")

    def __init__(self, index: int, prefix: bytes, arguments: list[str] | None = None) -> None:
        self.index = index
        self.prefix = prefix % index
        self.arguments = arguments
        self.grows = True
        self.signed = False
        self.frames: list[bytes] = []

    def is_done(self) -> bool:
        return self.arguments is None or not self.grows or _is_object("".join(self.arguments))


class StreamEncoder:
    """Raises UpstreamError (STREAM_BROKEN) for a tool call that is no whole JSON object."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._began = False
        self._blocks: list[_Block] = []
        """The open one first, then those that wait."""
        self._last: tuple[type[Event], _Block] | None = None
        self._tools: dict[int, _Block] = {}
        self._count = 0
