"""Requests for a Chat Completions endpoint."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.openai_cases import GOLDEN, asked, endpoint
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.dialects.wire import safe_tool_name
from fairlead.types.chat import (
    Foreign,
    Image,
    Message,
    Narrowing,
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
REASONING = endpoint("system", "stream", "tools", "reasoning")
PLAIN = endpoint()


def body_of(request: Request, to: Any = PLAIN, cap: int | None = None) -> Any:
    return msgspec.json.decode(OPENAI_CHAT.render_request(request, to, cap).body)


def crossing(**fields: Any) -> Request:
    return asked(**{"dialect": "other", "messages": HI, **fields})


# The same dialect.


def own(body: bytes) -> Request:
    return OPENAI_CHAT.parse_request(body, {})


@pytest.mark.parametrize("case", GOLDEN.cases("request"))
def test_nothing_to_change_gives_the_same_bytes(case: str) -> None:
    request = msgspec.structs.replace(own(GOLDEN.wire(case)), narrowing=Narrowing())
    rendered = OPENAI_CHAT.render_request(request, endpoint(model=request.model), None)

    assert rendered.path == "/chat/completions"
    assert rendered.body is request.body
    assert rendered.headers == {"content-type": "application/json"}


MESSAGES = rb'[ {"role": "user", "content": "\u00e9", "odd": 1.50 } ]'


@pytest.mark.parametrize(
    ("before", "cap", "after"),
    [
        pytest.param(b'"model":"auto"', None, b'"model":"upstream-model"', id="model"),
        pytest.param(b'"model":"auto"', 50, b'"model":"upstream-model"|"max_tokens":50', id="cap"),
        pytest.param(
            b'"model":"auto","max_tokens":80',
            50,
            b'"model":"upstream-model","max_tokens":50',
            id="cap under the older name",
        ),
        pytest.param(
            b'"model":"auto","max_completion_tokens":80',
            50,
            b'"model":"upstream-model","max_completion_tokens":50',
            id="cap under the newer name",
        ),
        pytest.param(
            b'"model":"auto","max_tokens":90,"max_completion_tokens":80',
            50,
            b'"model":"upstream-model","max_tokens":50,"max_completion_tokens":50',
            id="cap under both names",
        ),
        pytest.param(
            b'"model":"auto","max_tokens":20',
            50,
            b'"model":"upstream-model","max_tokens":20',
            id="a cap never raises",
        ),
        pytest.param(
            b'"model":"auto","metadata":{"fairlead.zone":"eu"}',
            None,
            b'"model":"upstream-model"',
            id="our metadata alone",
        ),
        pytest.param(
            rb'"model":"auto","metadata":{"fair\u006cead.zone":"eu","team":"docs"}',
            None,
            b'"model":"upstream-model","metadata":{"team":"docs"}',
            id="our metadata among others",
        ),
        pytest.param(
            b'"model":"auto","stream":true',
            None,
            b'"model":"upstream-model","stream":true|"stream_options":{"include_usage":true}',
            id="bug 14: usage is always asked for",
        ),
        pytest.param(
            b'"model":"auto","stream":true,"stream_options":{"include_obfuscation":false}',
            None,
            b'"model":"upstream-model","stream":true,'
            b'"stream_options":{"include_obfuscation":false,"include_usage":true}',
            id="bug 14: beside other options",
        ),
        pytest.param(
            b'"model":"auto","stream":true,"stream_options":null',
            None,
            b'"model":"upstream-model","stream":true,"stream_options":{"include_usage":true}',
            id="bug 14: instead of null",
        ),
    ],
)
def test_only_what_must_change_changes(before: bytes, cap: int | None, after: bytes) -> None:
    request = own(b"{" + before + b',"messages":' + MESSAGES + b',"zzz":{ }}')
    changed, _, added = after.partition(b"|")
    rendered = OPENAI_CHAT.render_request(request, PLAIN, cap)

    rest = b',"messages":' + MESSAGES + b',"zzz":{ }' + (b"," + added if added else b"")
    assert rendered.body == b"{" + changed + rest + b"}"
    assert rendered.dropped == ()


def test_bug_13_a_reasoning_model_is_capped_by_the_newer_name() -> None:
    request = own(b'{"model":"upstream-model","messages":' + MESSAGES + b"}")

    assert body_of(request, REASONING, 50)["max_completion_tokens"] == 50


# From another dialect.


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("system", (Text("Be brief."),)), [{"role": "system", "content": "Be brief."}]),
        (
            Message("user", (Text("a"), Text("b"))),
            [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                }
            ],
        ),
        (
            Message(
                "user", (Image("image/png", "AA=="), Image(url="http://x", extra={"detail": "low"}))
            ),
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                        {"type": "image_url", "image_url": {"url": "http://x", "detail": "low"}},
                    ],
                }
            ],
        ),
        (Message("assistant", ()), [{"role": "assistant", "content": ""}]),
        (
            Message("assistant", (ToolCall("1", "f", "{"),)),
            [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{"},
                        }
                    ],
                }
            ],
        ),
        (
            Message(
                "tool",
                (
                    ToolResult("1", (Text("a"), Image("image/png", "AA=="))),
                    ToolResult("2", ()),
                ),
            ),
            [
                {"role": "tool", "tool_call_id": "1", "content": "a"},
                {"role": "tool", "tool_call_id": "2", "content": ""},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
                    ],
                },
            ],
        ),
    ],
    ids=["system", "texts", "images", "empty assistant", "bug 4: half a call", "tool results"],
)
def test_messages(message: Message, expected: list[Any]) -> None:
    assert body_of(crossing(messages=(message,)))["messages"] == expected


@pytest.mark.parametrize(
    ("fields", "expected", "dropped"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, ()),
        ({"top_k": 5}, {}, ("top_k",)),
        ({"stop": ("a", "b")}, {"stop": ["a", "b"]}, ()),
        ({"max_output_tokens": 9}, {"max_tokens": 9}, ()),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, ()),
        ({"output": OutputFormat("json_object")}, {"response_format": {"type": "json_object"}}, ()),
        (
            {"output": OutputFormat("json_schema", "n", {"type": "object"}, True)},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
                }
            },
            (),
        ),
        ({"thinking": Thinking("high")}, {}, ("thinking",)),
        ({"thinking": Thinking(enabled=True)}, {}, ("thinking",)),
        ({"thinking": Thinking(enabled=False)}, {}, ()),
        ({"tool_choice": ToolChoice("required")}, {}, ("tool_choice",)),
        (
            {"messages": (Message("user", (Text("Hi", {"cache_control": {}}),)),)},
            {},
            ("messages.cache_control",),
        ),
        (
            {"messages": (*HI, Message("assistant", (Reasoning("Hm.", "sig"), Text("Yes"))))},
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Yes"},
                ]
            },
            ("reasoning",),
        ),
        (
            {"messages": (Message("tool", (ToolResult("1", (Text("x"),), is_error=True),)),)},
            {"messages": [{"role": "tool", "tool_call_id": "1", "content": "x"}]},
            ("messages.is_error",),
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_options_and_what_is_left_behind(
    fields: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    rendered = OPENAI_CHAT.render_request(crossing(**fields), PLAIN, None)
    hi = [{"role": "user", "content": "Hi"}]

    assert msgspec.json.decode(rendered.body) == {
        "model": "upstream-model",
        "messages": hi,
        **expected,
    }
    assert rendered.dropped == dropped


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        (Thinking("xhigh"), "xhigh"),
        (Thinking(budget_tokens=1024), "low"),
        (Thinking(budget_tokens=8000), "medium"),
        (Thinking(budget_tokens=32000), "high"),
        (Thinking("low", budget_tokens=32000), "low"),
        (Thinking(enabled=False), "none"),
        (Thinking(enabled=True), None),
    ],
)
def test_thinking_becomes_an_effort(thinking: Thinking, expected: str | None) -> None:
    assert body_of(crossing(thinking=thinking), REASONING).get("reasoning_effort") == expected


def test_bug_13_sampling_and_the_limit_fit_a_reasoning_model() -> None:
    request = crossing(temperature=0.5, top_p=0.9, max_output_tokens=100)
    rendered = OPENAI_CHAT.render_request(request, REASONING, 40)

    assert rendered.dropped == ("temperature", "top_p")
    assert msgspec.json.decode(rendered.body)["max_completion_tokens"] == 40
    assert "temperature" not in msgspec.json.decode(rendered.body)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice(), {"tool_choice": "auto"}),
        (ToolChoice("none"), {"tool_choice": "none"}),
        (
            ToolChoice("required", parallel=False),
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            ToolChoice("named", "f"),
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
    ],
)
def test_tool_choice(choice: ToolChoice, expected: dict[str, Any]) -> None:
    body = body_of(crossing(tools=(Tool("f", "", {}),), tool_choice=choice))

    assert {key: value for key, value in body.items() if key in expected} == expected


def test_bug_13_tool_names_that_vendors_refuse_have_stand_ins_everywhere() -> None:
    name = "mcp.server/" + "x" * 64
    safe = safe_tool_name(name)
    body = body_of(
        crossing(
            messages=(*HI, Message("assistant", (ToolCall("1", name, "{}"),))),
            tools=(Tool(name, "", {}),),
            tool_choice=ToolChoice("named", name),
        )
    )

    assert body["tools"][0]["function"]["name"] == safe
    assert body["tool_choice"]["function"]["name"] == safe
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == safe
    assert len(safe) == 64


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"bound": ("container",)}, "container: only other endpoints"),
        ({"stop": ("a", "b", "c", "d", "e")}, "stop: at most 4"),
        ({"messages": (Message("user", (Foreign("document", {}),)),)}, "'document' cannot cross"),
        ({"messages": (Message("user", (ToolResult("1", ()),)),)}, "'ToolResult' cannot cross"),
        ({"messages": (Message("tool", (Foreign("x", {}),)),)}, "'x' cannot cross"),
    ],
)
def test_what_cannot_cross_is_refused_by_name(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint) as caught:
        OPENAI_CHAT.render_request(crossing(**fields), PLAIN, None)

    assert caught.value.param


# There and back.

texts = st.text(min_size=1, max_size=20)
text_parts = st.builds(Text, texts)
image_parts = st.builds(Image, st.just("image/png"), st.just("AA==")) | st.builds(
    Image, url=st.just("https://x.test/a.png"), extra=st.sampled_from([{}, {"detail": "low"}])
)
calls = st.builds(ToolCall, texts, st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), texts)
results = st.builds(ToolResult, texts, st.tuples(text_parts))
messages = st.one_of(
    st.builds(Message, st.just("system"), st.tuples(text_parts)),
    st.builds(Message, st.just("user"), st.lists(text_parts | image_parts, min_size=1).map(tuple)),
    st.builds(
        lambda said, made: Message("assistant", (*said, *made)),
        st.lists(text_parts, max_size=2),
        st.lists(calls, max_size=2),
    ),
)
turns = st.lists(
    messages | st.builds(Message, st.just("tool"), st.lists(results, min_size=1).map(tuple)),
    min_size=1,
    max_size=5,
).filter(lambda said: all(a.role != "tool" or b.role != "tool" for a, b in pairwise(said)))
requests = st.builds(
    Request,
    dialect=st.just("other"),
    model=st.just("upstream-model"),
    body=st.just(b""),
    messages=turns.map(tuple),
    stream=st.booleans(),
    include_usage=st.just(True),
    max_output_tokens=st.none() | st.integers(1, 10**6),
    temperature=st.none() | st.floats(0, 2),
    stop=st.lists(texts, max_size=4).map(tuple),
    tools=st.lists(
        st.builds(
            Tool, st.just("f"), texts, st.just({"type": "object"}), st.none() | st.booleans()
        ),
        max_size=2,
    ).map(tuple),
    output=st.none()
    | st.builds(OutputFormat, st.just("json_schema"), texts, st.just({"type": "object"})),
)


@given(requests)
def test_what_is_written_is_read_back(request: Request) -> None:
    back = own(OPENAI_CHAT.render_request(request, PLAIN, None).body)

    assert back == msgspec.structs.replace(
        request, dialect="openai_chat", body=back.body, include_usage=request.stream
    )


@pytest.mark.parametrize("case", ["request_text", "request_settings", "request_agent"])
def test_golden_conversations_survive_a_crossing(case: str) -> None:
    before = own(GOLDEN.wire(case))
    foreign = msgspec.structs.replace(before, dialect="other")
    after = own(OPENAI_CHAT.render_request(foreign, REASONING, None).body)

    assert [shared(message) for message in after.messages] == [
        shared(message) for message in before.messages
    ]
    assert (after.tools, after.tool_choice) == (before.tools, before.tool_choice)
    assert (after.output, after.thinking) == (before.output, before.thinking)


def shared(message: Message) -> Any:
    parts = [part for part in message.parts if not isinstance(part, Reasoning)]
    return message.role, [Text(part.text) if isinstance(part, Text) else part for part in parts]


def test_a_tool_that_is_nested_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(1200):
        schema = {"items": schema}

    with pytest.raises(BadRequest, match="nested too deep"):
        body_of(crossing(tools=(Tool("t", "", schema),)))
