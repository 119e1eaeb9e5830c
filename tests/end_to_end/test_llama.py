"""A real model server behind the gateway, in every dialect that it speaks, for unmodified SDKs.

llama.cpp serves a tiny random model, once as Llama and once as Gemma. What it says means nothing;
that it is the same for every caller, and well formed, is what counts.
"""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, get_args

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from servers.gateway import Gateway, create_key, gateway
from servers.llama import Mode, llama_server
from servers.setup import CAPABILITIES, Setup
from servers.tiny_gguf import WIDTH, Architecture, write_model

DIALECTS = {
    "openai_chat": CAPABILITIES,
    # Its /v1/messages takes no notice of output_config.
    "anthropic_messages": [one for one in CAPABILITIES if not one.startswith("json")],
}
HELLO: Any = [{"role": "user", "content": "Hello"}]
LONG: Any = [{"role": "user", "content": "far too long " * 200}]
ANSWER_TOKENS = 24
ENDLESS_TOKENS = 60_000
"""Take longer than PATIENCE_S."""
PATIENCE_S = 10.0

WEATHER = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "unit": {"enum": ["celsius", "kelvin"]}},
    "required": ["ok", "unit"],
    "additionalProperties": False,
}
OPENAI_TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "The weather", "parameters": WEATHER},
    }
]
ANTHROPIC_TOOLS: Any = [
    {"name": "get_weather", "description": "The weather", "input_schema": WEATHER}
]


@dataclass(frozen=True)
class House:
    """The gateway, and the model servers behind it by name."""

    gateway: Gateway
    servers: Mapping[str, str]
    openai: OpenAI
    anthropic: Anthropic

    def busy_slots(self, server: str) -> int:
        return sum(slot["is_processing"] for slot in get(f"{self.servers[server]}/slots"))

    def await_idle(self, server: str) -> None:
        waited_from = monotonic()
        while self.busy_slots(server):
            assert monotonic() < waited_from + PATIENCE_S, "it still generates"

    def await_line(self, **wanted: object) -> Mapping[str, Any]:
        """What the log says of a request; it is written ten times a second."""
        waited_from = monotonic()
        while monotonic() < waited_from + PATIENCE_S:
            for line in self.gateway.lines():
                if all(line.get(name) == value for name, value in wanted.items()):
                    return line
        raise AssertionError("nothing in the log")


@dataclass(frozen=True)
class Over:
    """One model server, spoken to in one dialect."""

    house: House
    architecture: Architecture
    dialect: str

    def server(self, mode: Mode | str) -> str:
        return f"{self.architecture}-{mode}"

    def model(self, mode: Mode | str) -> str:
        return f"{self.architecture}-{mode}-{self.dialect}"

    @property
    def said(self) -> str:
        """What the model says to HELLO, as its server tells without us."""
        body = {"messages": HELLO, "max_tokens": ANSWER_TOKENS}
        answer = get(f"{self.house.servers[self.server('chat')]}/v1/chat/completions", body)
        return str(answer["choices"][0]["message"]["content"])


def get(url: str, body: object = None) -> Any:
    sent = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, sent, {"content-type": "application/json"})
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def start_servers(folder: Path, stack: ExitStack) -> dict[str, str]:
    """``ARCHITECTURE-MODE``; the mode ``tools`` has a model that calls one."""
    servers = {}
    for architecture in get_args(Architecture):
        plain, eager = folder / f"{architecture}.gguf", folder / f"{architecture}-eager.gguf"
        write_model(plain, architecture)
        write_model(eager, architecture, eager=True)
        for mode in get_args(Mode):
            server = stack.enter_context(llama_server(plain, mode))
            servers[f"{architecture}-{mode}"] = server
        servers[f"{architecture}-tools"] = stack.enter_context(llama_server(eager))
    return servers


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    setup = Setup()
    with ExitStack() as stack:
        servers = start_servers(folder, stack)
        for name, server in servers.items():
            for dialect, capabilities in DIALECTS.items():
                can = ["embed"] if name.endswith("embed") else capabilities
                facts: dict[str, Any] = {"capabilities": can, "max_output": ENDLESS_TOKENS}
                setup.endpoint(f"{name}-{dialect}", server, dialect, **facts)
        key = create_key(folder / "data", "sdk")
        running = stack.enter_context(gateway(folder, setup.text(), setup.secrets))
        base = running.address
        yield House(
            running,
            servers,
            stack.enter_context(OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0)),
            stack.enter_context(Anthropic(base_url=base, api_key=key, max_retries=0)),
        )


@pytest.fixture(params=get_args(Architecture))
def architecture(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=DIALECTS)
def over(request: pytest.FixtureRequest, house: House, architecture: Architecture) -> Over:
    return Over(house, architecture, request.param)


@pytest.fixture
def over_openai(house: House, architecture: Architecture) -> Over:
    return Over(house, architecture, "openai_chat")


@pytest.fixture
def over_anthropic(house: House, architecture: Architecture) -> Over:
    return Over(house, architecture, "anthropic_messages")


# ---------------------------------------------------------------- the openai SDK


def test_openai_text(over: Over) -> None:
    answer = over.house.openai.chat.completions.create(
        model=over.model("chat"), messages=HELLO, max_tokens=ANSWER_TOKENS
    )

    choice, usage = answer.choices[0], answer.usage
    assert choice.message.content == over.said
    assert choice.finish_reason == "length"
    assert usage is not None
    assert usage.completion_tokens == ANSWER_TOKENS
    assert usage.total_tokens == usage.prompt_tokens + ANSWER_TOKENS


def test_openai_text_streamed(over: Over) -> None:
    chunks = list(
        over.house.openai.chat.completions.create(
            model=over.model("chat"),
            messages=HELLO,
            max_tokens=ANSWER_TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == over.said
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["length"]
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [ANSWER_TOKENS]


def stop_in(text: str) -> str:
    """Something that the model will say, but not at once."""
    return next(letter for letter in text[1:] if letter.isascii() and letter != text[0])


def test_openai_stop(over: Over) -> None:
    said = over.said
    stop = stop_in(said)
    answer = over.house.openai.chat.completions.create(
        model=over.model("chat"), messages=HELLO, max_tokens=ANSWER_TOKENS, stop=[stop]
    )

    assert answer.choices[0].message.content == said[: said.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_openai_json_schema(over_openai: Over) -> None:
    answer = over_openai.house.openai.chat.completions.create(
        model=over_openai.model("chat"),
        messages=HELLO,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "weather", "strict": True, "schema": WEATHER},
        },
    )

    assert_weather(json.loads(answer.choices[0].message.content or ""))
    assert answer.choices[0].finish_reason == "stop"


def assert_weather(value: Any) -> None:
    assert value.keys() == {"ok", "unit"}
    assert isinstance(value["ok"], bool)
    assert value["unit"] in ("celsius", "kelvin")


def test_openai_json_schema_where_nothing_would_bind_it(over_anthropic: Over) -> None:
    schema: Any = {"name": "weather", "strict": True, "schema": WEATHER}
    with pytest.raises(openai.BadRequestError, match="json_schema"):
        over_anthropic.house.openai.chat.completions.create(
            model=over_anthropic.model("chat"),
            messages=HELLO,
            response_format={"type": "json_schema", "json_schema": schema},
        )


def test_openai_tool_call(over: Over) -> None:
    answer = over.house.openai.chat.completions.create(
        model=over.model("tools"), messages=HELLO, tools=OPENAI_TOOLS, tool_choice="required"
    )

    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    for call in choice.message.tool_calls:
        assert call.type == "function"
        assert call.id
        assert call.function.name == "get_weather"
        assert_weather(json.loads(call.function.arguments))


def test_openai_tool_call_streamed_and_its_result(over: Over) -> None:
    client, model = over.house.openai, over.model("tools")
    with client.chat.completions.stream(
        model=model, messages=HELLO, tools=OPENAI_TOOLS, tool_choice="required"
    ) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert calls
    assert_weather(json.loads(calls[0].function.arguments))

    results = [{"role": "tool", "tool_call_id": call.id, "content": "21 C"} for call in calls]
    said = choice.message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"})
    messages: Any = [*HELLO, said, *results]
    answer = client.chat.completions.create(model=model, messages=messages, tools=OPENAI_TOOLS)
    assert answer.choices[0].finish_reason == "stop"


def test_openai_context_length(over: Over) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        over.house.openai.chat.completions.create(model=over.model("chat"), messages=LONG)

    assert caught.value.code == "context_length_exceeded"
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openai_embeddings(over_openai: Over, encoding: Any) -> None:
    model, client = over_openai.model("embed"), over_openai.house.openai
    answer = client.embeddings.create(model=model, input=["one", "two"], encoding_format=encoding)
    unset = client.embeddings.create(model=model, input=["one", "two"])

    assert [one.index for one in answer.data] == [0, 1]
    if encoding == "float":
        vectors = [one.embedding for one in answer.data]
        assert [len(vector) for vector in vectors] == [WIDTH, WIDTH]
        assert vectors[0] != vectors[1]
        assert vectors[0] == pytest.approx(unset.data[0].embedding)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


def test_openai_embedding_too_long(over_openai: Over) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        over_openai.house.openai.embeddings.create(
            model=over_openai.model("embed"), input="far too long " * 200
        )

    assert caught.value.code == "context_length_exceeded"


def test_openai_leaves_and_the_model_stops(over: Over) -> None:
    house, server = over.house, over.server("endless")
    stream = house.openai.chat.completions.create(
        model=over.model("endless"), messages=HELLO, stream=True
    )
    for _ in range(3):
        next(stream)
    assert house.busy_slots(server) == 1

    stream.close()

    house.await_idle(server)
    line = house.await_line(request_id=stream.response.headers["x-fairlead-request-id"])
    assert line["outcome"] == "cancelled"
    assert line["output_tokens"] > 0


# ---------------------------------------------------------------- the anthropic SDK


def test_anthropic_text(over: Over) -> None:
    answer = over.house.anthropic.messages.create(
        model=over.model("chat"), messages=HELLO, max_tokens=ANSWER_TOKENS
    )

    assert [getattr(block, "text", None) for block in answer.content] == [over.said]
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == ANSWER_TOKENS
    assert answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) > 0


def test_anthropic_text_streamed(over: Over) -> None:
    with over.house.anthropic.messages.stream(
        model=over.model("chat"), messages=HELLO, max_tokens=ANSWER_TOKENS
    ) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()

    assert text == over.said
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == ANSWER_TOKENS


def test_anthropic_stop(over: Over) -> None:
    said = over.said
    stop = stop_in(said)
    answer = over.house.anthropic.messages.create(
        model=over.model("chat"),
        messages=HELLO,
        max_tokens=ANSWER_TOKENS,
        stop_sequences=[stop],
    )

    assert [getattr(block, "text", None) for block in answer.content] == [said[: said.index(stop)]]
    assert answer.stop_reason in ("end_turn", "stop_sequence")  # not every dialect tells


def test_anthropic_json_schema(over_openai: Over) -> None:
    answer = over_openai.house.anthropic.messages.create(
        model=over_openai.model("chat"),
        messages=HELLO,
        max_tokens=300,
        output_config={"format": {"type": "json_schema", "schema": WEATHER}},
    )

    assert_weather(json.loads(getattr(answer.content[0], "text", "")))
    assert answer.stop_reason == "end_turn"


def test_anthropic_tool_call(over: Over) -> None:
    answer = over.house.anthropic.messages.create(
        model=over.model("tools"),
        messages=HELLO,
        max_tokens=600,
        tools=ANTHROPIC_TOOLS,
        tool_choice={"type": "any"},
    )

    calls = [block for block in answer.content if block.type == "tool_use"]
    assert calls
    for call in calls:
        assert call.id
        assert call.name == "get_weather"
        assert_weather(call.input)
    assert answer.stop_reason == "tool_use"


def test_anthropic_tool_call_streamed_and_its_result(over: Over) -> None:
    client, model = over.house.anthropic, over.model("tools")
    asked: Any = {"model": model, "max_tokens": 600, "tools": ANTHROPIC_TOOLS}
    with client.messages.stream(**asked, messages=HELLO, tool_choice={"type": "any"}) as stream:
        said = stream.get_final_message()
    calls = [block for block in said.content if block.type == "tool_use"]
    assert calls
    assert_weather(calls[0].input)
    assert said.stop_reason == "tool_use"

    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "21 C"} for call in calls]
    turns: Any = [
        {"role": "assistant", "content": said.content},
        {"role": "user", "content": results},
    ]
    answer = client.messages.create(**asked, messages=[*HELLO, *turns])
    assert answer.stop_reason == "end_turn"


def test_anthropic_context_length(over: Over) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        over.house.anthropic.messages.create(model=over.model("chat"), messages=LONG, max_tokens=10)

    body: Any = caught.value.body
    assert body["error"]["type"] == "invalid_request_error"
    assert "context" in body["error"]["message"]


def test_anthropic_counts_what_it_charges(over_anthropic: Over) -> None:
    client, model = over_anthropic.house.anthropic, over_anthropic.model("chat")
    counted = client.messages.count_tokens(model=model, messages=HELLO)
    usage = client.messages.create(model=model, messages=HELLO, max_tokens=1).usage

    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_anthropic_leaves_and_the_model_stops(over: Over) -> None:
    house, server = over.house, over.server("endless")
    stream = house.anthropic.messages.create(
        model=over.model("endless"), messages=HELLO, max_tokens=ENDLESS_TOKENS, stream=True
    )
    for _ in range(3):
        next(stream)
    assert house.busy_slots(server) == 1

    stream.close()

    house.await_idle(server)
    line = house.await_line(request_id=stream.response.headers["x-fairlead-request-id"])
    assert line["outcome"] == "cancelled"


# ---------------------------------------------------------------- a server that nobody described


@pytest.mark.parametrize("kind", ["", "llamacpp"])
def test_a_server_is_asked_what_it_serves(house: House, tmp_path: Path, kind: str) -> None:
    server = house.servers["llama-chat"]
    provider = {"address": f"{server}/v1", **({"kind": kind} if kind else {})}
    config = {"providers": {"den": provider}, "server": {"discover": False}}
    key = create_key(tmp_path / "data", "sdk")
    with (
        gateway(tmp_path, json.dumps(config)) as running,
        OpenAI(base_url=f"{running.address}/v1", api_key=key, max_retries=0) as client,
    ):
        listed = {model.id for model in client.models.list()}
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=HELLO, max_tokens=ANSWER_TOKENS
        )
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="llama", messages=LONG)

    assert {"auto", "llama"} <= listed
    assert raw.headers["x-fairlead-endpoint"] == "den/llama"
    assert raw.headers.get("x-fairlead-cost-usd") == ("0" if kind else None)
    assert len(raw.parse().choices[0].message.content or "") > 0
    assert caught.value.code == "context_length_exceeded"
