"""The unmodified anthropic SDK over every provider dialect, and over the canned answers directly:
what it makes of them there is what it must make of them through the gateway."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from anthropic import Anthropic, APIStatusError, AsyncAnthropic

from end_to_end.conftest import BROKEN, PROVIDERS
from servers import asked
from servers.canned import ANSWER, CALLS, COUNT, SIGNATURE, TEXT, THOUGHT
from servers.scripted import Scripted

DIRECT = "direct"
UNSIGNED = "fairlead-unsigned"
"""Marks thinking that a crossing showed: its own dialect signs nothing."""
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

HELLO: Any = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "kelvin"]}},
    "required": ["city"],
}
TOOLS: Any = [
    {"name": "get_weather", "description": "The weather", "input_schema": WEATHER},
    {"name": "get_time", "description": "The time", "input_schema": WEATHER},
]
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Over:
    """The SDK, and the provider whose dialect answers it."""

    client: Anthropic
    provider: str
    vendors: Scripted

    @property
    def signature(self) -> str:
        """Of the thinking that it shows."""
        return SIGNATURE if self.provider == "anthropic_messages" else UNSIGNED

    def model(self, case: str) -> str:
        return f"{self.provider}-{case}"

    def asked(self, case: str) -> Any:
        """The body that the provider got last."""
        return self.vendors.asked(self.model(case))[-1].json


@pytest.fixture(params=[DIRECT, "anthropic_messages", "openai_chat"])
def over(request: pytest.FixtureRequest, vendors: Scripted) -> Iterator[Over]:
    if request.param == DIRECT:
        with Anthropic(base_url=vendors.address, api_key="k", max_retries=0) as client:
            yield Over(client, "anthropic_messages", vendors)
    else:
        yield Over(request.getfixturevalue("anthropic_client"), request.param, vendors)


def test_text(over: Over) -> None:
    answer = over.client.messages.create(model=over.model("text"), messages=HELLO, max_tokens=100)

    assert [(block.type, getattr(block, "text", "")) for block in answer.content] == [
        ("text", TEXT)
    ]
    assert (answer.role, answer.stop_reason, answer.type) == ("assistant", "end_turn", "message")


def test_text_streamed(over: Over) -> None:
    with over.client.messages.stream(
        model=over.model("text"), messages=HELLO, max_tokens=100
    ) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()

    assert text == TEXT
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == 30


def test_events_come_in_order(over: Over) -> None:
    events = over.client.messages.create(
        model=over.model("text"), messages=HELLO, max_tokens=100, stream=True
    )

    names = [event.type for event in events if event.type not in ("content_block_delta", "ping")]
    assert names == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_usage_counts_cached_tokens_apart(over: Over) -> None:
    answer = over.client.messages.create(model=over.model("text"), messages=HELLO, max_tokens=100)

    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (20, 100, 30)


def test_system_image_stop_and_length_reach_the_provider(over: Over) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    messages: Any = [{"role": "user", "content": content}]
    over.client.messages.create(
        model=over.model("text"),
        system="Be brief.",
        messages=messages,
        stop_sequences=["END", "STOP"],
        max_tokens=77,
    )

    body = over.asked("text")
    assert asked.system(body) == "Be brief."
    assert asked.images(body) == [("image/png", PIXEL)]
    assert asked.stops(body) == ["END", "STOP"]
    assert asked.longest_answer(body) == 77


def test_the_answer_was_cut_by_length(over: Over) -> None:
    answer = over.client.messages.create(model=over.model("length"), messages=HELLO, max_tokens=10)

    assert answer.stop_reason == "max_tokens"


def got_calls(blocks: Any) -> list[tuple[str, str, Any]]:
    return [(b.id, b.name, b.input) for b in blocks if b.type == "tool_use"]


def test_parallel_tool_calls(over: Over) -> None:
    answer = over.client.messages.create(
        model=over.model("tools"), messages=HELLO, tools=TOOLS, max_tokens=100
    )

    assert got_calls(answer.content) == list(CALLS)
    assert answer.stop_reason == "tool_use"
    assert asked.tools(over.asked("tools")) == [
        ("get_weather", "The weather", WEATHER),
        ("get_time", "The time", WEATHER),
    ]


def test_parallel_tool_calls_streamed(over: Over) -> None:
    with over.client.messages.stream(
        model=over.model("tools"), messages=HELLO, tools=TOOLS, max_tokens=100
    ) as stream:
        answer = stream.get_final_message()

    assert got_calls(answer.content) == list(CALLS)
    assert answer.stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto", "disable_parallel_tool_use": True}, ("auto", "")),
        ({"type": "none"}, ("none", "")),
        ({"type": "any", "disable_parallel_tool_use": True}, ("required", "")),
        (
            {"type": "tool", "name": "get_time", "disable_parallel_tool_use": True},
            ("named", "get_time"),
        ),
    ],
    ids=["auto", "none", "any", "tool"],
)
def test_tool_choice(over: Over, choice: Any, expected: tuple[str, str]) -> None:
    over.client.messages.create(
        model=over.model("tools"),
        messages=HELLO,
        tools=TOOLS,
        tool_choice=choice,
        max_tokens=100,
    )

    body = over.asked("tools")
    assert asked.choice(body) == expected
    assert expected[0] == "none" or not asked.parallel(body)


def test_tool_results_go_back(over: Over) -> None:
    calls = [
        {"type": "tool_use", "id": id, "name": name, "input": args} for id, name, args in CALLS
    ]
    results = [
        {"type": "tool_result", "tool_use_id": "call_a", "content": "21 degrees"},
        {"type": "tool_result", "tool_use_id": "call_b", "content": "no clock", "is_error": True},
        {"type": "text", "text": "Go on."},
    ]
    messages: Any = [
        *HELLO,
        {"role": "assistant", "content": calls},
        {"role": "user", "content": results},
    ]
    over.client.messages.create(
        model=over.model("text"), messages=messages, tools=TOOLS, max_tokens=100
    )

    body = over.asked("text")
    assert asked.calls(body) == list(CALLS)
    ids, texts = zip(*asked.results(body), strict=True)
    assert ids == ("call_a", "call_b")
    assert texts[0] == "21 degrees"
    assert "no clock" in texts[1]


def test_json_schema(over: Over) -> None:
    answer = over.client.messages.create(
        model=over.model("json"),
        messages=HELLO,
        max_tokens=100,
        output_config={"format": {"type": "json_schema", "schema": PERSON}},
    )

    assert json.loads(getattr(answer.content[0], "text", "")) == ANSWER
    assert asked.schema(over.asked("json")) == PERSON


def test_thinking_comes_first_with_its_signature(over: Over) -> None:
    answer = over.client.messages.create(
        model=over.model("thinking"),
        messages=HELLO,
        max_tokens=9000,
        thinking={"type": "adaptive"},
    )

    thinking, text = answer.content
    assert thinking.type == "thinking"
    assert thinking.thinking == THOUGHT
    assert thinking.signature == over.signature
    assert getattr(text, "text", "") == TEXT


def test_thinking_streamed(over: Over) -> None:
    with over.client.messages.stream(
        model=over.model("thinking"),
        messages=HELLO,
        max_tokens=9000,
        thinking={"type": "enabled", "budget_tokens": 2000},
    ) as stream:
        answer = stream.get_final_message()

    thinking, text = answer.content
    assert thinking.type == "thinking"
    assert thinking.thinking == THOUGHT
    assert thinking.signature == over.signature
    assert getattr(text, "text", "") == TEXT


def test_an_unsigned_thought_never_reaches_the_vendor(
    anthropic_client: Anthropic, vendors: Scripted
) -> None:
    thought = {"type": "thinking", "thinking": THOUGHT, "signature": UNSIGNED}
    said = [thought, {"type": "text", "text": TEXT}]
    messages: Any = [*HELLO, {"role": "assistant", "content": said}, *HELLO]
    model = "anthropic_messages-text"
    anthropic_client.messages.create(model=model, messages=messages, max_tokens=100)

    assert vendors.asked(model)[-1].json["messages"][1]["content"] == [
        {"type": "text", "text": TEXT}
    ]


@pytest.mark.parametrize("over", [DIRECT, "anthropic_messages"], indirect=True)
def test_a_signed_thought_goes_back_as_it_came(over: Over) -> None:
    thought = {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}
    said = [thought, {"type": "text", "text": TEXT, "cache_control": {"type": "ephemeral"}}]
    messages: Any = [*HELLO, {"role": "assistant", "content": said}, *HELLO]
    over.client.messages.create(model=over.model("text"), messages=messages, max_tokens=100)

    assert over.asked("text")["messages"] == messages


def test_the_older_version_may_set_temperature(over: Over) -> None:
    over.client.messages.create(
        model=over.model("text"),
        messages=HELLO,
        max_tokens=100,
        extra_headers={"anthropic-version": "2023-06-01"},
        extra_body={"temperature": 0.25},
    )

    assert over.asked("text")["temperature"] == 0.25


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_without_its_end_is_an_error(
    anthropic_client: Anthropic, provider: str, case: str
) -> None:
    with (
        anthropic_client.messages.stream(
            model=f"{provider}-{case}", messages=HELLO, max_tokens=100
        ) as stream,
        pytest.raises(APIStatusError) as caught,
    ):
        stream.until_done()

    error = caught.value
    assert (error.type, error.error_code) == ("api_error", "upstream_stream_broken")
    body: Any = error.body
    assert body["request_id"] == error.request_id
    assert body["error"]["code"] == "upstream_stream_broken"
    assert body["error"]["should_retry"] is True
    assert len(body["error"]["attempts"]) >= 1


async def test_the_async_client(over: Over) -> None:
    base, key = str(over.client.base_url), over.client.api_key
    async with (
        AsyncAnthropic(base_url=base, api_key=key, max_retries=0) as client,
        client.messages.stream(model=over.model("text"), messages=HELLO, max_tokens=100) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])

    assert text == TEXT


@pytest.mark.parametrize("over", [DIRECT, "anthropic_messages"], indirect=True)
def test_count_tokens(over: Over) -> None:
    counted = over.client.messages.count_tokens(model=over.model("text"), messages=HELLO)

    assert counted.input_tokens == COUNT["input_tokens"]


def test_where_nobody_counts_tokens_they_are_estimated(anthropic_client: Anthropic) -> None:
    counted = anthropic_client.messages.count_tokens(model="openai_chat-text", messages=HELLO)

    assert 1 <= counted.input_tokens <= 20


def test_models(anthropic_client: Anthropic) -> None:
    listed = {model.id: model for model in anthropic_client.models.list()}

    assert {"openai_chat-text", "anthropic_messages-text", "auto"} <= listed.keys()
    assert listed["openai_chat-text"].type == "model"
    assert listed["openai_chat-text"].lifecycle == "active"
    assert anthropic_client.models.retrieve("openai_chat-text").id == "openai_chat-text"


@pytest.mark.parametrize("name", ["openai_chat-text", "anthropic_messages-text"])
def test_the_headers_say_what_happened(anthropic_client: Anthropic, name: str) -> None:
    raw = anthropic_client.messages.with_raw_response.create(
        model=name, messages=HELLO, max_tokens=100
    )

    assert raw.headers["x-fairlead-model"] == name
    assert raw.headers["x-fairlead-endpoint"] == f"at-{name}/{name}"
    assert raw.headers["x-fairlead-attempts"] == "1"
    assert raw.headers["x-fairlead-request-id"]
    assert float(raw.headers["x-fairlead-cost-usd"]) > 0
    assert raw.headers["request-id"]
