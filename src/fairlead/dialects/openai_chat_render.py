"""A ``Request`` as bytes for a Chat Completions endpoint: its own bytes where it came in this
dialect, or else written anew from its values. Knows nothing of how the endpoint answers."""

from collections.abc import Iterable
from typing import Any

import msgspec

from fairlead.dialects import wire
from fairlead.dialects.dialect import Rendered
from fairlead.dialects.openai_chat_wire import NAME, PATH
from fairlead.dialects.thinking import effort_of
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

HEADERS = {"content-type": "application/json"}
MAX_STOPS = 4
_ENCODER = msgspec.json.Encoder()


def render_request(request: Request, endpoint: Endpoint, max_output_tokens: int | None) -> Rendered:
    """Raises BadRequest for what cannot cross."""
    if request.dialect == NAME:
        return Rendered(PATH, _own_bytes(request, endpoint, max_output_tokens), HEADERS)
    return _Crossing(request, endpoint).render(max_output_tokens)


# The same dialect --------------------------------------------------------------------------------


def _own_bytes(request: Request, endpoint: Endpoint, cap: int | None) -> bytes:
    """Change the model's name, the cap, our own metadata and the wish for usage; nothing else."""
    renamed = request.model != endpoint.upstream_model
    silent = request.stream and not request.include_usage
    if not (renamed or silent or cap is not None or request.narrowing != wire.NOT_NARROWED):
        return request.body
    whole: dict[str, Any] = dict(wire.members(request.body))
    if renamed:
        whole["model"] = endpoint.upstream_model
    if cap is not None:
        _cap(whole, endpoint, min(cap, request.max_output_tokens or cap))
    if request.narrowing != wire.NOT_NARROWED and "metadata" in whole:
        _, metadata = wire.narrowing(msgspec.json.decode(whole["metadata"]) or {})
        whole["metadata"] = metadata
        if not metadata:
            del whole["metadata"]
    if silent:
        # Usage is what an answer is settled by. The decoder takes out the chunk it adds.
        said = msgspec.json.decode(whole.get("stream_options", b"null"))
        whole["stream_options"] = {**(said or {}), "include_usage": True}
    return _ENCODER.encode(whole)


def _cap(whole: dict[str, Any], endpoint: Endpoint, cap: int) -> None:
    """Both names, if both are there: which of them counts is the endpoint's affair."""
    said = whole.keys() & {"max_completion_tokens", "max_tokens"}
    for name in said or {_cap_name(endpoint)}:
        whole[name] = cap


def _cap_name(endpoint: Endpoint) -> str:
    """OpenAI's reasoning models refuse ``max_tokens``; older servers know nothing else."""
    return "max_completion_tokens" if "reasoning" in endpoint.model.can else "max_tokens"


# From another dialect ----------------------------------------------------------------------------


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
        whole: dict[str, Any] = {
            "model": self._endpoint.upstream_model,
            "messages": [wired for said in request.messages for wired in self._message(said)],
        }
        if limits := [limit for limit in (cap, request.max_output_tokens) if limit]:
            whole[_cap_name(self._endpoint)] = min(limits)
        if request.stream:
            whole["stream"] = True
            whole["stream_options"] = {"include_usage": True}
        self._tools(whole)
        self._options(whole)
        return Rendered(PATH, _ENCODER.encode(whole), HEADERS, tuple(dict.fromkeys(self._dropped)))

    def _options(self, whole: dict[str, Any]) -> None:
        request, can = self._request, self._endpoint.model.can
        for name in ("temperature", "top_p"):
            if (value := getattr(request, name)) is None:
                continue
            if "sampling" in can:
                whole[name] = value
            else:
                self._dropped.append(name)
        if request.top_k is not None:
            self._dropped.append("top_k")
        if request.stop:
            if len(request.stop) > MAX_STOPS:
                raise BadRequest(f"stop: at most {MAX_STOPS} can cross dialects.", param="stop")
            whole["stop"] = request.stop
        if request.output:
            whole["response_format"] = _response_format(request.output)
        if request.thinking:
            self._thinking(request.thinking, whole)

    def _thinking(self, thinking: Thinking, whole: dict[str, Any]) -> None:
        effort = effort_of(thinking)
        if "reasoning" not in self._endpoint.model.can:
            if effort != "none" and (effort or thinking.enabled):
                self._dropped.append("thinking")
        elif effort:
            whole["reasoning_effort"] = effort
        if thinking.show is not None:
            self._dropped.append("thinking.show")

    def _tools(self, whole: dict[str, Any]) -> None:
        request = self._request
        if not request.tools:
            self._dropped += ["tool_choice"] if request.tool_choice else []
            return
        whole["tools"] = [self._tool(tool) for tool in request.tools]
        if request.tool_choice:
            whole["tool_choice"] = _tool_choice(request.tool_choice)
            if not request.tool_choice.parallel:
                whole["parallel_tool_calls"] = False

    def _tool(self, tool: Tool) -> dict[str, Any]:
        self._leave("tools", tool.extra)
        function: dict[str, Any] = {"name": wire.safe_tool_name(tool.name)}
        if tool.description:
            function["description"] = tool.description
        if tool.schema:
            function["parameters"] = tool.schema
        if tool.strict is not None:
            function["strict"] = tool.strict
        return {"type": "function", "function": function}

    def _leave(self, where: str, extra: Iterable[str]) -> None:
        self._dropped.extend(f"{where}.{name}" for name in extra)

    def _message(self, message: Message) -> Iterable[dict[str, Any]]:
        if message.role == "tool":
            return self._results(message)
        if message.role == "assistant":
            return [self._assistant(message)]
        return [{"role": message.role, "content": self._content(message.parts)}]

    def _assistant(self, message: Message) -> dict[str, Any]:
        calls = [self._call(part) for part in message.parts if isinstance(part, ToolCall)]
        if any(isinstance(part, Reasoning) for part in message.parts):
            self._dropped.append("reasoning")
        said = [part for part in message.parts if not isinstance(part, ToolCall | Reasoning)]
        wired: dict[str, Any] = {"role": "assistant"}
        if said or not calls:
            wired["content"] = self._content(said) if said else ""
        if calls:
            wired["tool_calls"] = calls
        return wired

    def _call(self, call: ToolCall) -> dict[str, Any]:
        kept = {name: call.extra[name] for name in ("extra_content",) if name in call.extra}
        self._leave("messages", call.extra.keys() - kept.keys())
        return {
            "id": call.id,
            "type": "function",
            "function": {"name": wire.safe_tool_name(call.name), "arguments": call.arguments},
            **kept,
        }

    def _results(self, message: Message) -> Iterable[dict[str, Any]]:
        """One message each, then their images: a tool's message takes text only."""
        images: list[Part] = []
        for result in message.parts:
            if not isinstance(result, ToolResult):
                raise _cannot_cross(result)
            self._leave("messages", result.extra)
            if result.is_error:
                self._dropped.append("messages.is_error")
            texts = [part for part in result.parts if isinstance(part, Text)]
            images += [part for part in result.parts if isinstance(part, Image)]
            content = self._content(texts) if texts else ""
            yield {"role": "tool", "tool_call_id": result.call_id, "content": content}
        if images:
            yield {"role": "user", "content": self._content(images)}

    def _content(self, parts: Iterable[Part]) -> str | list[dict[str, Any]]:
        """One plain text stands alone: not every server takes a list."""
        wired = [self._part(part) for part in parts]
        if len(wired) == 1 and wired[0]["type"] == "text":
            text: str = wired[0]["text"]
            return text
        return wired

    def _part(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            self._leave("messages", part.extra)
            return {"type": "text", "text": part.text}
        if not isinstance(part, Image):
            raise _cannot_cross(part)
        image = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
        if "detail" in part.extra:
            image["detail"] = part.extra["detail"]
        self._leave("messages", part.extra.keys() - {"detail"})
        return {"type": "image_url", "image_url": image}


def _cannot_cross(part: Part) -> BadRequest:
    kind = part.kind if isinstance(part, Foreign) else type(part).__name__
    return BadRequest(f"messages: a part of kind {kind!r} cannot cross dialects.", param="messages")


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.mode != "named":
        return choice.mode
    return {"type": "function", "function": {"name": wire.safe_tool_name(choice.name)}}


def _response_format(output: OutputFormat) -> dict[str, Any]:
    if output.kind == "json_object":
        return {"type": "json_object"}
    fits: dict[str, Any] = {"name": output.name, "schema": output.schema}
    if output.strict is not None:
        fits["strict"] = output.strict
    return {"type": "json_schema", "json_schema": fits}
