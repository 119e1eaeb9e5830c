"""A caller's Chat Completions request."""

from typing import Any

import msgspec
import pytest

from dialects.cases import request_as_data
from dialects.openai_cases import GOLDEN
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.types.chat import Foreign, Message, Text, Tool, ToolCall
from fairlead.types.errors import BadRequest

HI = [{"role": "user", "content": "Hi"}]


def parse(**fields: Any) -> Any:
    body = {"model": "m", "messages": HI, **fields}
    return OPENAI_CHAT.parse_request(msgspec.json.encode(body), {})


@pytest.mark.parametrize("case", GOLDEN.cases("request"))
def test_golden(case: str) -> None:
    request = OPENAI_CHAT.parse_request(GOLDEN.wire(case), {})

    assert request_as_data(request) == GOLDEN.neutral(case)
    assert request.body == GOLDEN.wire(case)


def part(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


def assistant(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", **fields}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (part(text="Hi"), "messages[0].content[0].type"),
        (part(type="text"), "messages[0].content[0].text"),
        (part(type="text", text=5), "messages[0].content[0].text"),
        (part(type="image_url"), "messages[0].content[0].image_url"),
        (part(type="image_url", image_url={}), "messages[0].content[0].image_url.url"),
        (
            part(type="image_url", image_url={"url": "data:image/png,xyz"}),
            "messages[0].content[0].image_url.url",
        ),
        (assistant(tool_calls=[{"id": "1"}]), "messages[0].tool_calls[0].function"),
        (
            assistant(tool_calls=[{"function": {"name": "f"}}]),
            "messages[0].tool_calls[0].id",
        ),
        (
            assistant(tool_calls=[{"id": "1", "function": {"name": ""}}]),
            "messages[0].tool_calls[0].function.name",
        ),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": "100"}, "max_completion_tokens"),
        ({"temperature": "warm"}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"stop": [1]}, "stop[0]"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        (
            {"tools": [{"function": {"name": "f", "parameters": "x"}}]},
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function.name"),
        ({"tool_choice": {"type": "function", "function": 1}}, "tool_choice.function"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {}}, "response_format.type"),
        ({"metadata": {"fairlead.zone": ""}}, "metadata.fairlead.zone"),
        ({"metadata": "x"}, "metadata"),
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
        b'{"model":"m","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"x":{"\xff":1}}',
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":NaN}',
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"x":' + b"[" * 100_000,
    ],
    ids=["empty", "truncated", "list", "not UTF-8", "not UTF-8 further in", "NaN", "deep"],
)
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(BadRequest, match="The body"):
        OPENAI_CHAT.parse_request(body, {})


def test_bug_11_a_responses_body_is_told_what_is_served() -> None:
    with pytest.raises(BadRequest, match="not served; send `messages`") as caught:
        OPENAI_CHAT.parse_request(b'{"model":"m","input":"Hi"}', {})

    assert caught.value.param == "messages"


@pytest.mark.parametrize("behind", [b"]", b',"a":1', b"}" * 2])
def test_a_body_without_messages_that_is_no_json_either(behind: bytes) -> None:
    with pytest.raises(BadRequest, match="messages: this field is required"):
        OPENAI_CHAT.parse_request(b'{"model":"m"}' + behind, {})


def test_bug_11_flat_and_nested_tools_may_be_mixed() -> None:
    flat = {"type": "function", "name": "a", "parameters": {"type": "object"}}
    nested = {"type": "function", "function": {"name": "b", "description": "B."}}

    assert parse(tools=[flat, nested]).tools == (
        Tool("a", "", {"type": "object"}),
        Tool("b", "B.", {}),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 20}, 20),
        ({"max_tokens": 10, "max_completion_tokens": 20}, 20),
    ],
)
def test_bug_13_the_newer_name_of_the_limit_wins(
    fields: dict[str, int], expected: int | None
) -> None:
    assert parse(**fields).max_output_tokens == expected


@pytest.mark.parametrize(
    ("message", "bound"),
    [
        ({"role": "function", "name": "f", "content": "1"}, "messages[0].role=function"),
        ({"role": "assistant", "function_call": {"name": "f"}}, "messages[0].function_call"),
        ({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio"),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "custom": {}}]},
            "messages[0].tool_calls[0].type=custom",
        ),
        (
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "file"}]},
            "messages[0].content",
        ),
    ],
)
def test_what_only_this_dialect_has_binds_the_request(message: Any, bound: str) -> None:
    assert parse(messages=[message]).bound == (bound,)


@pytest.mark.parametrize("name", ["annotations", "prefix", "reasoning_details", "name", "strange"])
def test_what_a_message_may_lose_is_loose(name: str) -> None:
    message = {"role": "assistant", "content": "Hi", name: "x" if name == "name" else True}

    assert parse(messages=[message]).loose == (f"messages.{name}",)


@pytest.mark.parametrize(
    ("fields", "loose"),
    [
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"stream_options": {"strange": 1}}, "stream_options.strange"),
        ({"response_format": {"type": "text", "strange": 1}}, "response_format.strange"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {}, "description": "d"},
                }
            },
            "response_format.description",
        ),
        (
            {"messages": [{"role": "user", "content": "Hi", "strange": {"a": 1}}]},
            "messages.strange",
        ),
        ({"strange": 1}, "strange"),
    ],
    ids=str,
)
def test_what_is_not_known_is_loose(fields: dict[str, Any], loose: str) -> None:
    assert parse(**fields).loose == (loose,)


def test_what_is_not_known_of_a_tool_or_a_call_is_carried_with_it() -> None:
    function = {"name": "f", "arguments": "{}", "b": 2}
    call = {"id": "1", "type": "function", "function": function, "index": 0, "a": 1}
    request = parse(
        messages=[{"role": "assistant", "tool_calls": [call]}],
        tools=[{"type": "function", "function": {"name": "f", "d": 4}, "cache_control": {}}],
    )

    assert request.messages[0].parts == (ToolCall("1", "f", "{}", {"a": 1, "b": 2}),)
    assert request.tools == (Tool("f", "", {}, extra={"cache_control": {}, "d": 4}),)
    assert request.loose == ()


def test_a_mistake_beside_what_is_not_known_is_still_named() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(messages=[{"role": "user", "content": 5, "strange": 1}])

    assert caught.value.param == "messages[0].content"


@pytest.mark.parametrize("message", [{"content": None}, {"strange": None, "content": "Hi"}])
def test_null_is_as_good_as_nothing(message: dict[str, Any]) -> None:
    empty: dict[str, Any] = {"name": None, "tool_calls": None, "annotations": [], "audio": None}

    assert parse(messages=[{"role": "assistant", **empty, **message}]).loose == ()


def test_an_unknown_part_is_carried_whole() -> None:
    unknown = {"type": "hologram", "depth": 3}

    assert parse(messages=[{"role": "user", "content": [unknown]}]).messages == (
        Message("user", (Foreign("hologram", unknown),)),
    )


@pytest.mark.parametrize("url", ["https://x.test/a.png", {"url": "https://x.test/a.png"}])
def test_an_image_may_be_a_plain_address(url: Any) -> None:
    (message,) = parse(
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]
    ).messages

    assert message.parts[0].url == "https://x.test/a.png"


def test_an_empty_text_beside_tool_calls_is_not_a_part() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    (message,) = parse(
        messages=[{"role": "assistant", "content": "", "tool_calls": [call]}]
    ).messages

    assert [type(part).__name__ for part in message.parts] == ["ToolCall"]
    assert message.parts[0].arguments == "{", "bug 4: passed on, never repaired"


def test_a_refusal_in_a_list_is_a_text() -> None:
    content = [{"type": "refusal", "refusal": "No."}]

    assert parse(messages=[{"role": "assistant", "content": content}]).messages == (
        Message("assistant", (Text("No."),)),
    )
