"""A ``Request`` as bytes for an Anthropic Messages endpoint: written anew from its values, unless
it came in this dialect. Knows nothing of how the endpoint answers."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw

from fairlead.dialects import wire
from fairlead.dialects.anthropic_messages_own import render_own
from fairlead.dialects.anthropic_messages_wire import MIN_BUDGET_TOKENS, NAME, PATH, VERSION
from fairlead.dialects.dialect import Rendered
from fairlead.dialects.thinking import budget_tokens_of, effort_of
from fairlead.types.catalog import Endpoint
from fairlead.types.chat import (
    Foreign,
    Image,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from fairlead.types.errors import BadRequest

UNSTATED_MAX_TOKENS = 4096
"""For an endpoint whose longest answer is not known: ``max_tokens`` is required here."""

KEPT = frozenset({"cache_control"})
"""Vendor fields of parts and tools that clients write in other dialects too."""

_ENCODER = msgspec.json.Encoder()
_OBJECT = msgspec.json.Decoder(dict[str, Raw])


def render_request(request: Request, endpoint: Endpoint, max_output_tokens: int | None) -> Rendered:
    """Raises BadRequest for what cannot cross."""
    if request.dialect == NAME:
        return render_own(request, endpoint, max_output_tokens)
    return _Crossing(request, endpoint).render(max_output_tokens)


class _Crossing:
    """Writes one request anew and notes what is left behind."""

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        self._request, self._endpoint = request, endpoint
        self._dropped: list[str] = []

    def render(self, cap: int | None) -> Rendered:
        request = self._request
        if request.bound:
            raise BadRequest(
                f"{request.bound[0]}: only {request.dialect} endpoints understand this.",
                param=request.bound[0],
            )
        max_tokens = self._max_tokens(cap)
        system, messages = self._conversation()
        whole: dict[str, Any] = {
            "model": self._endpoint.upstream_model,
            "max_tokens": max_tokens,
            "messages": messages,
        }
        if system:
            whole["system"] = _plain(system)
        if request.stream:
            whole["stream"] = True
        self._tools(whole)
        if request.thinking:
            self._thinking(request.thinking, whole)
        self._options(whole)
        # The version that still takes what older models take; no newer one takes more.
        headers = {"content-type": "application/json", "anthropic-version": VERSION}
        return Rendered(PATH, _ENCODER.encode(whole), headers, tuple(dict.fromkeys(self._dropped)))

    def _max_tokens(self, cap: int | None) -> int:
        longest = self._endpoint.model.max_output_tokens
        asked = self._request.max_output_tokens or longest or UNSTATED_MAX_TOKENS
        return min(limit for limit in (cap, asked, longest) if limit)

    def _options(self, whole: dict[str, Any]) -> None:
        request = self._request
        self._sampling(whole)
        # A sequence of blanks alone is refused.
        stop = [text for text in request.stop if text.strip()]
        if stop:
            whole["stop_sequences"] = stop
        if len(stop) < len(request.stop):
            self._dropped.append("stop")
        if request.output and request.output.kind == "json_schema":
            whole.setdefault("output_config", {})["format"] = _format(request.output)
        elif request.output:
            self._dropped.append("output.json_object")

    def _sampling(self, whole: dict[str, Any]) -> None:
        """Temperature ends at 1 here, which is also what it is when nothing is said.

        Newer models take no sampling at all, older ones not while they think, and those of the
        years between either temperature or ``top_p``.
        """
        request = self._request
        takes = "sampling" in self._endpoint.model.can and "thinking" not in whole
        for name in ("temperature", "top_p", "top_k"):
            value = getattr(request, name)
            if value is None:
                continue
            if (
                not takes
                or (name == "temperature" and value > 1)
                or (name == "top_p" and "temperature" in whole)
            ):
                self._dropped.append(name)
            else:
                whole[name] = value

    def _thinking(self, thinking: Thinking, whole: dict[str, Any]) -> None:
        """Models that take no sampling think adaptively; those that do have a budget for it."""
        effort, can = effort_of(thinking), self._endpoint.model.can
        wanted = effort != "none" and bool(effort or thinking.enabled)
        if "reasoning" not in can or (effort == "none" and "sampling" not in can):
            # Of the models that think adaptively some always do, and refuse to be told not to.
            if wanted or "reasoning" in can:
                self._dropped.append("thinking")
            return
        if not wanted:
            return
        if "sampling" in can:
            self._budget(thinking, whole)
        else:
            whole["thinking"] = {"type": "adaptive"}
            if effort:
                named = "low" if effort == "minimal" else effort
                whole["output_config"] = {"effort": named}
        if thinking.show is not None and "thinking" in whole:
            whole["thinking"]["display"] = "summarized" if thinking.show else "omitted"

    def _budget(self, thinking: Thinking, whole: dict[str, Any]) -> None:
        """Half the answer at most. With a budget no tool can be forced, and a turn that called
        tools must begin with its signed thoughts, which do not cross."""
        budget = min(budget_tokens_of(thinking), whole["max_tokens"] // 2)
        forced = whole.get("tool_choice", {}).get("type") in ("any", "tool")
        mid_turn = self._request.messages[-1].role == "tool"
        if budget < MIN_BUDGET_TOKENS or forced or mid_turn:
            self._dropped.append("thinking")
        else:
            whole["thinking"] = {"type": "enabled", "budget_tokens": budget}

    # Tools.

    def _tools(self, whole: dict[str, Any]) -> None:
        """A conversation that holds calls needs tools, even where no more may be called."""
        request = self._request
        if request.tools:
            whole["tools"] = [self._tool(tool) for tool in request.tools]
            if request.tool_choice:
                whole["tool_choice"] = _tool_choice(request.tool_choice)
        elif called := _called(request.messages):
            whole["tools"] = [{"name": name, "input_schema": ANY_OBJECT} for name in called]
            whole["tool_choice"] = {"type": "none"}
        if request.tool_choice and not request.tools:
            self._dropped.append("tool_choice")

    def _tool(self, tool: Tool) -> dict[str, Any]:
        wired: dict[str, Any] = {"name": wire.safe_tool_name(tool.name)}
        if tool.description:
            wired["description"] = tool.description
        wired["input_schema"] = {**ANY_OBJECT, **tool.schema}
        if tool.strict is not None:
            wired["strict"] = tool.strict
        return wired | self._kept("tools", tool.extra)

    # Messages.

    def _conversation(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The system's blocks, then the turns: user and assistant, never two of a kind in a row."""
        system: list[dict[str, Any]] = []
        turns: list[tuple[str, list[dict[str, Any]]]] = []
        for message in self._request.messages:
            blocks = [block for part in message.parts for block in self._part(part)]
            if message.role == "system":
                if turns and blocks:
                    # Not every model takes one between turns, so its place is lost.
                    self._dropped.append("messages.system")
                system += blocks
                continue
            role = "user" if message.role == "tool" else message.role
            if turns and turns[-1][0] == role:
                turns[-1][1].extend(blocks)
            elif blocks:
                turns.append((role, blocks))
        if not turns:
            # Nothing but a system prompt: what is left to answer is just that.
            turns, system = [("user", system)], []
        if not turns[0][1]:
            raise BadRequest("messages: all of them are empty.", param="messages")
        return system, [{"role": role, "content": _turn(role, blocks)} for role, blocks in turns]

    def _part(self, part: Part) -> Iterable[dict[str, Any]]:
        match part:
            case Text():
                # Blank texts are refused, and say nothing.
                kept = self._kept("messages", part.extra)
                return [{"type": "text", "text": part.text} | kept] if part.text.strip() else []
            case Image():
                return [
                    {"type": "image", "source": _source(part)} | self._kept("messages", part.extra)
                ]
            case ToolCall():
                return [self._call(part)]
            case ToolResult():
                return [self._result(part)]
            case Reasoning():
                self._dropped.append("reasoning")
                return []
            case Foreign():
                raise BadRequest(
                    f"messages: a part of kind {part.kind!r} cannot cross dialects.",
                    param="messages",
                )

    def _call(self, call: ToolCall) -> dict[str, Any]:
        return {
            "type": "tool_use",
            "id": wire.safe_tool_name(call.id),
            "name": wire.safe_tool_name(call.name),
            "input": _input(call),
        } | self._kept("messages", call.extra)

    def _result(self, result: ToolResult) -> dict[str, Any]:
        wired: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": wire.safe_tool_name(result.call_id),
        }
        content = [block for part in result.parts for block in self._part(part)]
        if content:
            wired["content"] = _plain(content)
        if result.is_error:
            wired["is_error"] = True
        return wired | self._kept("messages", result.extra)

    def _kept(self, where: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        self._dropped.extend(f"{where}.{name}" for name in extra if name not in KEPT)
        return {name: extra[name] for name in KEPT if name in extra}


ANY_OBJECT = {"type": "object"}


def _called(messages: Iterable[Message]) -> Iterable[str]:
    """The names of all tools that were called, in order, each once."""
    parts = (part for message in messages for part in message.parts)
    return dict.fromkeys(wire.safe_tool_name(p.name) for p in parts if isinstance(p, ToolCall))


def _turn(role: str, blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Results come first in the turn after their calls; a begun answer ends without a blank."""
    if role == "user":
        return _plain(sorted(blocks, key=lambda block: block["type"] != "tool_result"))
    last = blocks[-1]
    if last["type"] == "text":
        return _plain([*blocks[:-1], {**last, "text": last["text"].rstrip()}])
    return blocks


def _plain(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """One plain text stands alone: not every server takes a list."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _input(call: ToolCall) -> Raw:
    """The arguments as they were written, if they are an object: nothing else can stand here."""
    try:
        _OBJECT.decode(call.arguments or "{}")
    except wire.UNDECODABLE as error:
        raise BadRequest(
            f"messages: the arguments of the call of {call.name!r} are no JSON object, "
            "and cannot cross dialects.",
            param="messages",
        ) from error
    return Raw(call.arguments.encode() or b"{}")


def _source(image: Image) -> dict[str, Any]:
    if image.url:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


CHOICES: Mapping[str, Literal["auto", "any", "tool", "none"]] = {
    "auto": "auto",
    "required": "any",
    "named": "tool",
    "none": "none",
}


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    wired: dict[str, Any] = {"type": CHOICES[choice.mode]}
    if choice.mode == "named":
        wired["name"] = wire.safe_tool_name(choice.name)
    if not choice.parallel and choice.mode != "none":
        wired["disable_parallel_tool_use"] = True
    return wired


def _format(output: OutputFormat) -> dict[str, Any]:
    return {"type": "json_schema", "schema": _closed(output.schema)}


VALUES = frozenset({"const", "default", "enum", "examples"})
"""Keywords of JSON Schema whose values are data, not schemas."""


def _closed(schema: Any) -> Any:
    """Close every object that does not say whether it is open: it must say that it is not
    (platform.claude.com/docs/en/build-with-claude/structured-outputs). What fits a closed schema
    fits the open one too."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {key: value if key in VALUES else _closed(value) for key, value in schema.items()}
    if closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
