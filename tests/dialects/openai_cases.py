"""Golden files of this dialect, and the few values that its tests share."""

from collections.abc import Sequence
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
REPLY = Reply("r1", 1_790_000_000, "small-model")


def golden(kind: str) -> list[str]:
    return sorted(path.name for path in GOLDEN.iterdir() if path.name.startswith(kind))


def wire(case: str) -> bytes:
    """A stream, or a JSON document without the file's own last line end."""
    stream = GOLDEN / case / "wire.sse"
    return stream.read_bytes() if stream.exists() else (GOLDEN / case / "wire.json").read_bytes()


def neutral(case: str) -> Any:
    return msgspec.json.decode((GOLDEN / case / "neutral.json").read_bytes())


def events_of(case: str) -> list[Event]:
    return [msgspec.convert(value, EVENTS[kind]) for kind, value in neutral(case)["events"]]


def request_as_data(request: Request) -> Any:
    """What a request says, without the bytes it said it in and without what it leaves unsaid."""
    silent = msgspec.to_builtins(Request("", "", b""))
    said = msgspec.to_builtins(request)
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
    answer: bytes, *, request: Request, relay: bool = False, step: int = 0
) -> Sequence[Event]:
    """Feed an answer in pieces of ``step`` bytes (0: whole) and close."""
    decoder = OPENAI_CHAT.decoder(request, relay)
    events: list[Event] = []
    for at in range(0, len(answer), step or len(answer) or 1):
        events += decoder.feed(answer[at : at + (step or len(answer))])
    return [*events, *decoder.close()]
