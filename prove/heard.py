"""What a caller's socket really got: a client of raw bytes, and a strict reading of its answer.

Nothing here is shared with the gateway: not its client, not its decoders.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from prove.vendors import TOOL_CALLS

PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "embeddings": "/v1/embeddings",
}
MAX_TOKENS = 100
HANGS_S = 20.0
"""So long a caller waits in any case, to tell a hang from a late answer."""


@dataclass(frozen=True)
class Raw:
    """An answer as it came. ``complete``: the transfer ended as HTTP says that it must."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool
    in_time: bool
    seconds: float
    all: bytes = field(repr=False, default=b"")

    @property
    def request_id(self) -> str:
        return self.headers.get("x-fairlead-request-id", "")


async def ask(
    address: str,
    caller: str,
    model: str,
    prompt: str,
    key: str,
    form: str,
    within_s: float,
    begun: Callable[[], None],
    **fields: Any,
) -> Raw:
    """One request on a connection of its own. ``form``: stream, whole, and -tools. ``begun`` is
    told when something of a body has come; ``fields`` go with the request."""
    host, _, port = address.removeprefix("http://").partition(":")
    body = json.dumps({**_request(caller, model, prompt, form), **fields}).encode()
    auth = f"authorization: Bearer {key}" if caller != "anthropic" else f"x-api-key: {key}"
    head = (
        f"POST {PATHS[caller]} HTTP/1.1\r\nhost: {host}:{port}\r\n{auth}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    began_s = monotonic()
    data, in_time = bytearray(), False
    reader, writer = await asyncio.open_connection(host, int(port))
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(within_s):
            writer.write(head.encode() + body)
            while not _is_over(data) and (piece := await reader.read(1 << 16)):
                data += piece
                if data.partition(b"\r\n\r\n")[2]:
                    begun()
            in_time = True
    seconds = monotonic() - began_s
    writer.close()
    return received(bytes(data), in_time or seconds < within_s, seconds)


def _request(caller: str, model: str, prompt: str, form: str) -> dict[str, Any]:
    if caller == "embeddings":
        return {"model": model, "input": ["Hi", prompt]}
    messages = [{"role": "user", "content": prompt}]
    asked: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS}
    if form.startswith("stream"):
        asked["stream"] = True
    if form.endswith("tools"):
        schema = {"type": "object", "properties": {}}
        for name, _ in TOOL_CALLS:
            tool: dict[str, Any] = {"name": name, "description": name, "input_schema": schema}
            if caller == "openai":
                function = {"name": name, "description": name, "parameters": schema}
                tool = {"type": "function", "function": function}
            asked.setdefault("tools", []).append(tool)
    return asked


# HTTP --------------------------------------------------------------------------------------------


def _is_over(data: bytearray) -> bool:
    """Whether the transfer is complete; a connection kept open tells it no other way."""
    top, found, rest = bytes(data).partition(b"\r\n\r\n")
    if not found:
        return False
    fields = _fields(top)
    if "content-length" in fields:
        return len(rest) >= int(fields["content-length"])
    return rest.endswith(b"\r\n0\r\n\r\n") or rest == b"0\r\n\r\n"


def received(data: bytes, in_time: bool, seconds: float) -> Raw:
    top, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return Raw(0, {}, b"", False, in_time, seconds, data)
    fields = _fields(top)
    status = int(top.split(b" ", 2)[1])
    if "content-length" in fields:
        body, complete = rest, len(rest) == int(fields["content-length"])
    else:
        body, complete = _dechunked(rest)
    return Raw(status, fields, body, complete, in_time, seconds, data)


def _fields(top: bytes) -> dict[str, str]:
    lines = top.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}


def _dechunked(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        if not re.fullmatch(rb"[0-9a-f]+", size, re.IGNORECASE):
            return body, False
        length = int(size, 16)
        if length == 0:
            return body, data == b"\r\n"
        body += data[:length]
        data = data[length + 2 :]
    return body, False


# Dialects ----------------------------------------------------------------------------------------


@dataclass
class Heard:
    """What the caller understands of an answer."""

    status: int = 0
    text: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    """Name and arguments, by their number."""
    finish: str = ""
    ends: int = 0
    """Terminals: ``[DONE]``, ``message_stop``, or a whole body that is an answer."""
    error_code: str = ""
    error_type: str = ""
    delivered: int | None = None
    """How many characters the error says that there were."""
    errors: int = 0
    after: int = 0
    """Events after an error or a terminal."""
    odd: str = ""
    """What no client of this dialect could read."""

    @property
    def tool_calls(self) -> tuple[tuple[str, Any], ...]:
        """Arguments that are no JSON as they are."""
        return tuple((name, _decoded(text)) for _, (name, text) in sorted(self.calls.items()))


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def heard(caller: str, raw: Raw) -> Heard:
    found = Heard(raw.status)
    try:
        text = raw.body.decode()
        if raw.headers.get("content-type", "").startswith("text/event-stream"):
            for event, data in _events(text):
                (_openai_event if caller == "openai" else _anthropic_event)(found, event, data)
        elif raw.body:
            BODIES[caller](found, json.loads(text))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        found.odd = f"{type(error).__name__}: {error}"
    return found


def _events(text: str) -> Iterator[tuple[str, str]]:
    *frames, rest = text.replace("\r\n", "\n").split("\n\n")
    if rest.strip():
        raise ValueError(f"an event that does not end: {rest[:40]!r}")
    for frame in frames:
        fields = dict(
            line.split(": ", 1) for line in frame.split("\n") if line[:1] not in ("", ":")
        )
        if "data" in fields:
            yield fields.get("event", ""), fields["data"]


def _fault(found: Heard, value: Mapping[str, Any]) -> None:
    error = value["error"]
    found.errors += 1
    found.error_code = error.get("code") or ""
    found.error_type = error["type"]
    found.delivered = error.get("delivered_chars")


def _openai_event(found: Heard, _: str, data: str) -> None:
    found.after += bool(found.ends or found.errors)
    if data == "[DONE]":
        found.ends += 1
        return
    value = json.loads(data)
    if "error" in value:
        return _fault(found, value)
    for choice in value["choices"]:
        delta = choice["delta"]
        found.text += delta.get("content") or ""
        for call in delta.get("tool_calls") or ():
            known = found.calls.setdefault(call["index"], ["", ""])
            known[0] += call["function"].get("name") or ""
            known[1] += call["function"].get("arguments") or ""
        found.finish = choice.get("finish_reason") or found.finish


def _anthropic_event(found: Heard, event: str, data: str) -> None:
    found.after += bool(found.ends or found.errors)
    value = json.loads(data)
    if value["type"] != event:
        raise ValueError(f"event {event!r} says that it is {value['type']!r}")
    if event == "error":
        _fault(found, value)
    elif event == "message_stop":
        found.ends += 1
    elif event == "message_delta":
        found.finish = value["delta"].get("stop_reason") or found.finish
    elif event == "content_block_start" and value["content_block"]["type"] == "tool_use":
        found.calls[value["index"]] = [value["content_block"]["name"], ""]
    elif event == "content_block_delta":
        delta = value["delta"]
        if delta["type"] == "input_json_delta":
            found.calls[value["index"]][1] += delta["partial_json"]
        else:
            found.text += delta["text"]


def _openai_body(found: Heard, value: Mapping[str, Any]) -> None:
    if "error" in value:
        return _fault(found, value)
    (choice,) = value["choices"]
    found.text = choice["message"]["content"] or ""
    for number, call in enumerate(choice["message"].get("tool_calls") or ()):
        found.calls[number] = [call["function"]["name"], call["function"]["arguments"]]
    found.finish = choice["finish_reason"]
    found.ends = 1


def _anthropic_body(found: Heard, value: Mapping[str, Any]) -> None:
    if value["type"] == "error":
        return _fault(found, value)
    for number, block in enumerate(value["content"]):
        if block["type"] == "tool_use":
            found.calls[number] = [block["name"], json.dumps(block["input"])]
        else:
            found.text += block["text"]
    found.finish = value["stop_reason"]
    found.ends = 1


def _vectors(found: Heard, value: Mapping[str, Any]) -> None:
    """Shown as a text."""
    if "error" in value:
        return _fault(found, value)
    found.text = json.dumps([each["embedding"] for each in value["data"]])
    found.ends = 1


BODIES = {"openai": _openai_body, "anthropic": _anthropic_body, "embeddings": _vectors}
