"""A request with the beginning of its answer, for an endpoint that goes on with it. Both dialects
of conversations write that alike."""

from typing import Any

import msgspec
from msgspec.structs import replace

from fairlead.dialects import wire
from fairlead.types.chat import Message, Request, Text

_MESSAGES = msgspec.json.Decoder(list[msgspec.Raw])


def prefilled(request: Request, text: str) -> Request:
    """``text`` becomes the last turn, the assistant's, in its values and in its bytes."""
    messages: list[Any] = list(_MESSAGES.decode(wire.members(request.body)["messages"]))
    messages.append({"role": "assistant", "content": text})
    return replace(
        request,
        body=wire.splice(request.body, {"messages": messages}),
        messages=(*request.messages, Message("assistant", (Text(text),))),
    )
