"""The answer for a Chat Completions caller: events to bytes. Knows no endpoint."""

from typing import Any

import msgspec

from fairlead.dialects.dialect import Encoder, Reply
from fairlead.dialects.openai_chat_said import head_of
from fairlead.dialects.openai_chat_wire import DONE, FINISHES, error_object, usage_object
from fairlead.dialects.wire import gone_on_with
from fairlead.types.chat import (
    End,
    Event,
    Passed,
    ReasoningDelta,
    Request,
    Resumed,
    TextDelta,
    ToolCallDelta,
)
from fairlead.types.errors import GatewayError

_ENCODER = msgspec.json.Encoder()
_encode = _ENCODER.encode


def encoder(request: Request, reply: Reply) -> Encoder:
    return _Stream(request, reply) if request.stream else _Whole(reply)


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{reply.id}",
        "object": kind,
        "created": reply.created_s,
        "model": reply.model,
    }


def _error(reply: Reply, error: GatewayError) -> bytes:
    return b"data: " + error_object(error, reply.id, in_stream=True) + b"\n\n"


class _Stream:
    """Chunks differ in their delta alone: the bytes around it are made once."""

    _by: tuple[str, ...] = ()
    """Who went on with the answer."""

    def __init__(self, request: Request, reply: Reply) -> None:
        self._reply = reply
        self._include_usage = request.include_usage
        self._frame(_head(reply, "chat.completion.chunk"))
        self._after = b',"finish_reason":null}]}\n\n'
        self._opened = False

    def _frame(self, head: dict[str, Any]) -> None:
        begun = b"data: " + _encode(head)[:-1]
        self._usage_head = begun + b',"choices":[],"usage":'
        self._before = begun + b',"choices":[{"index":0,"delta":'

    def encode(self, event: Event) -> bytes:
        if isinstance(event, TextDelta):
            return self._chunk(b'{"content":' + _encode(event.text) + b"}")
        if isinstance(event, Passed):
            return event.data
        if isinstance(event, ToolCallDelta):
            return self._chunk(b'{"tool_calls":[' + _tool_call(event) + b"]}")
        if isinstance(event, ReasoningDelta):
            # A signature has no place in this dialect, and is worthless to other vendors.
            if not event.text:
                return b""
            return self._chunk(b'{"reasoning_content":' + _encode(event.text) + b"}")
        if isinstance(event, Resumed):
            self._resume(event)
        return self._end(event) if isinstance(event, End) else b""

    def error(self, error: GatewayError) -> bytes:
        return _error(self._reply, error)

    def _resume(self, resumed: Resumed) -> None:
        self._by += (resumed.by,)
        if resumed.passed:
            # The caller has a head and a role already: the endpoint's own.
            self._frame(_head(self._reply, "chat.completion.chunk") | head_of(resumed.passed))
            self._opened = True

    def _chunk(self, delta: bytes) -> bytes:
        if self._opened:
            return self._before + delta + self._after
        # Not at Begin: an attempt that begins may still fail, and another take its place.
        self._opened = True
        role = self._before + b'{"role":"assistant","content":""}' + self._after
        return role + self._before + delta + self._after

    def _end(self, end: End) -> bytes:
        if end.data:
            return end.data
        finish = b'{},"finish_reason":"' + FINISHES[end.reason].encode() + b'"}]'
        finish += (
            b',"fairlead":' + _encode(gone_on_with(self._by)) if self._by else b""
        ) + b"}\n\n"
        last = self._before + finish
        if not self._opened:
            last = self._before + b'{"role":"assistant","content":""}' + self._after + last
        if self._include_usage and end.usage is not None:
            last += self._usage_head + _encode(usage_object(end.usage)) + b"}\n\n"
        return last + DONE


def _tool_call(event: ToolCallDelta) -> bytes:
    index, arguments = b"%d" % event.index, _encode(event.arguments)
    if not (event.id or event.name):
        return b'{"index":' + index + b',"function":{"arguments":' + arguments + b"}}"
    return b'{"index":%b,"id":%b,"type":"function","function":{"name":%b,"arguments":%b}}' % (
        index,
        _encode(event.id),
        _encode(event.name),
        arguments,
    )


class _Whole:
    """Collects a whole answer."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def encode(self, event: Event) -> bytes:
        if isinstance(event, TextDelta):
            self._texts.append(event.text)
        elif isinstance(event, ReasoningDelta):
            self._thoughts.append(event.text)
        elif isinstance(event, ToolCallDelta):
            call = self._calls.setdefault(event.index, [event.id, event.name])
            call.append(event.arguments)
        elif isinstance(event, Passed):
            return event.data
        elif isinstance(event, End):
            return event.data or self._completion(event)
        return b""

    def error(self, error: GatewayError) -> bytes:
        return _error(self._reply, error)

    def _completion(self, end: End) -> bytes:
        completion = _head(self._reply, "chat.completion")
        choice = {
            "index": 0,
            "message": self._message(),
            "logprobs": None,
            "finish_reason": FINISHES[end.reason],
        }
        completion["choices"] = [choice]
        if end.usage is not None:
            completion["usage"] = usage_object(end.usage)
        return _encode(completion)

    def _message(self) -> dict[str, Any]:
        text = "".join(self._texts)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not self._calls else None,
            "refusal": None,
        }
        if thoughts := "".join(self._thoughts):
            message["reasoning_content"] = thoughts
        if self._calls:
            message["tool_calls"] = [
                {
                    "id": id_,
                    "type": "function",
                    "function": {"name": name, "arguments": "".join(arguments)},
                }
                for _, (id_, name, *arguments) in sorted(self._calls.items())
            ]
        return message
