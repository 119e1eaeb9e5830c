"""A caller's Anthropic request, from bytes to ``Request``. Knows nothing of endpoints."""

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Literal, get_args

import msgspec
from msgspec import Raw, Struct, ValidationError

from fairlead.dialects import wire
from fairlead.dialects.anthropic_messages_wire import (
    KINDS,
    NAME,
    UNSIGNED,
    VERSION,
    VERSIONS,
    AskedThinking,
    Block,
    ImageBlock,
    Kind,
    RedactedBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    WireMessage,
    WireOutput,
    WireRequest,
    WireRole,
    WireTool,
    WireToolChoice,
)
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
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from fairlead.types.errors import BadRequest

BODY = msgspec.json.Decoder(WireRequest)
SHAPES: Mapping[str, type[Struct]] = {
    "messages": WireMessage,
    "tools": WireTool,
    "tool_choice": WireToolChoice,
    "thinking": AskedThinking,
    "output_config": WireOutput,
}
BLOCK: msgspec.json.Decoder[Block] = msgspec.json.Decoder(Block)
KIND = msgspec.json.Decoder(Kind)
ANY = msgspec.json.Decoder()
ITEMS = msgspec.json.Decoder(list[dict[str, Raw]])

BETA = "anthropic-beta"
HEADERS = ("anthropic-version", BETA)
READ = frozenset(WireRequest.__struct_fields__)
BOUND = frozenset({"container", "context_management", "mcp_servers", "fallbacks"})

BILLING = "x-anthropic-billing-header:"
"""Begins the line that Claude Code puts before its system prompt. It is for Anthropic's accounts
alone and changes with every request, so that other servers could never reuse a cached prompt."""

SAMPLING = ("temperature", "top_p", "top_k")
EFFORTS: Mapping[str | None, Effort] = {effort: effort for effort in get_args(Effort)}
CHOICES: Mapping[str, Literal["auto", "required", "named", "none"]] = {
    "auto": "auto",
    "any": "required",
    "tool": "named",
    "none": "none",
}
THINKS = {"enabled": True, "adaptive": True, "between_tools": True, "disabled": False}
SHOWS: Mapping[str | None, bool] = {"summarized": True, "omitted": False}


def parse_request(
    body: bytes, headers: Mapping[str, str], operation: Literal["chat", "count"]
) -> Request:
    """Raises BadRequest with ``param`` set where known."""
    version = _version(headers)
    try:
        _ = body.isascii() or body.decode()  # msgspec looks at what it reads, and no further
        names = wire.members_of_request(body)
        loose = [name for name in names if name not in READ and name not in BOUND]
        asked = _decoded(body, loose)
        messages = tuple(_messages(asked, loose, newer=version != VERSION))
    except wire.UNDECODABLE as error:
        raise wire.bad_request(error, get_args(WireRole)) from error
    _check(asked, operation, newer=version != VERSION)
    if loose:
        wire.check_no_limit(loose)
    narrowing, rest = (
        wire.narrowing(asked.metadata) if asked.metadata else (wire.NOT_NARROWED, NOTHING)
    )
    loose += [f"metadata.{name}" for name in rest]
    # What a beta changes in a request is seen in its fields, but not in every beta.
    loose += [BETA] if BETA in headers else []
    return Request(
        dialect=NAME,
        model=asked.model,
        body=body,
        operation=operation,
        messages=messages,
        stream=operation == "chat" and bool(asked.stream),
        max_output_tokens=asked.max_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        stop=tuple(asked.stop_sequences or ()),
        tools=tuple(_tools(asked)),
        tool_choice=_tool_choice(asked.tool_choice),
        output=_output(asked),
        thinking=_thinking(asked),
        narrowing=narrowing,
        bound=tuple(_bound(asked, names)),
        loose=tuple(loose),
        headers={name: headers[name] for name in HEADERS if name in headers} or NOTHING,
    )


def _decoded(body: bytes, loose: list[str]) -> WireRequest:
    """Members of parts that are not known are noted in ``loose``."""
    try:
        return BODY.decode(body)
    except ValidationError as error:
        if not wire.is_unknown_member(error):
            raise
    said = wire.members(body)
    known = {name: _known(said[name], name, loose) for name in SHAPES if name in said}
    return BODY.decode(wire.splice(body, known))


def _known(raw: Raw, name: str, loose: list[str]) -> Any:
    """The value of a member without what its shape does not have."""
    shape = frozenset(SHAPES[name].__struct_fields__)
    is_list = bytes(raw).startswith(b"[")
    items = ITEMS.decode(raw) if is_list else [wire.members(raw)]
    loose += dict.fromkeys(f"{name}.{member}" for item in items for member in item.keys() - shape)
    known = [{member: item[member] for member in item if member in shape} for item in items]
    return known if is_list else known[0]


def _version(headers: Mapping[str, str]) -> str:
    version = headers.get("anthropic-version", VERSION)
    if version not in VERSIONS:
        raise BadRequest(
            # Not repeated: it is on record then, and may be what belongs into another header.
            f"anthropic-version: not a version known here; those are {' and '.join(VERSIONS)}.",
            param="anthropic-version",
        )
    return version


def _check(asked: WireRequest, operation: str, *, newer: bool) -> None:
    if not asked.messages:
        raise BadRequest("messages: at least one message is required.", param="messages")
    if operation == "chat" and asked.max_tokens is None:
        raise BadRequest("max_tokens: this field is required.", param="max_tokens")
    if asked.max_tokens is not None and asked.max_tokens < 0:
        raise BadRequest("max_tokens: must not be negative.", param="max_tokens")
    if newer:
        for name in SAMPLING:
            if getattr(asked, name) is not None:
                raise BadRequest(
                    f"{name}: not accepted since anthropic-version {VERSIONS[-1]}.", param=name
                )


# Messages and their parts.


def _messages(asked: WireRequest, loose: list[str], *, newer: bool) -> Iterator[Message]:
    if asked.system and (system := tuple(_system(asked.system, loose))):
        yield Message("system", system)
    for number, message in enumerate(asked.messages):
        where = f".messages[{number}].content"
        parts = _parts(message.content, where)
        if newer:
            _check_newer(message.role, parts, where[1:])
        yield from _split(message.role, parts)


def _system(system: str | list[Raw], loose: list[str]) -> Iterator[Part]:
    for part in _parts(system, ".system"):
        if not isinstance(part, Text) or not part.text.startswith(BILLING):
            yield part
            continue
        loose.append("system.billing_header")
        _, _, text = part.text.partition("\n")
        if text:
            yield Text(text, part.extra)


def _split(role: Role, parts: list[Part]) -> Iterator[Message]:
    """Tool results stand in messages of their own; the order of parts is kept."""
    if not any(isinstance(part, ToolResult) for part in parts):
        yield Message(role, tuple(parts))
        return
    for results, run in groupby(parts, lambda part: isinstance(part, ToolResult)):
        yield Message("tool" if results else role, tuple(run))


def _check_newer(role: Role, parts: list[Part], where: str) -> None:
    for number, part in enumerate(parts):
        param = f"{where}[{number}]"
        if role == "assistant" and isinstance(part, Foreign) and part.kind == "document":
            raise BadRequest(f"{param}: no document in an assistant message.", param=param)
        if role == "user" and isinstance(part, Text) and part.extra.get("citations"):
            raise BadRequest(f"{param}: no citations in a user's text.", param=param)


def _parts(
    content: str | list[Raw], where: str, read: Callable[[Raw], Part] | None = None
) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    parts: list[Part] = []
    read = read or _part
    for raw in content:
        try:
            parts.append(read(raw))
        except ValidationError as error:
            raise _located(error, f"{where}[{len(parts)}]") from error
    return parts


def _part(raw: Raw) -> Part:
    try:
        block = BLOCK.decode(raw)
    except ValidationError as error:
        kind = KIND.decode(raw).type
        if kind not in KINDS:
            return Foreign(kind, ANY.decode(raw))
        if not wire.is_unknown_member(error):
            raise
        return _part_with_more(raw, kind)
    return PARTS[type(block)](block, raw)


def _part_of_result(raw: Raw) -> Part:
    """No result stands in another. To read one in the other would take time for each of them, as
    long as all that is in it."""
    return Foreign("tool_result", None) if KIND.decode(raw).type == "tool_result" else _part(raw)


def _part_with_more(raw: Raw, kind: str) -> Part:
    """A block with members that we do not know: its part carries them."""
    known = KINDS[kind].__struct_fields__
    members = wire.members(raw)
    strange = sorted(members.keys() - {"type", *known})
    more = {name: value for name in strange if (value := ANY.decode(members[name])) is not None}
    block = BLOCK.decode(wire.splice(raw, {}, strange))
    part = PARTS[type(block)](block, raw)
    if isinstance(part, Reasoning | Foreign):
        return part
    return msgspec.structs.replace(part, extra={**part.extra, **more})


def _located(error: ValidationError, where: str) -> ValidationError:
    """The same error, its path continued outwards."""
    problem, _, path = str(error).partition(" - at `$")
    return ValidationError(f"{problem} - at `${where}{path or '`'}")


def _text(block: TextBlock, _: Raw) -> Part:
    return Text(block.text, _extra(block, ("cache_control", "citations")))


def _image(block: ImageBlock, raw: Raw) -> Part:
    source = block.source
    field = {"base64": "data", "url": "url"}.get(source.type)
    if field is None:
        return Foreign(f"image.{source.type}", ANY.decode(raw))
    if not getattr(source, field):
        raise ValidationError(f"Object missing required field `{field}` - at `$.source`")
    extra = _extra(block, ("cache_control", "transformations"))
    if field == "url":
        return Image(url=source.url, extra=extra)
    return Image(media_type=source.media_type, data=source.data, extra=extra)


def _tool_use(block: ToolUseBlock, _: Raw) -> Part:
    arguments = str(bytes(block.input), "utf-8")
    if not arguments.startswith("{"):
        raise ValidationError("Expected `object` - at `$.input`")
    return ToolCall(block.id, block.name, arguments, _extra(block, ("cache_control",)))


def _tool_result(block: ToolResultBlock, raw: Raw) -> Part:
    parts = _parts(block.content or [], ".content", _part_of_result)
    shared = tuple(part for part in parts if isinstance(part, Text | Image))
    if len(shared) < len(parts):
        kinds = {part.kind for part in parts if isinstance(part, Foreign)}
        return Foreign(f"tool_result.{min(kinds, default='block')}", ANY.decode(raw))
    extra = _extra(block, ("cache_control",))
    return ToolResult(block.tool_use_id, shared, bool(block.is_error), extra)


def _reasoning(block: ThinkingBlock, _: Raw) -> Part:
    return Reasoning(block.thinking, "" if block.signature == UNSIGNED else block.signature)


def _redacted(block: RedactedBlock, _: Raw) -> Part:
    return Reasoning("", block.data, redacted=True)


PARTS: Mapping[type[Any], Callable[[Any, Raw], Part]] = {
    TextBlock: _text,
    ImageBlock: _image,
    ToolUseBlock: _tool_use,
    ToolResultBlock: _tool_result,
    ThinkingBlock: _reasoning,
    RedactedBlock: _redacted,
}


def _extra(block: Struct, names: tuple[str, ...]) -> Mapping[str, Any]:
    extra = {}
    for name in names:
        value = getattr(block, name)
        if value is not None:
            extra[name] = value
    return extra or NOTHING


# What else is asked.

TOOL_EXTRA = (
    "cache_control",
    "allowed_callers",
    "defer_loading",
    "eager_input_streaming",
    "input_examples",
)


def _is_custom(tool: WireTool) -> bool:
    return tool.type is None or tool.type == "custom"


def _tools(asked: WireRequest) -> Iterator[Tool]:
    for number, tool in enumerate(asked.tools or ()):
        if not _is_custom(tool):
            continue
        for field in ("name", "input_schema"):
            if getattr(tool, field) is None:
                param = f"tools[{number}].{field}"
                raise BadRequest(f"{param}: this field is required.", param=param)
        yield Tool(
            name=tool.name or "",
            description=tool.description or "",
            schema=tool.input_schema or {},
            strict=tool.strict,
            extra=_extra(tool, TOOL_EXTRA),
        )


def _tool_choice(choice: WireToolChoice | None) -> ToolChoice | None:
    if choice is None or choice.type not in CHOICES:
        return None
    if choice.type == "tool" and not choice.name:
        raise BadRequest("tool_choice.name: this field is required.", param="tool_choice.name")
    return ToolChoice(
        mode=CHOICES[choice.type],
        name=choice.name or "",
        parallel=not choice.disable_parallel_tool_use,
    )


def _output(asked: WireRequest) -> OutputFormat | None:
    wanted = asked.output_config and asked.output_config.format
    if not wanted or wanted.type != "json_schema":
        return None
    if wanted.schema is None:
        param = "output_config.format.schema"
        raise BadRequest(f"{param}: this field is required.", param=param)
    return OutputFormat("json_schema", schema=wanted.schema)


def _thinking(asked: WireRequest) -> Thinking | None:
    said = asked.thinking
    effort = asked.output_config and EFFORTS.get(asked.output_config.effort)
    if said is None:
        return Thinking(effort) if effort else None
    return Thinking(
        effort=effort or None,
        budget_tokens=said.budget_tokens,
        enabled=THINKS.get(said.type),
        show=SHOWS.get(said.display),
    )


def _bound(asked: WireRequest, names: Mapping[str, Raw]) -> Iterator[str]:
    """What only this dialect can honour, words newer than this file included."""
    yield from (name for name in names if name in BOUND)
    yield from (f"tools.{tool.type}" for tool in asked.tools or () if not _is_custom(tool))
    output = asked.output_config
    if asked.max_tokens == 0:  # fills the prompt cache, answers nothing
        yield "max_tokens"
    if asked.tool_choice and asked.tool_choice.type not in CHOICES:
        yield "tool_choice"
    if asked.thinking and asked.thinking.type not in THINKS:
        yield "thinking"
    if output and output.effort and output.effort not in EFFORTS:
        yield "output_config.effort"
    if output and output.format and output.format.type != "json_schema":
        yield "output_config.format"
