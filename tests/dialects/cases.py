"""What the tests of every dialect share: golden files, an endpoint, an answer cut anywhere."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from fairlead.dialects.dialect import Decoder, Reply
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

REPLY = Reply("r1", 1_790_000_000, "small-model")
PLAIN: tuple[Capability, ...] = ("system", "stream", "sampling", "tools")
EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Begin, End, Passed, ReasoningDelta, TextDelta, ToolCallDelta)
}


class Golden:
    """A dialect's golden files: what stands on the wire, and the same in the words of none."""

    def __init__(self, dialect: str) -> None:
        self._folder = Path(__file__).parents[1] / "golden" / dialect

    def cases(self, kind: str = "") -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if path.name.startswith(kind))

    def wire(self, case: str) -> bytes:
        """A stream, or a JSON document."""
        [path] = (self._folder / case).glob("wire.*")
        return path.read_bytes()

    def neutral(self, case: str) -> Any:
        return msgspec.json.decode((self._folder / case / "neutral.json").read_bytes())

    def events(self, case: str) -> list[Event]:
        unsaid = {"index": 0, "usage": None}
        return [
            msgspec.convert({**unsaid, **value}, EVENTS[kind])
            for kind, value in self.neutral(case)["events"]
        ]


def request_as_data(request: Request) -> Any:
    """What a request says, without the bytes it said it in and without what it leaves unsaid."""
    silent, said = (
        msgspec.json.decode(msgspec.json.encode(told)) for told in (Request("", "", b""), request)
    )
    return {name: said[name] for name in said if said[name] != silent[name] and name != "body"}


def endpoint(
    dialect: str, can: Iterable[Capability], model: str = "upstream-model", **facts: Any
) -> Endpoint:
    return Endpoint(
        name=f"vendor/{model}",
        provider="vendor",
        model=Model(model, can=frozenset(can), **facts),
        upstream_model=model,
        dialect=dialect,
        base_url="http://127.0.0.1/v1",
    )


def fed(decoder: Decoder, answer: bytes, cuts: Iterable[int] = ()) -> Iterator[Event]:
    """The events of an answer, cut at these places (modulo its length), until it is closed."""
    edges = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    for start, end in pairwise(edges):
        yield from decoder.feed(answer[start:end])
    yield from decoder.close()
