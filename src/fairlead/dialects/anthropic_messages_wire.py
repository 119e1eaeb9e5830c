"""Anthropic's Messages on the wire: the shapes, and the words that differ from ours.

Only what is read is declared; unknown members are ignored here and travel in the body's own bytes.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from fairlead.dialects.wire import counted
from fairlead.types.chat import FinishReason, Usage

NAME = "anthropic_messages"
COUNT_NAME = "anthropic_count_tokens"
"""A dialect towards callers only: endpoints that count speak ``NAME``."""

PATH = "/messages"
COUNT_PATH = "/messages/count_tokens"
VERSION = "2023-06-01"
VERSIONS = (VERSION, "2026-10-21")
"""API versions spoken here; ``VERSION`` is what a request without the header gets."""

UNSIGNED = "fairlead-unsigned"
"""The signature of thinking that a crossing showed: the model's own dialect has none. Anthropic
refuses thinking it did not sign, so blocks with this mark are taken out before it sees them."""

MIN_BUDGET_TOKENS = 1024
"""The least ``thinking.budget_tokens``: platform.claude.com/docs/en/build-with-claude."""

# What a caller sends.


class Known(Struct, forbid_unknown_fields=True, gc=False):
    """A part of a request. What a crossing leaves behind must be told, so nothing goes unseen."""


class TextBlock(Known, tag_field="type", tag="text"):
    text: str
    cache_control: Any = None
    citations: Any = None


class ImageSource(Struct, gc=False):
    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""


class ImageBlock(Known, tag_field="type", tag="image"):
    source: ImageSource
    cache_control: Any = None
    transformations: Any = None


class ToolUseBlock(Known, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: Raw
    cache_control: Any = None


class ToolResultBlock(Known, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[Raw] | None = None
    is_error: bool | None = None
    cache_control: Any = None


class ThinkingBlock(Known, tag_field="type", tag="thinking"):
    thinking: str
    signature: str = ""


class RedactedBlock(Known, tag_field="type", tag="redacted_thinking"):
    data: str


Block = TextBlock | ImageBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock | RedactedBlock
KINDS: Mapping[str, type[Struct]] = {
    "text": TextBlock,
    "image": ImageBlock,
    "tool_use": ToolUseBlock,
    "tool_result": ToolResultBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedBlock,
}
"""The blocks that other dialects have too. Any other is carried whole, as ``Foreign``."""


class Kind(Struct, gc=False):
    type: str


class KnownBlock(Struct, gc=False):
    """Any block, to tell whether it is thinking that Anthropic signed."""

    type: str
    signature: str = ""


WireRole = Literal["user", "assistant", "system"]


class WireMessage(Known):
    role: WireRole
    content: str | list[Raw]


class WireTool(Known):
    """The caller's own tool when ``type`` is absent or ``custom``, else one of the vendor's."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: Any = None
    allowed_callers: Any = None
    defer_loading: Any = None
    eager_input_streaming: Any = None
    input_examples: Any = None


class WireToolChoice(Known):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class WireThinking(Struct):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class AskedThinking(WireThinking, forbid_unknown_fields=True):
    """The same, when nothing of it may go unseen."""


class WireFormat(Struct):
    type: str
    schema: dict[str, Any] | None = None


class WireOutput(Known):
    effort: str | None = None
    format: WireFormat | None = None


class WireRequest(Struct):
    model: str
    messages: list[WireMessage]
    max_tokens: int | None = None
    system: str | list[Raw] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[WireTool] | None = None
    tool_choice: WireToolChoice | None = None
    thinking: AskedThinking | None = None
    output_config: WireOutput | None = None
    metadata: dict[str, Any] | None = None


# What an endpoint answers.


class AnswerBlock(Struct):
    """Any content block of an answer."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")


class WireAnswer(Struct):
    type: str = ""
    id: str = ""
    model: str = ""
    content: list[AnswerBlock] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Any = None


class MessageStart(Struct):
    message: WireAnswer


class BlockStart(Struct):
    content_block: AnswerBlock
    index: int = 0


class Delta(Struct):
    """Any delta of a content block."""

    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""


class BlockDelta(Struct):
    delta: Delta
    index: int = 0


class AnyDelta(Struct, gc=False):
    """To read one through, whatever is in it."""

    delta: Any = None


class BlockStop(Struct):
    index: int = 0


class Stop(Struct):
    stop_reason: str | None = None
    stop_sequence: str | None = None


class MessageDelta(Struct):
    delta: Stop = msgspec.field(default_factory=Stop)
    usage: Any = None


class WireCount(Struct):
    """What ``/v1/messages/count_tokens`` answers."""

    input_tokens: int


# Words.

FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
}

STOP_REASON: dict[FinishReason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}

ERROR_TYPE: dict[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""By status. Below 500 any other is ``invalid_request_error``, from 500 on ``api_error``."""


def error_type(status: int) -> str:
    return ERROR_TYPE.get(status, "invalid_request_error" if status < 500 else "api_error")


def neutral_usage(wire: Any) -> Usage | None:
    """Read a decoded ``usage``; None when it counts nothing. Never raises: an odd member is not
    said. Anthropic's ``input_tokens`` leaves cached tokens out; ours counts them in."""
    inputs, outputs = counted(wire, "input_tokens"), counted(wire, "output_tokens")
    if inputs is None and outputs is None:
        return None
    read = counted(wire, "cache_read_input_tokens") or 0
    written = counted(wire, "cache_creation_input_tokens") or 0
    return Usage(
        input_tokens=(inputs or 0) + read + written,
        output_tokens=outputs or 0,
        cached_read_tokens=read,
        cached_write_tokens=written,
        cached_write_1h_tokens=counted(wire.get("cache_creation"), "ephemeral_1h_input_tokens")
        or 0,
        reasoning_tokens=counted(wire.get("output_tokens_details"), "thinking_tokens") or 0,
    )


def wire_usage(usage: Usage | None) -> dict[str, Any]:
    """The reverse. Anthropic's clients need numbers: what nobody reported is written as 0."""
    usage = usage or Usage()
    cached = usage.cached_read_tokens + usage.cached_write_tokens
    rendered: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - cached),
        "cache_creation_input_tokens": usage.cached_write_tokens,
        "cache_read_input_tokens": usage.cached_read_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        rendered["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return rendered


def merged_usage(first: Any, later: Any) -> Any:
    """Cumulative, so that of two the later one holds, where it speaks."""
    if not isinstance(first, dict) or not isinstance(later, dict):
        return later or first
    return first | {name: value for name, value in later.items() if value is not None}
