"""The simulated providers on real sockets, asked by the official SDKs with nothing in between."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from fairlead.outside.simulated.faults import Fault, FaultKind
from fairlead.outside.simulated.providers import SimulatedProviders

MARKER = "MARKER7Q4K2"
QUESTION: Any = [{"role": "user", "content": "What is a fairlead good for?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"service": {"type": "string"}, "grade": {"enum": ["low", "high"]}},
    "required": ["service", "grade"],
    "additionalProperties": False,
}
ASK_SCHEMA = [{"role": "user", "content": "Extract.\n\nThe booking-api is down, grade high."}]
ASK_TOOL: Any = [{"role": "user", "content": "Call grade_incident for booking-api."}]


@dataclass
class Simulation:
    providers: SimulatedProviders
    openai: openai.AsyncOpenAI
    """Pointed at sim-south."""
    anthropic: anthropic.AsyncAnthropic
    """Pointed at sim-north."""

    def strike(self, kind: FaultKind, **fields: Any) -> None:
        for provider in ("sim-north", "sim-south"):
            self.providers.fail(provider, Fault(kind, **fields))


def openai_sdk(address: str) -> openai.AsyncOpenAI:
    # No TLS on loopback: reading the machine's certificates would cost more than the test.
    client = openai.DefaultAsyncHttpxClient(verify=False)
    return openai.AsyncOpenAI(
        base_url=address, api_key="any", max_retries=0, timeout=5, http_client=client
    )


def anthropic_sdk(address: str) -> anthropic.AsyncAnthropic:
    client = anthropic.DefaultAsyncHttpxClient(verify=False)
    return anthropic.AsyncAnthropic(
        base_url=address.removesuffix("/v1"),
        api_key="any",
        max_retries=0,
        timeout=5,
        http_client=client,
    )


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    async with (
        SimulatedProviders(time_scale=0, watched=(MARKER,)) as providers,
        openai_sdk(providers.addresses["sim-south"]) as south,
        anthropic_sdk(providers.addresses["sim-north"]) as north,
    ):
        yield Simulation(providers, south, north)


async def ask_openai(simulation: Simulation, **more: Any) -> Any:
    wanted: dict[str, Any] = {"model": "sim-mid", "messages": QUESTION, **more}
    return await simulation.openai.chat.completions.create(**wanted)


async def ask_anthropic(simulation: Simulation, **more: Any) -> Any:
    wanted: dict[str, Any] = {"model": "sim-mid", "messages": QUESTION, "max_tokens": 500, **more}
    return await simulation.anthropic.messages.create(**wanted)


async def openai_stream(simulation: Simulation, **more: Any) -> list[Any]:
    return [chunk async for chunk in await ask_openai(simulation, stream=True, **more)]


async def anthropic_stream(simulation: Simulation, **more: Any) -> list[Any]:
    return [event async for event in await ask_anthropic(simulation, stream=True, **more)]


def texts(messages: list[Any]) -> Iterator[str]:
    for chunk in messages:
        if getattr(chunk, "choices", None):
            yield chunk.choices[0].delta.content or ""
        elif getattr(chunk, "type", "") == "content_block_delta":
            yield getattr(chunk.delta, "text", "")


# Answers -----------------------------------------------------------------------------------------


async def test_openai_text(simulation: Simulation) -> None:
    answer = await ask_openai(simulation)

    assert "[simulated sim-mid]" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert "simulated" in answer.id
    assert answer.usage.prompt_tokens >= len(QUESTION[0]["content"]) // 4
    assert answer.usage.completion_tokens == -(-len(answer.choices[0].message.content) // 4)


async def test_anthropic_text(simulation: Simulation) -> None:
    answer = await ask_anthropic(simulation)

    assert "[simulated sim-mid]" in answer.content[0].text
    assert answer.stop_reason == "end_turn"
    assert "simulated" in answer.id
    assert answer.usage.input_tokens >= len(QUESTION[0]["content"]) // 4


async def test_the_same_question_has_the_same_answer_everywhere(simulation: Simulation) -> None:
    whole = (await ask_openai(simulation)).choices[0].message.content

    assert (await ask_openai(simulation)).choices[0].message.content == whole
    assert "".join(texts(await openai_stream(simulation))) == whole
    assert (await ask_anthropic(simulation)).content[0].text == whole
    assert "".join(texts(await anthropic_stream(simulation))) == whole


async def test_openai_stream_ends_properly_and_counts(simulation: Simulation) -> None:
    chunks = await openai_stream(simulation, stream_options={"include_usage": True})

    assert len(chunks) > 4
    assert chunks[-1].usage.completion_tokens == -(-len("".join(texts(chunks))) // 4)
    assert chunks[-2].choices[0].finish_reason == "stop"


async def test_anthropic_stream_ends_properly_and_counts(simulation: Simulation) -> None:
    events = await anthropic_stream(simulation)

    assert [events[0].type, events[-1].type] == ["message_start", "message_stop"]
    assert events[-2].usage.output_tokens == -(-len("".join(texts(events))) // 4)


async def test_anthropic_thinking_is_signed(simulation: Simulation) -> None:
    answer = await ask_anthropic(
        simulation, max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024}
    )

    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].signature


async def test_openai_json_schema(simulation: Simulation) -> None:
    wanted = {"name": "grading", "strict": True, "schema": SCHEMA}

    answer = await ask_openai(
        simulation,
        messages=ASK_SCHEMA,
        response_format={"type": "json_schema", "json_schema": wanted},
    )

    expected = {"service": "booking-api", "grade": "high"}
    assert json.loads(answer.choices[0].message.content) == expected


async def test_anthropic_json_schema(simulation: Simulation) -> None:
    answer = await ask_anthropic(
        simulation,
        messages=ASK_SCHEMA,
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )

    expected = {"service": "booking-api", "grade": "high"}
    assert json.loads(answer.content[0].text) == expected


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_openai_tools(simulation: Simulation, stream: bool) -> None:
    function = {"name": "grade_incident", "description": "Grade it", "parameters": SCHEMA}
    tools = [{"type": "function", "function": function}]

    if stream:
        chunks = await openai_stream(simulation, messages=ASK_TOOL, tools=tools)
        calls = [
            call
            for each in chunks
            if each.choices
            for call in each.choices[0].delta.tool_calls or ()
        ]
        name = calls[0].function.name
        arguments = "".join(call.function.arguments or "" for call in calls)
        reason = chunks[-1].choices[0].finish_reason
    else:
        answer = await ask_openai(simulation, messages=ASK_TOOL, tools=tools)
        (call,) = answer.choices[0].message.tool_calls
        name, arguments = call.function.name, call.function.arguments
        reason = answer.choices[0].finish_reason

    assert (name, reason) == ("grade_incident", "tool_calls")
    assert json.loads(arguments)["service"] == "booking-api"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_anthropic_tools(simulation: Simulation, stream: bool) -> None:
    tools: Any = [{"name": "grade_incident", "description": "Grade it", "input_schema": SCHEMA}]

    if stream:
        async with simulation.anthropic.messages.stream(
            model="sim-mid", max_tokens=500, messages=ASK_TOOL, tools=tools
        ) as running:
            answer = await running.get_final_message()
    else:
        answer = await ask_anthropic(simulation, messages=ASK_TOOL, tools=tools)

    assert answer.stop_reason == "tool_use"
    [call] = answer.content
    assert call.type == "tool_use"
    assert call.name == "grade_incident"
    assert call.input["service"] == "booking-api"


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings(encoding: Any) -> None:
    async with (
        SimulatedProviders(time_scale=0) as providers,
        openai_sdk(providers.addresses["sim-house"]) as sdk,
    ):
        answer = await sdk.embeddings.create(
            model="sim-embed", input=["one", "two", "one"], encoding_format=encoding
        )

    first, second, third = (row.embedding for row in answer.data)
    assert first == third != second
    assert answer.usage.prompt_tokens == 3


async def test_model_lists_in_both_shapes(simulation: Simulation) -> None:
    south = [model.id async for model in simulation.openai.models.list()]
    north = [model.id async for model in simulation.anthropic.models.list()]

    assert south == ["sim-mid", "sim-swift", "sim-swift-2", "sim-longview"]
    assert north == ["sim-large", "sim-mid"]


async def test_counts_tokens(simulation: Simulation) -> None:
    count = await simulation.anthropic.messages.count_tokens(model="sim-mid", messages=QUESTION)
    answer = await ask_anthropic(simulation)

    assert count.input_tokens == answer.usage.input_tokens


# Refusals ----------------------------------------------------------------------------------------


async def test_an_unknown_model(simulation: Simulation) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await ask_openai(simulation, model="sim-nothing")

    assert refused.value.code == "model_not_found"


async def test_a_prompt_that_is_too_long(simulation: Simulation) -> None:
    long = [{"role": "user", "content": "word " * 120_000}]

    with pytest.raises(openai.BadRequestError) as refused:
        await ask_openai(simulation, model="sim-swift", messages=long)

    assert refused.value.code == "context_length_exceeded"


async def test_a_chat_model_embeds_nothing(simulation: Simulation) -> None:
    with pytest.raises(openai.BadRequestError, match="sim-mid cannot do this: embed"):
        await simulation.openai.embeddings.create(model="sim-mid", input="text")


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/chat/completions", b"{", 404),
        ("POST", "/chat/completions", b'{"model":"sim-mid","messages":7}', 400),
        ("GET", "/nowhere", b"", 404),
    ],
    ids=["no JSON, so no model", "wrong type", "no such path"],
)
async def test_bad_input_is_refused(
    simulation: Simulation, method: str, path: str, body: bytes, expected: int
) -> None:
    address = simulation.providers.addresses["sim-south"]

    async with aiohttp.request(method, address + path, data=body) as answer:
        assert answer.status == expected
        assert (await answer.json())["error"]["message"]


# Faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "openai_error", "anthropic_error"),
    [
        ("down", openai.APIConnectionError, anthropic.APIConnectionError),
        ("rate_limited", openai.RateLimitError, anthropic.RateLimitError),
        ("retired", openai.NotFoundError, anthropic.NotFoundError),
        ("overloaded", openai.InternalServerError, anthropic.OverloadedError),
    ],
)
async def test_faults_before_the_answer(
    simulation: Simulation,
    kind: FaultKind,
    openai_error: type[Exception],
    anthropic_error: type[Exception],
) -> None:
    simulation.strike(kind)

    with pytest.raises(openai_error):
        await ask_openai(simulation)
    with pytest.raises(anthropic_error):
        await ask_anthropic(simulation)


async def test_a_rate_limit_says_how_long(simulation: Simulation) -> None:
    simulation.strike("rate_limited", retry_after_s=7)

    with pytest.raises(openai.RateLimitError) as refused:
        await ask_openai(simulation)

    assert refused.value.response.headers["retry-after"] == "7"


async def test_a_retired_model_is_gone_from_the_list(simulation: Simulation) -> None:
    simulation.providers.fail("sim-south", Fault("retired"), "sim-swift")

    with pytest.raises(openai.NotFoundError, match="no longer available") as refused:
        await ask_openai(simulation, model="sim-swift")

    assert refused.value.code == "model_not_found"
    assert "sim-swift" not in [model.id async for model in simulation.openai.models.list()]
    assert await ask_openai(simulation, model="sim-mid")


async def test_a_cut_stream_breaks_after_some_content(simulation: Simulation) -> None:
    simulation.strike("cut")
    chunks: list[Any] = []

    async def read() -> None:
        async for chunk in await ask_openai(simulation, stream=True):
            chunks.append(chunk)

    with pytest.raises(openai.APIConnectionError):
        await read()

    assert "".join(texts(chunks)).startswith("[simulated sim-mid]")
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)


async def test_a_cut_answer_never_arrives_whole(simulation: Simulation) -> None:
    simulation.strike("cut")

    with pytest.raises(anthropic.APIConnectionError):
        await ask_anthropic(simulation)


async def test_a_malformed_answer_is_no_answer(simulation: Simulation) -> None:
    simulation.strike("malformed")

    assert "no answer" in str(await ask_openai(simulation))
    with pytest.raises(json.JSONDecodeError):
        await openai_stream(simulation)


async def test_a_silent_model_lets_its_caller_wait(simulation: Simulation) -> None:
    simulation.strike("silent")

    with pytest.raises(openai.APITimeoutError):
        await ask_openai(simulation, timeout=0.05)


async def test_a_fault_passes(simulation: Simulation) -> None:
    simulation.strike("overloaded", times=1)
    with pytest.raises(openai.InternalServerError):
        await ask_openai(simulation)

    assert await ask_openai(simulation)


async def test_delays_follow_the_scale_and_the_slow_fault() -> None:
    async with (
        SimulatedProviders(time_scale=0.001) as providers,
        openai_sdk(providers.addresses["sim-house"]) as sdk,
    ):
        await sdk.embeddings.create(model="sim-embed", input="text", timeout=2)
        providers.fail("sim-house", Fault("slow", factor=1e9))

        with pytest.raises(openai.APITimeoutError):
            await sdk.embeddings.create(model="sim-embed", input="text", timeout=0.1)


async def test_faults_can_be_ordered_over_http(simulation: Simulation) -> None:
    address = simulation.providers.addresses["sim-south"].removesuffix("/v1") + "/simulate"

    async def order(**fields: Any) -> int:
        async with aiohttp.request("POST", address, json=fields) as answer:
            return answer.status

    assert await order(model="sim-mid", fault="down") == 200
    with pytest.raises(openai.APIConnectionError):
        await ask_openai(simulation)
    assert await order(model="sim-mid") == 200
    assert await ask_openai(simulation)
    assert await order(model="sim-mid", fault="on fire") == 400
    assert await order(model="sim-mdi", fault="down") == 400


# What they saw -----------------------------------------------------------------------------------


async def test_the_log_is_the_truth_about_what_arrived(simulation: Simulation) -> None:
    await ask_openai(simulation)
    await ask_anthropic(simulation, messages=[{"role": "user", "content": f"case {MARKER}"}])
    simulation.strike("down")
    with pytest.raises(openai.APIConnectionError):
        await ask_openai(simulation)

    log = simulation.providers.log
    assert [(each.endpoint, each.status, each.fault) for each in log.entries] == [
        ("sim-south/sim-mid", 200, ""),
        ("sim-north/sim-mid", 200, ""),
        ("sim-south/sim-mid", 0, "down"),
    ]
    assert [each.endpoint for each in log.outside("local")] == ["sim-north/sim-mid"]
    assert log.entries[0].body_sha256 == log.entries[2].body_sha256


async def test_nothing_listens_once_stopped() -> None:
    providers = SimulatedProviders(time_scale=0)
    addresses = await providers.start(only=("sim-house",))
    assert list(addresses) == ["sim-house"]

    await providers.stop()

    assert providers.endpoints() == ()
    with pytest.raises(aiohttp.ClientConnectorError):
        async with aiohttp.request("GET", f"{addresses['sim-house']}/models"):
            pass
