"""An Anthropic request for an Anthropic endpoint: its own bytes, changed only where they must be.
Knows nothing of how the endpoint answers."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from fairlead.dialects import wire
from fairlead.dialects.anthropic_messages_wire import (
    COUNT_PATH,
    MIN_BUDGET_TOKENS,
    PATH,
    UNSIGNED,
    VERSION,
    KnownBlock,
    WireThinking,
)
from fairlead.dialects.dialect import Rendered
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import Message, Reasoning, Request

_ENCODER = msgspec.json.Encoder()
_MESSAGES = msgspec.json.Decoder(list[dict[str, Raw]])
_BLOCKS = msgspec.json.Decoder(str | list[Raw])
_BLOCK = msgspec.json.Decoder(KnownBlock)
_THINKING = msgspec.json.Decoder(WireThinking | None)


def render_own(request: Request, endpoint: Endpoint, cap: int | None) -> Rendered:
    """Change the model's name, the cap, our own metadata and thoughts nobody signed; no more."""
    counts, asked = request.operation == "count", request.max_output_tokens
    if counts or (cap is not None and asked is not None and asked <= cap):
        cap = None
    renamed = request.model != endpoint.upstream_model
    # Claude refuses thoughts without its signature: another model had them. Others take them.
    unsigned = not endpoint.model.open_weights and _has_unsigned(request.messages)
    body = request.body
    dropped: tuple[str, ...] = ()
    if renamed or unsigned or cap is not None or request.narrowing != wire.NOT_NARROWED:
        whole: dict[str, Any] = dict(wire.members(body))
        if renamed:
            whole["model"] = endpoint.upstream_model
        if request.narrowing != wire.NOT_NARROWED:
            _leave_out_ours(whole)
        if cap is not None:
            dropped += _cap(whole, cap)
        if unsigned:
            dropped += _leave_out_unsigned(whole, request.messages[-1].role == "tool")
        body = _ENCODER.encode(whole)
    return Rendered(COUNT_PATH if counts else PATH, body, _headers(request), dropped)


def _headers(request: Request) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "anthropic-version": VERSION,
        **request.headers,
    }


def _leave_out_ours(whole: dict[str, Any]) -> None:
    if "metadata" in whole:
        _, metadata = wire.narrowing(msgspec.json.decode(whole["metadata"]) or {})
        whole["metadata"] = metadata
        if not metadata:
            del whole["metadata"]


def _cap(whole: dict[str, Any], cap: int) -> tuple[str, ...]:
    """A budget to think must stay below the cap; where there is no room for one, no thinking.

    Returns what that leaves behind."""
    whole["max_tokens"] = cap
    said = _THINKING.decode(whole.get("thinking", b"null"))
    if said is None or said.budget_tokens is None or said.budget_tokens < cap:
        return ()
    if cap >= 2 * MIN_BUDGET_TOKENS:
        changed = {"budget_tokens": cap // 2}
        whole["thinking"] = Raw(wire.splice(bytes(whole["thinking"]), changed))
    else:
        del whole["thinking"]
    return ("thinking.budget_tokens",)


def _has_unsigned(messages: Iterable[Message]) -> bool:
    return any(
        type(part) is Reasoning and not part.signature
        for message in messages
        for part in message.parts
    )


def _leave_out_unsigned(whole: dict[str, Any], mid_turn: bool) -> tuple[str, ...]:
    """A turn that called tools must begin with its thoughts if it is to go on thinking within a
    budget, so without them it does not (platform.claude.com/docs/en/build-with-claude).

    Returns what is left behind."""
    whole["messages"] = list(_signed(_MESSAGES.decode(whole["messages"])))
    said = _THINKING.decode(whole.get("thinking", b"null"))
    if not mid_turn or said is None or said.type != "enabled":
        return ("reasoning",)
    del whole["thinking"]
    return ("reasoning", "thinking")


def _signed(messages: Iterable[dict[str, Raw]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = _BLOCKS.decode(message["content"])
        kept = content if isinstance(content, str) else [b for b in content if _is_signed(b)]
        if len(kept) == len(content):
            yield message
        elif kept:
            yield {**message, "content": kept}


def _is_signed(raw: Raw) -> bool:
    block = _BLOCK.decode(raw)
    return block.type != "thinking" or block.signature not in ("", UNSIGNED)
