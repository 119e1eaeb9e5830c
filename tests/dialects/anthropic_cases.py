"""What the tests of this dialect share: among it a checker of a stream's form."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dialects import cases
from dialects.cases import PLAIN, Golden, fed
from fairlead.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from fairlead.dialects.sse import Frames
from fairlead.types.catalog import Capability, Endpoint
from fairlead.types.chat import (
    NOTHING,
    Event,
    Request,
)
from fairlead.types.errors import UpstreamError

GOLDEN = Golden("anthropic_messages")
JSON = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
NEWER = {"anthropic-version": "2026-10-21"}
CALL = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "1", "content": "1"}
SAID = {"type": "text", "text": "Yes."}
USER = {"role": "user", "content": "Hi"}


def endpoint(*can: Capability, **facts: Any) -> Endpoint:
    return cases.endpoint("anthropic_messages", can or PLAIN, **facts)


def asked(**fields: Any) -> Request:
    return Request(**{"dialect": "anthropic_messages", "model": "m", "body": b"{}", **fields})


def turn(role: str, *blocks: Any) -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def own(body: bytes, headers: Mapping[str, str] = NOTHING) -> Request:
    return ANTHROPIC_MESSAGES.parse_request(body, headers)


WHOLE, STREAM = asked(), asked(stream=True)


def decoded(
    answer: bytes, *, request: Request, relay: bool = False, cuts: Iterable[int] = ()
) -> list[Event]:
    """Feed an answer, cut at these places (modulo its length), and close."""
    events, error = decoded_until_error(answer, request=request, relay=relay, cuts=cuts)
    if error is not None:
        raise error
    return events


def decoded_until_error(
    answer: bytes, *, request: Request, relay: bool = False, cuts: Iterable[int] = ()
) -> tuple[list[Event], UpstreamError | None]:
    """The same, with what came before the error."""
    events: list[Event] = []
    try:
        for event in fed(ANTHROPIC_MESSAGES.decoder(request, relay), answer, cuts):
            events.append(event)
    except UpstreamError as error:
        return events, error
    return events, None


def frame(name: str, **fields: Any) -> bytes:
    data = msgspec.json.encode({"type": name, **fields})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


# Pieces of answers ------------------------------------------------------------------------------

USAGE = {"input_tokens": 9, "output_tokens": 1}
PING = frame("ping")


def started(usage: Any = USAGE) -> bytes:
    message = {"id": "msg_9", "type": "message", "model": "claude", "content": [], "usage": usage}
    return frame("message_start", message=message)


def opened(index: int = 0, **block: Any) -> bytes:
    return frame("content_block_start", index=index, content_block=block)


def delta(kind: str = "text_delta", index: int = 0, **said: Any) -> bytes:
    return frame("content_block_delta", index=index, delta={"type": kind, **said})


def stopped(reason: str | None = "end_turn", **usage: Any) -> bytes:
    return frame(
        "message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage or None
    )


START, TEXT, HI = started(), opened(type="text", text=""), delta(text="Hi")
CLOSE, STOP, LAST = frame("content_block_stop", index=0), stopped(), frame("message_stop")
ERROR = {"type": "overloaded_error", "message": "Overloaded"}


def answer(content: Any = (), reason: str | None = "end_turn", **more: Any) -> bytes:
    body = {"id": "msg_9", "type": "message", "model": "claude", "content": content}
    return msgspec.json.encode({**body, "stop_reason": reason, "usage": USAGE, **more})


# The form of a stream ----------------------------------------------------------------------------

DELTAS_OF = {
    "text": ["text_delta"],
    "thinking": ["thinking_delta", "signature_delta"],
    "redacted_thinking": [],
    "tool_use": ["input_json_delta"],
}


def message_of(stream: bytes) -> Any:
    """Read a stream as a strict client would: every block is started, filled and stopped before
    the next one, numbered without a gap, and the message ends once. Returns the message."""
    told = [msgspec.json.decode(frame.data) for frame in _frames(stream)]
    first, *blocks, stop, last = [event for event in told if event["type"] != "ping"]
    assert (first["type"], stop["type"], last) == (
        "message_start",
        "message_delta",
        {"type": "message_stop"},
    )
    message = first["message"]
    assert (message["content"], message["stop_reason"]) == ([], None)
    message |= stop["delta"]
    message["usage"] |= stop["usage"]
    open_block = None
    for event in blocks:
        if event["type"] == "content_block_start":
            assert open_block is None
            assert event["index"] == len(message["content"])
            open_block = {**event["content_block"], "pieces": []}
            message["content"].append(open_block)
            continue
        assert event["index"] == len(message["content"]) - 1
        assert open_block is not None
        if event["type"] == "content_block_stop":
            _close(open_block)
            open_block = None
        else:
            assert event["type"] == "content_block_delta"
            _fill(open_block, event["delta"])
    assert open_block is None
    return message


def _frames(stream: bytes) -> Any:
    frames = Frames()
    whole = frames.feed(stream)
    assert not frames.pending
    for frame in whole:
        assert frame.event.decode() == msgspec.json.decode(frame.data)["type"]
    return whole


def _fill(block: Any, delta: Any) -> None:
    assert delta["type"] in DELTAS_OF[block["type"]]
    if delta["type"] == "input_json_delta":
        block["pieces"].append(delta["partial_json"])
        return
    assert not block.get("signature"), "nothing follows a signature"
    member = delta["type"].removesuffix("_delta")
    assert delta[member]
    block[member] += delta[member]


def _close(block: Any) -> None:
    arguments = "".join(block.pop("pieces"))
    if block["type"] == "thinking":
        assert block["signature"], "clients send back what is signed only"
    if arguments:
        try:
            block["input"] = msgspec.json.decode(arguments)
        except msgspec.DecodeError:
            block["input"] = arguments
