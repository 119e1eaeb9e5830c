"""A caller's Anthropic request."""

from typing import Any

import msgspec
import pytest

from dialects.anthropic_cases import GOLDEN, NEWER
from dialects.cases import request_as_data
from fairlead.dialects.anthropic_messages import ANTHROPIC_COUNT, ANTHROPIC_MESSAGES
from fairlead.types.chat import (
    Foreign,
    Image,
    Message,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from fairlead.types.errors import BadRequest

HI = [{"role": "user", "content": "Hi"}]
OLDER = {"anthropic-version": "2023-06-01"}


def parse(headers: Any = OLDER, **fields: Any) -> Any:
    body = {"model": "m", "max_tokens": 9, "messages": HI, **fields}
    return ANTHROPIC_MESSAGES.parse_request(msgspec.json.encode(body), headers)


@pytest.mark.parametrize("case", GOLDEN.cases("request"))
def test_golden(case: str) -> None:
    headers = GOLDEN.neutral(case).get("headers", {})
    request = ANTHROPIC_MESSAGES.parse_request(GOLDEN.wire(case), headers)

    assert request_as_data(request) == GOLDEN.neutral(case)
    assert request.body == GOLDEN.wire(case)


def block(role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": [fields]}]}


AT = "messages[0].content[0]"
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
RESULT: dict[str, Any] = {"type": "tool_result", "tool_use_id": "1"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [*HI, {"role": "user", "content": ["Hi"]}]}, "messages[1].content[0]"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "text"}]}, "system[0].text"),
        (block(text="Hi"), f"{AT}.type"),
        (block(type="text"), f"{AT}.text"),
        (block(type="text", text=5), f"{AT}.text"),
        (block(type="image"), f"{AT}.source"),
        (block(type="image", source={"type": "base64"}), f"{AT}.source.data"),
        (block(type="image", source={"type": "url"}), f"{AT}.source.url"),
        (block("assistant", type="tool_use", id="1", input={}), f"{AT}.name"),
        (block("assistant", type="tool_use", id="1", name="f"), f"{AT}.input"),
        (block("assistant", type="tool_use", id="1", name="f", input="{}"), f"{AT}.input"),
        (block(type="tool_result", content="1"), f"{AT}.tool_use_id"),
        (block(**RESULT, content=5), f"{AT}.content"),
        (block(**RESULT, content=[{"type": "text"}]), f"{AT}.content[0].text"),
        (block("assistant", type="thinking"), f"{AT}.thinking"),
        (block("assistant", type="redacted_thinking"), f"{AT}.data"),
        ({"temperature": "warm"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"type": "custom", "name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "f", "input_schema": "x"}]}, "tools[0].input_schema"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"budget_tokens": 5}}, "thinking.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"fairlead.zone": ""}}, "metadata.fairlead.zone"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(**fields)

    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"\xff"}]}]}',
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hi"}],"x":{"\xff":1}}',
        b'{"model":"m","messages":[],"x":' + b"[" * 100_000,
    ],
    ids=[
        *("empty", "truncated", "list", "not UTF-8", "not UTF-8 in a block"),
        *("not UTF-8 further in", "deep"),
    ],
)
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(BadRequest, match="The body"):
        ANTHROPIC_MESSAGES.parse_request(body, OLDER)


# Messages.


@pytest.mark.parametrize(
    ("role", "value", "expected"),
    [
        ("user", {"type": "text", "text": "Hi"}, Text("Hi")),
        (
            "user",
            {"type": "text", "text": "Hi", "cache_control": {}, "citations": None, "odd": 1},
            Text("Hi", {"cache_control": {}, "odd": 1}),
        ),
        ("user", IMAGE, Image("image/png", "AA==")),
        (
            "user",
            {"type": "image", "source": {"type": "url", "url": "http://x"}, "cache_control": {}},
            Image(url="http://x", extra={"cache_control": {}}),
        ),
        ("assistant", {"type": "thinking", "thinking": "Hm."}, Reasoning("Hm.")),
        (
            "assistant",
            {"type": "thinking", "thinking": "", "signature": "sig"},
            Reasoning("", "sig"),
        ),
        (
            "assistant",
            {"type": "redacted_thinking", "data": "x"},
            Reasoning("", "x", redacted=True),
        ),
        (
            "assistant",
            {"type": "document", "source": {}},
            Foreign("document", {"type": "document", "source": {}}),
        ),
        (
            "user",
            {"type": "hologram", "depth": 3},
            Foreign("hologram", {"type": "hologram", "depth": 3}),
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_blocks(role: str, value: Any, expected: Any) -> None:
    assert parse(messages=[{"role": role, "content": [value]}]).messages == (
        Message(role, (expected,)),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("fields", "loose"),
    [
        ({"messages": [{"role": "user", "content": "Hi", "odd": 1}]}, "messages.odd"),
        ({"tools": [{"name": "f", "input_schema": {}, "odd": 1}]}, "tools.odd"),
        ({"tool_choice": {"type": "auto", "odd": 1}}, "tool_choice.odd"),
        ({"thinking": {"type": "disabled", "odd": 1}}, "thinking.odd"),
        ({"output_config": {"effort": "low", "odd": 1}}, "output_config.odd"),
        ({"odd": 1}, "odd"),
    ],
    ids=str,
)
def test_what_is_not_known_is_loose(fields: dict[str, Any], loose: str) -> None:
    assert parse(**fields).loose == (loose,)


def test_a_call_with_members_that_are_not_known_keeps_its_letters() -> None:
    block = b'{"type":"tool_use","id":"1","name":"f","input":{ "a": 1.50 },"caller":{"type":"x"}}'
    body = b'{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[%b]}]}' % block
    (message,) = ANTHROPIC_MESSAGES.parse_request(body, {}).messages

    assert message.parts == (ToolCall("1", "f", '{ "a": 1.50 }', {"caller": {"type": "x"}}),)


def test_the_arguments_of_a_call_keep_their_letters() -> None:
    body = (
        b'{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"tool_use",'
        rb'"id":"1","name":"f","input":{ "a": 2.50, "b": "\u00e9" }}]}]}'
    )
    (message,) = ANTHROPIC_MESSAGES.parse_request(body, OLDER).messages

    assert message.parts == (ToolCall("1", "f", r'{ "a": 2.50, "b": "\u00e9" }'),)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, ToolResult("1", ())),
        ("a", ToolResult("1", (Text("a"),))),
        ("", ToolResult("1", ())),
        (
            [{"type": "text", "text": "a"}, IMAGE],
            ToolResult("1", (Text("a"), Image("image/png", "AA=="))),
        ),
    ],
    ids=["nothing", "a text", "an empty text", "a list"],
)
def test_tool_results(content: Any, expected: ToolResult) -> None:
    assert parse(**block(**RESULT, content=content)).messages == (Message("tool", (expected,)),)


def test_a_tool_result_with_what_no_other_dialect_has_is_carried_whole() -> None:
    result = {**RESULT, "content": [{"type": "document", "source": {}}]}

    assert parse(**block(**result)).messages == (
        Message("user", (Foreign("tool_result.document", result),)),
    )


def test_a_result_within_a_result_is_not_looked_into() -> None:
    """None has a place there, and each would be read as often as it is deep."""
    result = {**RESULT, "content": [{"type": "tool_result", "content": [{"type": 5}]}]}

    assert parse(**block(**result)).messages == (
        Message("user", (Foreign("tool_result.tool_result", result),)),
    )


def test_tool_results_stand_in_messages_of_their_own() -> None:
    content = [
        {**RESULT, "content": "a"},
        {**RESULT, "content": "b"},
        {"type": "text", "text": "c"},
    ]

    assert parse(messages=[{"role": "user", "content": content}]).messages == (
        Message("tool", (ToolResult("1", (Text("a"),)), ToolResult("1", (Text("b"),)))),
        Message("user", (Text("c"),)),
    )


def test_thinking_that_a_crossing_marked_comes_back_unsigned() -> None:
    marked: dict[str, Any] = {
        "type": "thinking",
        "thinking": "Hm.",
        "signature": "fairlead-unsigned",
    }

    assert parse(**block("assistant", **marked)).messages[0].parts == (Reasoning("Hm."),)


@pytest.mark.parametrize("system", [None, "", []])
def test_no_system_prompt_is_no_message(system: Any) -> None:
    assert parse(system=system).messages == (Message("user", (Text("Hi"),)),)


def test_a_system_message_may_stand_between_turns() -> None:
    assert parse(messages=[*HI, {"role": "system", "content": "Be brief."}]).messages == (
        Message("user", (Text("Hi"),)),
        Message("system", (Text("Be brief."),)),
    )


# What else is asked.


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ({"type": "auto"}, ToolChoice()),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "tool", "name": "f"}, ToolChoice("named", "f")),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(parallel=False)),
    ],
    ids=str,
)
def test_tool_choice(choice: Any, expected: ToolChoice | None) -> None:
    assert parse(tool_choice=choice).tool_choice == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"output_config": {}}, None),
        ({"thinking": {"type": "disabled"}}, Thinking(enabled=False)),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Thinking(None, 2000, True)),
        ({"thinking": {"type": "adaptive"}}, Thinking(enabled=True)),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            Thinking(enabled=True, show=True),
        ),
        ({"output_config": {"effort": "low"}}, Thinking("low")),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            Thinking("max", enabled=True),
        ),
    ],
    ids=str,
)
def test_thinking(fields: dict[str, Any], expected: Thinking | None) -> None:
    assert parse(**fields).thinking == expected


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({"mcp_servers": []}, "mcp_servers"),
        ({"container": None}, "container"),
        ({"context_management": {}}, "context_management"),
        ({"fallbacks": []}, "fallbacks"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.bash_20250124"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice"),
        ({"thinking": {"type": "dreaming"}}, "thinking"),
        ({"output_config": {"effort": "ludicrous"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format"),
    ],
    ids=str,
)
def test_what_only_this_dialect_has_binds_the_request(fields: Any, bound: str) -> None:
    assert parse(**fields).bound == (bound,)


def test_what_may_be_left_behind_is_loose() -> None:
    fields = {"service_tier": "auto", "speed": "fast", "metadata": {"user_id": "u"}}

    assert parse(**fields).loose == ("service_tier", "speed", "metadata.user_id")


def test_a_tool_keeps_what_only_this_dialect_has() -> None:
    tool = {"name": "f", "input_schema": {}, "defer_loading": True, "cache_control": {"ttl": "1h"}}

    assert parse(tools=[tool]).tools == (
        Tool("f", "", {}, extra={"cache_control": {"ttl": "1h"}, "defer_loading": True}),
    )


# Versions.


def test_the_headers_of_the_dialect_go_on_and_no_other() -> None:
    headers = {**OLDER, "anthropic-beta": "a,b", "x-api-key": "k", "user-agent": "u"}

    assert parse(headers).headers == {**OLDER, "anthropic-beta": "a,b"}


def test_a_version_that_nobody_knows_is_refused() -> None:
    with pytest.raises(BadRequest, match="2023-06-01 and 2026-10-21") as caught:
        parse({"anthropic-version": "2019-01-01"})

    assert caught.value.param == "anthropic-version"


CITED: dict[str, Any] = {"type": "text", "text": "Hi", "citations": [{"type": "char_location"}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 1.0}, "temperature"),
        ({"top_p": 1.0}, "top_p"),
        ({"top_k": 1}, "top_k"),
        (block("assistant", type="document", source={}), AT),
        (block(**CITED), AT),
    ],
    ids=lambda value: str(value)[:50],
)
def test_the_newer_version_refuses_what_the_older_took(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(NEWER, **fields)

    assert caught.value.param == param
    assert param in caught.value.message
    assert parse(OLDER, **fields)
    assert parse({}, **fields), "no header is the older version"


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": None},
        block(type="document", source={}),
        block(type="text", text="Hi", citations=[]),
        block("assistant", **CITED),
    ],
    ids=["nothing said", "a user's document", "no citations", "the model's citations"],
)
def test_and_takes_all_else(fields: Any) -> None:
    assert parse(NEWER, **fields)


# Counting.


def test_a_count_needs_no_limit_and_is_never_streamed() -> None:
    body = msgspec.json.encode({"model": "m", "messages": HI, "stream": True})
    request = ANTHROPIC_COUNT.parse_request(body, OLDER)

    assert (request.operation, request.dialect) == ("count", "anthropic_messages")
    assert (request.max_output_tokens, request.stream) == (None, False)
