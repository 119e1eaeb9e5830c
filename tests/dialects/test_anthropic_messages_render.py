"""Requests of other dialects for an Anthropic Messages endpoint."""

from typing import Any

import msgspec
import pytest

from dialects.anthropic_cases import CALL, JSON, RESULT, SAID, USER, asked, endpoint, turn
from fairlead.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from fairlead.dialects.wire import safe_tool_name
from fairlead.types.chat import (
    Foreign,
    Image,
    Message,
    OutputFormat,
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

HI = (Message("user", (Text("Hi"),)),)
PLAIN = endpoint()
BUDGETED = endpoint("tools", "reasoning", "sampling", max_output_tokens=32_000)
ADAPTIVE = endpoint("tools", "reasoning", max_output_tokens=32_000)


def body_of(request: Request, to: Any = PLAIN, cap: int | None = None) -> Any:
    return msgspec.json.decode(ANTHROPIC_MESSAGES.render_request(request, to, cap).body)


def crossing(**fields: Any) -> Request:
    return asked(**{"dialect": "other", "messages": HI, **fields})


def texts(*said: str) -> dict[str, Any]:
    return turn("user", *({"type": "text", "text": text} for text in said))


# Messages.


def test_what_is_written_at_least() -> None:
    rendered = ANTHROPIC_MESSAGES.render_request(crossing(headers={"x": "y"}), PLAIN, None)

    assert (rendered.path, rendered.headers, rendered.dropped) == ("/messages", JSON, ())
    assert msgspec.json.decode(rendered.body) == {
        "model": "upstream-model",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hi"}],
    }


@pytest.mark.parametrize(
    ("asked", "longest", "cap", "expected"),
    [
        (None, None, None, 4096),
        (None, 9000, None, 9000),
        (None, 9000, 50, 50),
        (20, 9000, 50, 20),
        (20, 10, None, 10),
        (None, None, 50, 50),
    ],
)
def test_how_long_the_answer_may_be(
    asked: int | None, longest: int | None, cap: int | None, expected: int
) -> None:
    to = endpoint(max_output_tokens=longest)

    assert body_of(crossing(max_output_tokens=asked), to, cap)["max_tokens"] == expected


def user(*parts: Any) -> Message:
    return Message("user", parts)


def assistant(*parts: Any) -> Message:
    return Message("assistant", parts)


def results(*parts: Any) -> Message:
    return Message("tool", parts)


PICTURE = Image("image/png", "AA==")
PICTURED = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "AA=="},
}
ASKED, A_CALL = user(Text("Hi")), ToolCall("1", "f", '{"a":1}')
CALLED = turn("assistant", CALL | {"input": {"a": 1}})


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user(Text("a"), Text("b"))], [texts("a", "b")]),
        ([user(Text("a")), user(Text("b"))], [texts("a", "b")]),
        ([user(PICTURE)], [turn("user", PICTURED)]),
        (
            [user(Image(url="http://x"))],
            [turn("user", {"type": "image", "source": {"type": "url", "url": "http://x"}})],
        ),
        (
            [user(Text("a", {"cache_control": {"type": "ephemeral"}}))],
            [turn("user", {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}})],
        ),
        ([ASKED, assistant(Text("Yes \n"))], [USER, {"role": "assistant", "content": "Yes"}]),
        ([ASKED, assistant(Text(" \n"))], [USER]),
        ([ASKED, assistant(A_CALL)], [USER, CALLED]),
        ([ASKED, assistant(ToolCall("1", "f", ""))], [USER, turn("assistant", CALL)]),
        (
            [ASKED, assistant(A_CALL), results(ToolResult("1", (Text("1"),)))],
            [USER, CALLED, turn("user", RESULT)],
        ),
        (
            [
                ASKED,
                assistant(A_CALL),
                results(ToolResult("1", (Text("1"), PICTURE), is_error=True)),
            ],
            [
                USER,
                CALLED,
                turn(
                    "user",
                    RESULT
                    | {"content": [{"type": "text", "text": "1"}, PICTURED], "is_error": True},
                ),
            ],
        ),
        (
            [ASKED, assistant(A_CALL), results(ToolResult("1", ()))],
            [USER, CALLED, turn("user", {"type": "tool_result", "tool_use_id": "1"})],
        ),
        (
            [ASKED, assistant(A_CALL), user(Text("Yes.")), results(ToolResult("1", (Text("1"),)))],
            [USER, CALLED, turn("user", RESULT, SAID)],
        ),
    ],
    ids=[
        "texts",
        "two messages in a row",
        "a picture",
        "a picture's address",
        "a place to cache",
        "a begun answer",
        "a blank text",
        "a call",
        "a call without arguments",
        "a result",
        "an error with a picture",
        "an empty result",
        "results come first",
    ],
)
def test_messages(messages: list[Message], expected: Any) -> None:
    assert body_of(crossing(messages=tuple(messages)))["messages"] == expected


SYSTEM = Message("system", (Text("Be brief."),))


@pytest.mark.parametrize(
    ("messages", "system", "dropped"),
    [
        ([SYSTEM, ASKED], "Be brief.", ()),
        (
            [SYSTEM, SYSTEM, ASKED],
            [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be brief."}],
            (),
        ),
        ([ASKED, SYSTEM], "Be brief.", ("messages.system",)),
        ([Message("system", (Text(" "),)), ASKED], None, ()),
    ],
    ids=["one", "two", "after the first turn", "blank"],
)
def test_a_system_prompt_stands_apart(
    messages: list[Message], system: Any, dropped: tuple[str, ...]
) -> None:
    rendered = ANTHROPIC_MESSAGES.render_request(crossing(messages=tuple(messages)), PLAIN, None)
    body = msgspec.json.decode(rendered.body)

    assert (body.get("system"), body["messages"]) == (system, [USER])
    assert rendered.dropped == dropped


def test_a_system_prompt_alone_is_what_is_asked() -> None:
    body = body_of(crossing(messages=(SYSTEM,)))

    assert body["messages"] == [{"role": "user", "content": "Be brief."}]
    assert "system" not in body


# What else is asked.


@pytest.mark.parametrize(
    ("fields", "expected", "dropped"),
    [
        ({"temperature": 0.5, "top_k": 5}, {"temperature": 0.5, "top_k": 5}, ()),
        ({"temperature": 1.5}, {}, ("temperature",)),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ("top_p",)),
        ({"temperature": 1.5, "top_p": 0.9}, {"top_p": 0.9}, ("temperature",)),
        ({"stop": ("a", "\n")}, {"stop_sequences": ["a"]}, ("stop",)),
        ({"stop": ("a", "b")}, {"stop_sequences": ["a", "b"]}, ()),
        ({"stream": True}, {"stream": True}, ()),
        ({"output": OutputFormat("json_object")}, {}, ("output.json_object",)),
        (
            {"output": OutputFormat("json_schema", "n", {"type": "object"}, True)},
            {
                "output_config": {
                    "format": {
                        "type": "json_schema",
                        "schema": {"type": "object", "additionalProperties": False},
                    }
                }
            },
            (),
        ),
        ({"thinking": Thinking("high")}, {}, ("thinking",)),
        ({"thinking": Thinking(enabled=False)}, {}, ()),
        ({"messages": (user(Text("Hi", {"detail": "low"})),)}, {}, ("messages.detail",)),
        (
            {"messages": (*HI, assistant(Reasoning("Hm.", "sig"), Text("Yes.")))},
            {"messages": [USER, {"role": "assistant", "content": "Yes."}]},
            ("reasoning",),
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_options_and_what_is_left_behind(
    fields: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    rendered = ANTHROPIC_MESSAGES.render_request(crossing(**fields), PLAIN, None)
    least = {"model": "upstream-model", "max_tokens": 4096, "messages": [USER]}

    assert msgspec.json.decode(rendered.body) == {**least, **expected}
    assert rendered.dropped == dropped


def budget(tokens: int, **more: Any) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens, **more}}


def effort(name: str | None = None, **more: Any) -> dict[str, Any]:
    said = {"thinking": {"type": "adaptive", **more}}
    return said | ({"output_config": {"effort": name}} if name else {})


@pytest.mark.parametrize(
    ("thinking", "budgeted", "adaptive"),
    [
        (Thinking("low"), budget(2048), effort("low")),
        (Thinking("minimal"), budget(1024), effort("low")),
        (Thinking("max"), budget(16_000), effort("max")),
        (Thinking(budget_tokens=5000), budget(5000), effort("medium")),
        (Thinking(budget_tokens=5000, enabled=True), budget(5000), effort("medium")),
        (Thinking(enabled=True), budget(8192), effort()),
        (
            Thinking("low", show=True),
            budget(2048, display="summarized"),
            effort("low", display="summarized"),
        ),
        (
            Thinking(enabled=True, show=False),
            budget(8192, display="omitted"),
            effort(display="omitted"),
        ),
        (Thinking(budget_tokens=500), {}, effort("low")),
        (Thinking("none"), {}, {}),
        (Thinking(enabled=False), {}, {}),
        (Thinking(), {}, {}),
    ],
    ids=str,
)
def test_thinking(thinking: Thinking, budgeted: Any, adaptive: Any) -> None:
    """Models that take no sampling think adaptively; the others within a budget."""
    for to, expected in ((BUDGETED, budgeted), (ADAPTIVE, adaptive)):
        body = body_of(crossing(thinking=thinking), to)

        said = {name: body[name] for name in ("thinking", "output_config") if name in body}
        assert said == expected


@pytest.mark.parametrize(
    ("fields", "to", "dropped"),
    [
        ({"thinking": Thinking("none")}, ADAPTIVE, ("thinking",)),
        ({"thinking": Thinking(budget_tokens=500)}, BUDGETED, ("thinking",)),
        ({"max_output_tokens": 2000, "thinking": Thinking("high")}, BUDGETED, ("thinking",)),
        (
            {
                "thinking": Thinking("high"),
                "tools": (Tool("f", "", {}),),
                "tool_choice": ToolChoice("required"),
            },
            BUDGETED,
            ("thinking",),
        ),
        (
            {
                "thinking": Thinking("high"),
                "messages": (*HI, assistant(A_CALL), results(ToolResult("1", ()))),
            },
            BUDGETED,
            ("thinking",),
        ),
        ({"thinking": Thinking("low"), "temperature": 0.5}, BUDGETED, ("temperature",)),
        (
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5},
            ADAPTIVE,
            ("temperature", "top_p", "top_k"),
        ),
    ],
    ids=[
        "it always thinks",
        "too small a budget",
        "no room for a budget",
        "a tool is forced",
        "a turn that called tools",
        "no sampling while it thinks",
        "no sampling at all",
    ],
)
def test_what_does_not_go_together(fields: Any, to: Any, dropped: tuple[str, ...]) -> None:
    rendered = ANTHROPIC_MESSAGES.render_request(crossing(**fields), to, None)

    assert rendered.dropped == dropped
    assert not msgspec.json.decode(rendered.body).keys() & set(dropped)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        (ToolChoice(), {"type": "auto"}),
        (ToolChoice("none", parallel=False), {"type": "none"}),
        (
            ToolChoice("required", parallel=False),
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        (ToolChoice("named", "f"), {"type": "tool", "name": "f"}),
    ],
    ids=str,
)
def test_tool_choice(choice: ToolChoice | None, expected: Any) -> None:
    tools = (Tool("f", "", {}),)

    assert body_of(crossing(tools=tools, tool_choice=choice)).get("tool_choice") == expected


def test_tools() -> None:
    tools = (
        Tool("f", "Does f.", {"properties": {}}, strict=True),
        Tool("g", "", {"type": "object"}, extra={"cache_control": {}, "odd": 1}),
    )
    rendered = ANTHROPIC_MESSAGES.render_request(crossing(tools=tools), PLAIN, None)

    assert msgspec.json.decode(rendered.body)["tools"] == [
        {
            "name": "f",
            "description": "Does f.",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
        },
        {"name": "g", "input_schema": {"type": "object"}, "cache_control": {}},
    ]
    assert rendered.dropped == ("tools.odd",)


def test_calls_without_tools_get_tools_that_are_not_called() -> None:
    messages = (*HI, assistant(A_CALL, ToolCall("2", "f", "{}")), results(ToolResult("1", ())))
    body = body_of(crossing(messages=messages))

    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


def test_names_that_vendors_refuse_have_stand_ins_everywhere() -> None:
    name = "mcp.server/" + "x" * 64
    safe = safe_tool_name(name)
    body = body_of(
        crossing(
            messages=(
                *HI,
                assistant(ToolCall("call|1", name, "{}")),
                results(ToolResult("call|1", ())),
            ),
            tools=(Tool(name, "", {}),),
            tool_choice=ToolChoice("named", name),
        )
    )
    call, result = body["messages"][1]["content"][0], body["messages"][2]["content"][0]

    assert body["tools"][0]["name"] == body["tool_choice"]["name"] == call["name"] == safe
    assert call["id"] == result["tool_use_id"] == safe_tool_name("call|1")


def test_a_schema_closes_its_objects_unless_it_says_otherwise() -> None:
    schema = {
        "type": "object",
        "properties": {
            "open": {"type": "object", "additionalProperties": True},
            "list": {"type": "array", "items": {"type": "object"}},
            "data": {"const": {"type": "object"}},
        },
        "anyOf": [{"type": "object"}],
    }
    closed = {"type": "object", "additionalProperties": False}
    body = body_of(crossing(output=OutputFormat("json_schema", schema=schema)))

    assert body["output_config"]["format"]["schema"] == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "open": {"type": "object", "additionalProperties": True},
            "list": {"type": "array", "items": closed},
            "data": {"const": {"type": "object"}},
        },
        "anyOf": [closed],
    }


def test_a_schema_that_is_nested_too_deep_is_refused() -> None:
    schema: Any = {}
    for _ in range(600):
        schema = {"items": schema}

    with pytest.raises(BadRequest, match="nested too deep"):
        body_of(crossing(output=OutputFormat("json_schema", schema=schema)))


def test_an_effort_and_a_format_stand_side_by_side() -> None:
    output = OutputFormat("json_schema", schema={"type": "string"})
    body = body_of(crossing(output=output, thinking=Thinking("low")), ADAPTIVE)

    assert body["output_config"].keys() == {"effort", "format"}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"bound": ("n",)}, "n: only other endpoints"),
        ({"messages": (user(Foreign("audio", {})),)}, "'audio' cannot cross"),
        ({"messages": (*HI, assistant(ToolCall("1", "f", "{")))}, "arguments of the call of 'f'"),
        ({"messages": (*HI, assistant(ToolCall("1", "f", "[1]")))}, "arguments of the call of 'f'"),
        ({"messages": (user(Text(" ")),)}, "all of them are empty"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_cross_is_refused_by_name(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint) as caught:
        ANTHROPIC_MESSAGES.render_request(crossing(**fields), PLAIN, None)

    assert caught.value.param
