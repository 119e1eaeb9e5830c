"""A caller's Chat Completions request, from bytes to ``Request``. Knows nothing of endpoints."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Raw, Struct, field

from fairlead.dialects import wire
from fairlead.dialects.openai_chat_wire import NAME
from fairlead.types.chat import (
    NOTHING,
    Effort,
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

Positive = Annotated[int, Meta(ge=1)]
Answers = Annotated[int, Meta(ge=1, le=128)]
"""OpenAI's own limit: platform.openai.com/docs/api-reference/chat/create"""
Named = Annotated[str, Meta(min_length=1)]
Content = str | list[dict[str, Any]] | None


class _Part(Struct, forbid_unknown_fields=True, gc=False):
    """A part of a request. What a crossing leaves behind must be told, so nothing goes unseen."""

    extra: dict[str, Any] | None = field(default=None, name=wire.EXTRA)


class WireFunction(_Part, kw_only=True):
    name: Named
    arguments: str = ""


class WireToolCall(_Part):
    id: str = ""
    type: str = "function"
    function: WireFunction | None = None
    custom: Any = None
    extra_content: Any = None
    """Where Gemini's compatible endpoint keeps the signature that it wants back."""
    index: Any = None
    """Left over from a stream; calls are in their order."""


WireRole = Literal["system", "developer", "user", "assistant", "tool", "function"]


class WireMessage(_Part, kw_only=True):
    role: WireRole
    content: Content = None
    name: str | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    function_call: Any = None
    audio: Any = None
    annotations: Any = None
    prefix: bool | None = None
    reasoning_details: Any = None


class WireDefinition(_Part, kw_only=True):
    name: Named
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class WireTool(_Part):
    """Nested as documented, or flat as the Responses dialect has it: some agents mix the two."""

    type: str = "function"
    function: WireDefinition | None = None
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class WireSchema(_Part):
    name: str = "answer"
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class WireFormat(_Part, kw_only=True):
    type: str
    json_schema: WireSchema | None = None


class WireStreamOptions(_Part):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class WireRequest(Struct):
    model: Named
    messages: Annotated[list[WireMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: WireStreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    tools: list[WireTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: WireFormat | None = None
    reasoning_effort: str | None = None
    metadata: dict[str, Any] | None = None
    n: Answers | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    seed: int | None = None
    user: str | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


BODY = msgspec.json.Decoder(WireRequest)
PARTS_OF: Mapping[type[Struct], wire.Shapes] = {
    WireRequest: {
        "messages": WireMessage,
        "tools": WireTool,
        "response_format": WireFormat,
        "stream_options": WireStreamOptions,
    },
    WireMessage: {"tool_calls": WireToolCall},
    WireToolCall: {"function": WireFunction},
    WireTool: {"function": WireDefinition},
    WireFormat: {"json_schema": WireSchema},
}

BOUND: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"], []),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "moderation": (),
}
"""Fields that change the answer and exist only here, with the values that ask for nothing."""
LONGEST_NOTHING = 100
"""Bytes of such a value, however it is spaced. What is longer asks for something."""

LOOSE = frozenset({"seed", "user", "presence_penalty", "frequency_penalty"})
"""Declared for their types alone."""

READ = frozenset(WireRequest.__struct_fields__) - BOUND.keys() - LOOSE
EFFORTS: Mapping[str, Effort] = {effort: effort for effort in get_args(Effort)}


def parse_request(body: bytes) -> Request:
    """Raises BadRequest with ``param`` set where known."""
    try:
        _ = body.isascii() or body.decode()  # msgspec looks at what it reads, and no further
        asked = _decoded(body)
        bound, loose = _carried(wire.members_of_request(body))
    except wire.UNDECODABLE as error:
        raise _bad_request(error, body) from error
    if loose:
        wire.check_no_limit(loose)
    messages = tuple(_messages(asked.messages, bound, loose))
    if asked.stream_options:
        _note(loose, "stream_options", asked.stream_options, "include_obfuscation")
    narrowing = wire.NOT_NARROWED
    if asked.metadata:
        narrowing, rest = wire.narrowing(asked.metadata)
        if rest:
            loose.append("metadata")
    return Request(
        dialect=NAME,
        model=asked.model,
        body=body,
        messages=messages,
        stream=bool(asked.stream),
        include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        max_output_tokens=asked.max_completion_tokens or asked.max_tokens,
        answers=asked.n or 1,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        stop=(asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()),
        tools=tuple(_tools(asked.tools, bound)) if asked.tools else (),
        tool_choice=_tool_choice(asked, bound),
        output=_output(asked.response_format, bound, loose),
        thinking=_thinking(asked.reasoning_effort, bound),
        narrowing=narrowing,
        bound=tuple(bound),
        loose=tuple(dict.fromkeys(loose)),
    )


def _decoded(body: bytes) -> WireRequest:
    try:
        return BODY.decode(body)
    except msgspec.ValidationError as error:
        if not wire.is_unknown_member(error):
            raise
    return msgspec.convert(wire.gathered(body, WireRequest, PARTS_OF), WireRequest)


def _bad_request(error: wire.Undecodable, body: bytes) -> BadRequest:
    bad = wire.bad_request(error, get_args(WireRole))
    # Agents that speak the Responses dialect are often pointed at this address.
    if bad.param == "messages" and _has_input(body):
        return BadRequest(
            "messages: this field is required. `input` belongs to the Responses dialect"
            " (/v1/responses), which is not served; send `messages`.",
            param="messages",
        )
    return bad


def _has_input(body: bytes) -> bool:
    """The body may still be broken behind the place where decoding gave up."""
    try:
        return "input" in wire.members(body)
    except wire.UNDECODABLE:
        return False


def _missing(param: str) -> BadRequest:
    return BadRequest(f"{param}: this field is required.", param=param)


def _carried(members: Mapping[str, Raw]) -> tuple[list[str], list[str]]:
    """Sort what is in use and not read here: what holds a request to this dialect, and the rest."""
    bound: list[str] = []
    loose: list[str] = []
    for name in members.keys() - READ:
        value = bytes(members[name])
        if value == b"null":
            continue
        if name not in BOUND:
            loose.append(name)
        elif len(value) > LONGEST_NOTHING or msgspec.json.decode(value) not in BOUND[name]:
            bound.append(name)
    return sorted(bound), sorted(loose)


def _note(loose: list[str], where: str, part: _Part, *names: str) -> None:
    """What of a part is in use and has no place in a conversation: these, and what is unknown."""
    loose.extend(f"{where}.{name}" for name in names if getattr(part, name))
    loose.extend(f"{where}.{name}" for name, value in (part.extra or NOTHING).items() if value)


# Messages and their parts ------------------------------------------------------------------------


def _messages(
    messages: Iterable[WireMessage], bound: list[str], loose: list[str]
) -> Iterable[Message]:
    """Results that follow each other are one message: they answer the calls of one turn."""
    results: list[Part] = []
    for index, message in enumerate(messages):
        if message.name is not None and message.role != "function":
            loose.append("messages.name")
        if message.extra:
            _note(loose, "messages", message)
        if message.role in ("tool", "function"):
            results.append(_tool_result(message, f"messages[{index}]", bound))
            continue
        if results:
            yield Message("tool", tuple(results))
            results = []
        if message.role == "assistant":
            yield Message("assistant", _assistant(message, f"messages[{index}]", bound, loose))
            continue
        role: Literal["user", "system"] = "user" if message.role == "user" else "system"
        if isinstance(message.content, str):
            yield Message(role, (Text(message.content),))
        elif message.content is None:
            raise _missing(f"messages[{index}].content")
        else:
            yield Message(role, _parts(message.content, f"messages[{index}]"))
    if results:
        yield Message("tool", tuple(results))


def _assistant(
    message: WireMessage, where: str, bound: list[str], loose: list[str]
) -> tuple[Part, ...]:
    parts: list[Part] = []
    if thought := message.reasoning_content or message.reasoning:
        parts.append(Reasoning(thought))
    # Vendors refuse an empty text beside a tool call, and clients send one.
    if message.content:
        parts.extend(_parts(message.content, where))
    if message.refusal:
        parts.append(Text(message.refusal))
    for index, call in enumerate(message.tool_calls or ()):
        parts.append(_tool_call(call, f"{where}.tool_calls[{index}]", bound))
    bound.extend(f"{where}.{name}" for name in ("function_call", "audio") if getattr(message, name))
    loose.extend(
        f"messages.{name}"
        for name in ("annotations", "prefix", "reasoning_details")
        if getattr(message, name)
    )
    return tuple(parts)


def _tool_call(call: WireToolCall, where: str, bound: list[str]) -> Part:
    if call.type != "function":
        bound.append(f"{where}.type={call.type}")
        return Foreign(f"tool_call.{call.type}", msgspec.to_builtins(call))
    if call.function is None:
        raise _missing(f"{where}.function")
    if not call.id:
        raise _missing(f"{where}.id")
    extra = {**(call.extra or NOTHING), **(call.function.extra or NOTHING)}
    if call.extra_content is not None:
        extra["extra_content"] = call.extra_content
    return ToolCall(call.id, call.function.name, call.function.arguments, extra or NOTHING)


def _tool_result(message: WireMessage, where: str, bound: list[str]) -> ToolResult:
    if message.role == "function":
        bound.append(f"{where}.role=function")
    call_id = message.tool_call_id or (message.role == "function" and message.name)
    if not call_id:
        raise _missing(f"{where}.tool_call_id")
    parts = _parts(message.content, where) if message.content is not None else ()
    shared = tuple(part for part in parts if isinstance(part, Text | Image))
    if len(shared) < len(parts):
        bound.append(f"{where}.content")
    return ToolResult(call_id, shared)


def _parts(content: str | list[dict[str, Any]], where: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple(_part(part, f"{where}.content[{index}]") for index, part in enumerate(content))


def _part(part: dict[str, Any], where: str) -> Part:
    kind = part.get("type")
    if not isinstance(kind, str):
        raise _missing(f"{where}.type")
    read = PARTS.get(kind)
    return read(part, where) if read else Foreign(kind, part)


def _text(part: dict[str, Any], where: str) -> Part:
    extra = {name: value for name, value in part.items() if name not in ("type", "text")}
    return Text(_string(part, "text", where), extra or NOTHING)


def _refusal(part: dict[str, Any], where: str) -> Part:
    return Text(_string(part, "refusal", where))


def _image(part: dict[str, Any], where: str) -> Part:
    source = part.get("image_url")
    if isinstance(source, str):
        source = {"url": source}
    if source is None:
        raise _missing(f"{where}.image_url")
    if not isinstance(source, dict):
        param = f"{where}.image_url"
        raise BadRequest(f"{param}: expected an object with a `url`.", param=param)
    url = _string(source, "url", f"{where}.image_url")
    extra = {name: value for name, value in part.items() if name not in ("type", "image_url")}
    extra |= {name: value for name, value in source.items() if name != "url"}
    if not url.startswith("data:"):
        return Image(url=url, extra=extra or NOTHING)
    media_type, comma, data = url[5:].partition(";base64,")
    if not comma or not data:
        param = f"{where}.image_url.url"
        raise BadRequest(f"{param}: expected data:<media type>;base64,<data>.", param=param)
    return Image(media_type=media_type, data=data, extra=extra or NOTHING)


def _string(values: Mapping[str, Any], name: str, where: str) -> str:
    value = values.get(name)
    if value is None:
        raise _missing(f"{where}.{name}")
    if not isinstance(value, str):
        raise BadRequest(f"{where}.{name}: expected a string.", param=f"{where}.{name}")
    return value


PARTS: Mapping[str, Callable[[dict[str, Any], str], Part]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
}
"""The kinds that other dialects have too. Any other is carried whole, as ``Foreign``."""


# What else is asked ------------------------------------------------------------------------------


def _tools(tools: Iterable[WireTool], bound: list[str]) -> Iterable[Tool]:
    for index, tool in enumerate(tools):
        if tool.type != "function":
            bound.append(f"tools[{index}].type={tool.type}")
            continue
        said = tool.function or tool
        if not said.name:
            raise _missing(f"tools[{index}].function")
        extra = {**(tool.extra or NOTHING), **(said.extra or NOTHING)} or NOTHING
        yield Tool(
            said.name, said.description or "", said.parameters or NOTHING, said.strict, extra
        )


MODES: Mapping[str, Literal["auto", "none", "required"]] = {
    "auto": "auto",
    "none": "none",
    "required": "required",
}


def _tool_choice(asked: WireRequest, bound: list[str]) -> ToolChoice | None:
    choice, parallel = asked.tool_choice, asked.parallel_tool_calls is not False
    if choice is None:
        return None if parallel or not asked.tools else ToolChoice(parallel=False)
    if isinstance(choice, str):
        if choice not in MODES:
            raise BadRequest(
                f"tool_choice: expected {', '.join(MODES)} or an object.", param="tool_choice"
            )
        return ToolChoice(MODES[choice], parallel=parallel)
    kind = choice.get("type")
    if kind != "function":
        bound.append(f"tool_choice.type={kind}")
        return None
    function = choice.get("function", choice)
    if not isinstance(function, dict):
        raise _missing("tool_choice.function")
    return ToolChoice("named", _string(function, "name", "tool_choice.function"), parallel)


def _output(wanted: WireFormat | None, bound: list[str], loose: list[str]) -> OutputFormat | None:
    if wanted is None:
        return None
    _note(loose, "response_format", wanted)
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return OutputFormat("json_object")
    if wanted.type != "json_schema":
        bound.append(f"response_format.type={wanted.type}")
        return None
    fits = wanted.json_schema
    if fits is None:
        raise _missing("response_format.json_schema")
    _note(loose, "response_format", fits, "description")
    return OutputFormat("json_schema", fits.name, fits.schema or NOTHING, fits.strict)


def _thinking(effort: str | None, bound: list[str]) -> Thinking | None:
    if effort is None:
        return None
    if effort not in EFFORTS:
        bound.append(f"reasoning_effort={effort}")
        return None
    return Thinking(EFFORTS[effort])
