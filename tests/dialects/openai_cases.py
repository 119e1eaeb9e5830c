"""What the tests of this dialect share: pieces of its answers, and a request."""

from collections.abc import Iterable
from typing import Any

import msgspec

from dialects import cases
from dialects.cases import PLAIN, Golden, fed
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.types.catalog import Capability, Endpoint
from fairlead.types.chat import (
    Begin,
    Event,
    Request,
)

GOLDEN = Golden("openai_chat")
STREAM = Request("openai_chat", "m", b"{}", stream=True, include_usage=True)
WHOLE = Request("openai_chat", "m", b"{}")


def endpoint(*can: Capability, **facts: Any) -> Endpoint:
    return cases.endpoint("openai_chat", can or PLAIN, **facts)


def asked(**fields: Any) -> Request:
    return Request(**{"dialect": "openai_chat", "model": "m", "body": b"{}", **fields})


def decoded(
    answer: bytes, *, request: Request, relay: bool = False, cuts: Iterable[int] = ()
) -> list[Event]:
    """Feed an answer, cut at these places (modulo its length), and close."""
    return list(fed(OPENAI_CHAT.decoder(request, relay), answer, cuts))


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def frame(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def chunk(delta: Any, finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    """One event of a stream, with nothing in it that is not needed."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return frame({"id": "c", "model": "u", "choices": [choice], **fields})


def usage_chunk(usage: Any = USAGE) -> bytes:
    return frame({"id": "c", "model": "u", "choices": [], "usage": usage})


def told(*pieces: bytes, request: Request) -> list[Event]:
    """What an answer says after its Begin."""
    events = decoded(b"".join(pieces), request=request)
    assert isinstance(events[0], Begin)
    return events[1:]


def calls(*pieces: Any) -> bytes:
    return chunk({"tool_calls": pieces})


def completion(message: Any, finish: str | None = "stop", **fields: Any) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return msgspec.json.encode({"id": "c", "model": "u", "choices": [choice], **fields})
