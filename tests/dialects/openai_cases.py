"""Golden files of this dialect, and the few values that its tests share."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from fairlead.dialects.dialect import Reply
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.types.catalog import Capability, Endpoint, Model
from fairlead.types.chat import (
    Begin,
    End,
    Event,
    Passed,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "openai_chat"
EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Begin, End, Passed, ReasoningDelta, TextDelta, ToolCallDelta)
}
STREAM = Request("openai_chat", "m", b"{}", stream=True, include_usage=True)
WHOLE = Request("openai_chat", "m", b"{}")
REPLY = Reply("r1", 1_790_000_000, "small-model")


def golden(kind: str) -> list[str]:
    return sorted(path.name for path in GOLDEN.iterdir() if path.name.startswith(kind))


def wire(case: str) -> bytes:
    """A stream, or a JSON document."""
    stream = GOLDEN / case / "wire.sse"
    return stream.read_bytes() if stream.exists() else (GOLDEN / case / "wire.json").read_bytes()


def neutral(case: str) -> Any:
    return msgspec.json.decode((GOLDEN / case / "neutral.json").read_bytes())


def events_of(case: str) -> list[Event]:
    unsaid = {"index": 0, "usage": None}
    return [
        msgspec.convert({**unsaid, **value}, EVENTS[kind])
        for kind, value in neutral(case)["events"]
    ]


def request_as_data(request: Request) -> Any:
    """What a request says, without the bytes it said it in and without what it leaves unsaid."""
    silent, said = (
        msgspec.json.decode(msgspec.json.encode(told)) for told in (Request("", "", b""), request)
    )
    return {name: said[name] for name in said if said[name] != silent[name] and name != "body"}


def endpoint(*can: Capability, model: str = "upstream-model") -> Endpoint:
    return Endpoint(
        name=f"vendor/{model}",
        provider="vendor",
        model=Model(model, can=frozenset(can or ("system", "stream", "sampling", "tools"))),
        upstream_model=model,
        dialect="openai_chat",
        base_url="http://127.0.0.1/v1",
    )


def asked(**fields: Any) -> Request:
    return Request(**{"dialect": "openai_chat", "model": "m", "body": b"{}", **fields})


def decoded(
    answer: bytes, *, request: Request, relay: bool = False, cuts: Iterable[int] = ()
) -> list[Event]:
    """Feed an answer, cut at these places (modulo its length), and close."""
    decoder = OPENAI_CHAT.decoder(request, relay)
    edges = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    events: list[Event] = []
    for start, end in pairwise(edges):
        events += decoder.feed(answer[start:end])
    return [*events, *decoder.close()]


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
