"""Pieces of tool calls as Chat Completions endpoints stream them, put in order.

Compatible servers number, name and repeat them in many ways. What comes out is numbered densely and
named once; the arguments are never repaired.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from fairlead.types.chat import ToolCallDelta
from fairlead.types.errors import Failure, UpstreamError


class WireFunctionDelta(Struct, gc=False):
    name: str | None = None
    arguments: Any = None
    """A string; some local servers send the object itself."""


class WireCallDelta(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: WireFunctionDelta | None = None


class _Call(Struct):
    id: str
    number: int = -1
    """Given with the name, so that calls are numbered in the order in which they are told."""
    waiting: str = ""
    """Arguments that came before the name."""


class CallPieces:
    """One answer's tool calls. ``names`` leads from stand-ins back to the caller's names."""

    def __init__(self, names: Mapping[str, str], answer_id: str) -> None:
        self._names = names
        self._answer_id = answer_id
        self._calls: list[_Call] = []
        self._named_count = 0
        self._by_index: dict[int, _Call] = {}

    def take(self, piece: WireCallDelta) -> ToolCallDelta | None:
        """Return the piece as an event, or None while the call has no name yet."""
        function = piece.function or WireFunctionDelta()
        call = self._call(piece.index, piece.id or "", function.name or "")
        arguments = _json_text(function.arguments)
        if call.number >= 0:
            return ToolCallDelta(call.number, arguments=arguments) if arguments else None
        call.waiting += arguments
        if not function.name:
            return None
        call.number = self._named_count
        self._named_count += 1
        name = self._names.get(function.name, function.name)
        call_id = call.id or f"call_{self._answer_id}_{call.number}"
        return ToolCallDelta(call.number, call_id, name, call.waiting)

    def check(self) -> None:
        """Raises UpstreamError (STREAM_BROKEN) for a call that never got a name."""
        if self._named_count < len(self._calls):
            raise UpstreamError(
                Failure.STREAM_BROKEN, "The endpoint sent a tool call without a name."
            )

    def _call(self, index: int | None, call_id: str, name: str) -> _Call:
        """Find the call a piece belongs to: by index, or else by id, or else the latest.

        A new id under a known index is a new call: some servers number every call 0.
        """
        if index is not None and index >= 0:
            call = self._by_index.get(index)
            if call is None or (call_id and call.id and call_id != call.id):
                call = self._by_index[index] = self._by_id(call_id) or self._new(call_id)
        elif call_id:
            call = self._by_id(call_id) or self._unnamed() or self._new(call_id)
        elif name or not self._calls:
            call = self._unnamed() or self._new("")
        else:
            call = self._calls[-1]
        call.id = call.id or call_id
        return call

    def _by_id(self, call_id: str) -> _Call | None:
        return next((call for call in self._calls if call_id and call.id == call_id), None)

    def _unnamed(self) -> _Call | None:
        """The latest call, if it still waits for its name."""
        return self._calls[-1] if self._calls and self._calls[-1].number < 0 else None

    def _new(self, call_id: str) -> _Call:
        self._calls.append(_Call(call_id))
        return self._calls[-1]


def _json_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else msgspec.json.encode(arguments).decode()
