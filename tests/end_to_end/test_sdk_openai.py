"""The unmodified openai SDK over every provider dialect, and over the canned answers directly:
what it makes of them there is what it must make of them through the gateway."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI, OpenAI
from pydantic import BaseModel

from end_to_end.conftest import BROKEN, PROVIDERS
from servers import asked
from servers.canned import ANSWER, CALLS, SIGNATURE, TEXT, THOUGHT
from servers.scripted import Scripted

DIRECT = "direct"
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
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "The weather", "parameters": WEATHER},
    },
    {
        "type": "function",
        "function": {"name": "get_time", "description": "The time", "parameters": WEATHER},
    },
]


class Person(BaseModel):
    name: str
    age: int


@dataclass(frozen=True)
class Over:
    """The SDK, and the provider whose dialect answers it."""

    client: OpenAI
    provider: str
    vendors: Scripted

    def model(self, case: str) -> str:
        return f"{self.provider}-{case}"

    def asked(self, case: str) -> Any:
        """The body that the provider got last."""
        return self.vendors.asked(self.model(case))[-1].json


@pytest.fixture(params=[DIRECT, "openai_chat", "anthropic_messages"])
def over(request: pytest.FixtureRequest, vendors: Scripted) -> Iterator[Over]:
    if request.param == DIRECT:
        with OpenAI(base_url=f"{vendors.address}/v1", api_key="k", max_retries=0) as client:
            yield Over(client, "openai_chat", vendors)
    else:
        yield Over(request.getfixturevalue("openai_client"), request.param, vendors)


def test_text(over: Over) -> None:
    answer = over.client.chat.completions.create(model=over.model("text"), messages=HELLO)

    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", TEXT)
    assert choice.finish_reason == "stop"
    assert choice.message.tool_calls is None


def test_text_streamed(over: Over) -> None:
    chunks = list(
        over.client.chat.completions.create(model=over.model("text"), messages=HELLO, stream=True)
    )

    deltas = [chunk.choices[0] for chunk in chunks]
    assert "".join(choice.delta.content or "" for choice in deltas) == TEXT
    assert [choice.finish_reason for choice in deltas if choice.finish_reason] == ["stop"]
    assert deltas[0].delta.role == "assistant"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_usage_counts_cached_tokens_once(over: Over) -> None:
    answer = over.client.chat.completions.create(model=over.model("text"), messages=HELLO)

    usage = answer.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (120, 30, 150)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 100


@pytest.mark.parametrize("wanted", [True, False], ids=["asked for", "not asked for"])
def test_usage_ends_a_stream_only_if_asked_for(over: Over, wanted: bool) -> None:
    chunks = list(
        over.client.chat.completions.create(
            model=over.model("text"),
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": wanted},
        )
    )

    usages = [chunk.usage.total_tokens for chunk in chunks if chunk.usage]
    assert usages == ([150] if wanted else [])
    assert [chunk.choices for chunk in chunks if not chunk.choices] == ([[]] if wanted else [])


def test_system_image_stop_and_length_reach_the_provider(over: Over) -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": content},
    ]
    over.client.chat.completions.create(
        model=over.model("text"), messages=messages, stop=["END", "STOP"], max_tokens=77
    )

    body = over.asked("text")
    assert asked.system(body) == "Be brief."
    assert asked.images(body) == [("image/png", PIXEL)]
    assert asked.stops(body) == ["END", "STOP"]
    assert asked.longest_answer(body) == 77
    assert body["model"] == over.model("text")


def test_the_answer_was_cut_by_length(over: Over) -> None:
    answer = over.client.chat.completions.create(model=over.model("length"), messages=HELLO)

    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == TEXT[:10]


def test_parallel_tool_calls(over: Over) -> None:
    answer = over.client.chat.completions.create(
        model=over.model("tools"), messages=HELLO, tools=TOOLS
    )

    choice = answer.choices[0]
    got = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or []
        if call.type == "function"
    ]
    assert got == list(CALLS)
    assert choice.finish_reason == "tool_calls"
    assert asked.tools(over.asked("tools")) == [
        ("get_weather", "The weather", WEATHER),
        ("get_time", "The time", WEATHER),
    ]


def test_parallel_tool_calls_streamed(over: Over) -> None:
    with over.client.chat.completions.stream(
        model=over.model("tools"), messages=HELLO, tools=TOOLS
    ) as stream:
        choice = stream.get_final_completion().choices[0]

    got = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or []
    ]
    assert got == list(CALLS)
    assert choice.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ("auto", "")),
        ("none", ("none", "")),
        ("required", ("required", "")),
        ({"type": "function", "function": {"name": "get_time"}}, ("named", "get_time")),
    ],
    ids=["auto", "none", "required", "named"],
)
def test_tool_choice(over: Over, choice: Any, expected: tuple[str, str]) -> None:
    over.client.chat.completions.create(
        model=over.model("tools"),
        messages=HELLO,
        tools=TOOLS,
        tool_choice=choice,
        parallel_tool_calls=False,
    )

    body = over.asked("tools")
    assert asked.choice(body) == expected
    assert expected[0] == "none" or not asked.parallel(body)


def test_tool_results_go_back(over: Over) -> None:
    calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
        for id, name, args in CALLS
    ]
    messages: Any = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_a", "content": "21 degrees"},
        {"role": "tool", "tool_call_id": "call_b", "content": "noon"},
    ]
    over.client.chat.completions.create(model=over.model("text"), messages=messages, tools=TOOLS)

    body = over.asked("text")
    assert asked.calls(body) == list(CALLS)
    assert asked.results(body) == [("call_a", "21 degrees"), ("call_b", "noon")]


def test_json_schema(over: Over) -> None:
    answer = over.client.chat.completions.parse(
        model=over.model("json"), messages=HELLO, response_format=Person
    )

    assert answer.choices[0].message.parsed == Person.model_validate(ANSWER)
    schema = asked.schema(over.asked("json"))
    assert schema["properties"].keys() == {"name", "age"}


def test_thinking_is_shown(over: Over) -> None:
    answer = over.client.chat.completions.create(
        model=over.model("thinking"), messages=HELLO, reasoning_effort="high", max_tokens=9000
    )

    message = answer.choices[0].message
    assert message.content == TEXT
    assert (message.model_extra or {})["reasoning_content"] == THOUGHT
    assert asked.thinks(over.asked("thinking"))


def test_thinking_is_shown_streamed(over: Over) -> None:
    chunks = over.client.chat.completions.create(
        model=over.model("thinking"), messages=HELLO, reasoning_effort="high", stream=True
    )

    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas) == TEXT
    thought = "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas)
    assert thought == THOUGHT
    assert SIGNATURE not in thought


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_without_its_end_is_an_error(
    openai_client: OpenAI, provider: str, case: str
) -> None:
    chunks = openai_client.chat.completions.create(
        model=f"{provider}-{case}", messages=HELLO, stream=True
    )

    assert TEXT.startswith(next(chunks).choices[0].delta.content or "")
    with pytest.raises(APIError) as caught:
        list(chunks)
    error = caught.value
    assert (error.type, error.code) == ("server_error", "upstream_stream_broken")
    body: Any = error.body
    assert body["request_id"] == chunks.response.headers["x-request-id"]
    assert body["should_retry"] is True
    assert len(body["attempts"]) >= 1


async def test_the_async_client(over: Over) -> None:
    base, key = str(over.client.base_url), over.client.api_key
    async with AsyncOpenAI(base_url=base, api_key=key, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=over.model("text"), messages=HELLO, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == TEXT


def test_embeddings(openai_client: OpenAI, vendors: Scripted) -> None:
    answer = openai_client.embeddings.create(model="openai_chat-embed", input=["one", "two"])

    assert [item.embedding for item in answer.data] == [[0.25, -0.5, 0], [0.25, -0.5, 1]]
    assert answer.usage.prompt_tokens == 8
    assert vendors.asked("openai_chat-embed")[-1].json["input"] == ["one", "two"]


def test_models(openai_client: OpenAI) -> None:
    listed = {model.id: model for model in openai_client.models.list()}

    assert {"openai_chat-text", "anthropic_messages-text", "auto"} <= listed.keys()
    assert listed["openai_chat-text"].object == "model"
    assert openai_client.models.retrieve("openai_chat-text").id == "openai_chat-text"


@pytest.mark.parametrize("name", ["openai_chat-text", "anthropic_messages-text"])
def test_the_headers_say_what_happened(openai_client: OpenAI, name: str) -> None:
    raw = openai_client.chat.completions.with_raw_response.create(model=name, messages=HELLO)

    assert raw.headers["x-fairlead-model"] == name
    assert raw.headers["x-fairlead-endpoint"] == f"at-{name}/{name}"
    assert raw.headers["x-fairlead-attempts"] == "1"
    assert raw.headers["x-fairlead-request-id"]
    assert raw.headers["x-fairlead-reason"]
    assert float(raw.headers["x-fairlead-cost-usd"]) > 0
    assert raw.parse()._request_id == raw.headers["x-request-id"]
