"""A Chat Completions stream that was passed on and broke: what its caller has seen of it. Read only
then, so every member may be looked at."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from fairlead.dialects.dialect import Said
from fairlead.dialects.sse import Frames
from fairlead.dialects.wire import UNDECODABLE
from fairlead.types.errors import UpstreamError

HEAD = ("id", "object", "created", "model")
"""What all chunks of one answer have in common."""
TEXT = frozenset({"role", "content", "token_id", "token_ids"})
"""All that a delta of a plain text holds; Together and vLLM number its tokens. Whatever else says
something is more than text."""


def said(passed: bytes) -> Said:
    """Plain is one choice that is nothing but text, and has not ended."""
    try:
        return Said("".join(_texts(passed)))
    except (*UNDECODABLE, _NotPlainError, UpstreamError):
        return Said(plain=False)


def head_of(passed: bytes) -> dict[str, Any]:
    """The members that go on every chunk, as the caller has seen them."""
    for chunk in _chunks(passed):
        if chunk.get("choices"):
            return {name: chunk[name] for name in HEAD if name in chunk}
    return {}


class _NotPlainError(Exception):
    pass


def _chunks(passed: bytes) -> Iterator[dict[str, Any]]:
    frames = Frames()
    for frame in (*frames.feed(passed), *frames.close()):
        if frame.data:
            chunk = msgspec.json.decode(frame.data)
            if not isinstance(chunk, dict):
                raise _NotPlainError
            yield chunk


def _texts(passed: bytes) -> Iterator[str]:
    for chunk in _chunks(passed):
        for choice in chunk.get("choices") or ():
            yield _text(choice)


def _text(choice: Any) -> str:
    if not isinstance(choice, Mapping) or choice.get("index"):
        raise _NotPlainError
    if choice.get("finish_reason") or choice.get("logprobs") or choice.get("message"):
        raise _NotPlainError
    delta = choice.get("delta") or {}
    if any(value for name, value in delta.items() if name not in TEXT):
        raise _NotPlainError
    content = delta.get("content") or ""
    if not isinstance(content, str):
        raise _NotPlainError
    return content
