"""OpenAI's Chat Completions on the wire: names, and the words that differ from ours.

Knows shapes and tables only; who reads and writes them is in the files beside it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairlead.dialects.wire import counted, for_programs
from fairlead.types.chat import FinishReason, Usage
from fairlead.types.errors import GatewayError

NAME = "openai_chat"
PATH = "/chat/completions"
DONE = b"data: [DONE]\n\n"

# Why an answer ended ----------------------------------------------------------------------------

REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""Wire to ours. A word we do not know is some way to stop: local servers say ``eos``."""

BROKEN = frozenset({"abort", "error", "insufficient_system_resource"})
"""Finish reasons that are failures: vLLM's, OpenRouter's and DeepSeek's words for "cut off"."""

FINISHES: Mapping[FinishReason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    # Anthropic's classifiers stepped in, which is what OpenAI's filter does.
    "refusal": "content_filter",
    # A long server-side turn was suspended. There is no such word here; the text is whole.
    "pause": "stop",
}
"""Ours to wire."""


# Tokens -----------------------------------------------------------------------------------------


def usage_of(value: Any) -> Usage | None:
    """Read a decoded ``usage``; None when it counts nothing. Never raises: an odd member is not
    said.

    Some vendors leave reasoning out of ``completion_tokens`` and count it in ``total_tokens``
    (xAI, Gemini's compatible endpoint); it is output and billed as such, so the total decides.
    """
    if not isinstance(value, dict):
        return None
    said, outputs = counted(value, "prompt_tokens"), counted(value, "completion_tokens") or 0
    if said is None and not outputs:
        return None
    inputs, total = said or 0, counted(value, "total_tokens") or 0
    read = value.get("prompt_tokens_details") or {}
    wrote = value.get("completion_tokens_details") or {}
    cached = counted(read, "cached_tokens") or counted(value, "prompt_cache_hit_tokens") or 0
    return Usage(
        input_tokens=inputs,
        output_tokens=max(outputs, total - inputs),
        cached_read_tokens=min(cached, inputs),
        cached_write_tokens=min(counted(read, "cache_write_tokens") or 0, inputs),
        reasoning_tokens=counted(wrote, "reasoning_tokens") or 0,
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_read_tokens,
            "cache_write_tokens": usage.cached_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


# Errors -----------------------------------------------------------------------------------------

ERROR_TYPES: Mapping[str | int, str] = {
    "budget_exhausted": "insufficient_quota",
    "insufficient_quota": "insufficient_quota",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
"""By code, then by status; any other 4xx is ``invalid_request_error``, 5xx ``server_error``."""


def error_object(error: GatewayError, request_id: str, in_stream: bool = False) -> bytes:
    """``{"error": {...}}``, in a response's body and in a stream."""
    usual = "invalid_request_error" if error.status < 500 else "server_error"
    told: dict[str, Any] = {
        "message": error.message,
        "type": ERROR_TYPES.get(error.code) or ERROR_TYPES.get(error.status, usual),
        "param": error.param,
        "request_id": request_id,
        **for_programs(error, in_stream),
    }
    return msgspec.json.encode({"error": told})
