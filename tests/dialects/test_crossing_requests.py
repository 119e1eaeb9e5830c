"""Ways in which gateways got translation wrong, by number: 11 to 15, mostly of requests. Each goes
the whole way, as those in ``test_crossing``."""

import json
from typing import Any

import msgspec
import pytest

from dialects.cases import PLAIN
from dialects.crossings import (
    ANTHROPIC,
    CROSSED,
    HI,
    NEWER,
    OPENAI,
    PAIRS,
    SPOKEN,
    ask,
    endpoint,
    pair_id,
    read,
)
from dialects.openai_cases import DONE, chunk
from fairlead.dialects import DIALECTS
from fairlead.dialects.wire import safe_tool_name
from fairlead.server.paths import dialect_of
from fairlead.types.chat import End
from fairlead.types.errors import BadRequest
from servers import canned

over_every_provider = pytest.mark.parametrize("pair", PAIRS, ids=pair_id)
crossing = pytest.mark.parametrize("pair", CROSSED, ids=pair_id)

CITY = {"city": "Zürich"}
CALL: dict[str, Any] = {
    "index": 0,
    "id": "call_a",
    "type": "function",
    "function": {"name": "get_weather", "arguments": json.dumps(CITY)},
}
USE = {"type": "tool_use", "id": "call_a", "name": "get_weather", "input": CITY}


# 11 and 12: requests that are not quite at their address.


@pytest.mark.parametrize("provider", SPOKEN)
def test_bug_11_flat_and_nested_tools_are_the_same_everywhere(provider: str) -> None:
    flat = {"type": "function", "name": "a", "parameters": {"type": "object"}}
    nested = {"type": "function", "function": {"name": "b", "parameters": {"type": "object"}}}
    asked = ask(OPENAI, provider, tools=[flat, nested])

    assert [tool.name for tool in asked.request.tools] == ["a", "b"]
    if provider == ANTHROPIC:
        assert asked.sent["tools"] == [
            {"name": name, "input_schema": {"type": "object"}} for name in "ab"
        ]


def test_bug_11_a_responses_body_is_told_what_it_is() -> None:
    with pytest.raises(BadRequest, match=r"\(/v1/responses\), which is not served"):
        DIALECTS[OPENAI].parse_request(b'{"model":"auto","input":"Hi"}', {})


@pytest.mark.parametrize(
    ("dialect", "roles"),
    [
        (OPENAI, "system, developer, user, assistant, tool, function"),
        (ANTHROPIC, "user, assistant, system"),
    ],
)
def test_of_a_role_that_is_not_known_those_that_are_are_told(dialect: str, roles: str) -> None:
    body = b'{"model":"a","max_tokens":9,"messages":[{"role":"usr","content":"Hi"}]}'

    with pytest.raises(BadRequest) as refused:
        DIALECTS[dialect].parse_request(body, {})

    assert refused.value.message == f"messages[0].role: unknown 'usr'; known are {roles}."


@pytest.mark.parametrize("name", ["fairlead", "fairlead_zone", "fairlead.zone"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_limit_that_stands_in_the_wrong_place_is_not_ignored(dialect: str, name: str) -> None:
    asked = {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    if dialect == "openai_embeddings":
        asked = {"model": "a", "input": "Hi"}
    body = msgspec.json.encode({**asked, name: "local"})

    with pytest.raises(BadRequest, match=f"{name}: limits stand in metadata") as refused:
        DIALECTS[dialect].parse_request(body, {})

    assert refused.value.param == name


BETA = {"anthropic-beta": "some-beta-2026", "anthropic-version": "2023-06-01"}


def test_bug_12_the_address_counts_without_its_query_and_betas_are_passed_on() -> None:
    assert dialect_of("/v1/messages", {}) == ANTHROPIC
    sent = ask(ANTHROPIC, ANTHROPIC, headers=BETA).rendered.headers

    assert {name: sent[name] for name in BETA} == BETA


def test_bug_12_betas_that_cannot_cross_are_told_of() -> None:
    assert ask(ANTHROPIC, OPENAI, headers=BETA).dropped == ("anthropic-beta",)


# 13: what one model takes and another refuses.


@pytest.mark.parametrize(
    ("can", "name"), [(PLAIN, "max_tokens"), (NEWER, "max_completion_tokens")], ids=["plain", "new"]
)
def test_bug_13_the_limit_has_the_name_that_the_model_takes(can: Any, name: str) -> None:
    sent = ask(ANTHROPIC, OPENAI, max_tokens=70, to=endpoint(OPENAI, can)).sent

    assert {key: sent[key] for key in sent if key.startswith("max_")} == {name: 70}


@crossing
def test_bug_13_no_sampling_for_models_that_refuse_it(pair: tuple[str, str]) -> None:
    asked = ask(*pair, temperature=0.5, top_p=0.9, to=endpoint(pair[1], NEWER))

    assert not asked.sent.keys() & {"temperature", "top_p"}
    assert asked.dropped == ("temperature", "top_p")


@pytest.mark.parametrize(("max_tokens", "budget"), [(20_000, 8192), (5000, 2500), (2048, 1024)])
def test_bug_13_a_budget_to_think_leaves_room_for_the_answer(max_tokens: int, budget: int) -> None:
    sent = ask(OPENAI, ANTHROPIC, reasoning_effort="medium", max_tokens=max_tokens).sent

    assert sent["thinking"]["budget_tokens"] == budget < sent["max_tokens"]


def test_bug_13_where_there_is_no_room_to_think_it_is_told() -> None:
    asked = ask(OPENAI, ANTHROPIC, reasoning_effort="medium", max_tokens=1000)

    assert "thinking" not in asked.sent
    assert asked.dropped == ("thinking",)


def test_bug_13_turns_alternate_for_those_who_insist() -> None:
    said = [*HI, *HI, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]
    sent = ask(OPENAI, ANTHROPIC, messages=[*said, *HI]).sent["messages"]

    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert [part["text"] for part in sent[1]["content"]] == ["a", "b"]


def test_bug_13_no_empty_text_beside_a_call() -> None:
    said = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    sent = ask(OPENAI, ANTHROPIC, messages=[*HI, said, *HI]).sent["messages"]

    assert sent[1]["content"] == [USE]


@crossing
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_bug_13_tool_names_that_vendors_refuse_come_back_as_they_were(
    stream: bool, pair: tuple[str, str]
) -> None:
    name = "mcp.server/" + "x" * 64
    safe = safe_tool_name(name)
    tools = {
        OPENAI: [{"type": "function", "function": {"name": name}}],
        ANTHROPIC: [{"name": name, "input_schema": {"type": "object"}}],
    }
    function = {**CALL["function"], "name": safe}
    call, use = {"tool_calls": [{**CALL, "function": function}]}, {**USE, "name": safe}
    answers = {
        OPENAI: canned.Canned(
            canned.openai_whole(call, "tool_calls"), (chunk(call, "tool_calls"), DONE)
        ),
        ANTHROPIC: canned.Canned(
            canned.anthropic_whole([use], "tool_use"),
            canned.anthropic_frames([(use, ())], "tool_use"),
        ),
    }
    caller, provider = pair
    asked = ask(caller, provider, tools=tools[caller], stream=stream)

    assert safe.encode() in asked.rendered.body
    assert asked.answered_with(answers[provider]).calls == (("call_a", name, CITY),)


# 14: usage.


@over_every_provider
def test_bug_14_usage_is_known_to_us_and_told_to_who_asked(pair: tuple[str, str]) -> None:
    caller, provider = pair
    asked = ask(caller, provider, stream=True)
    frames = {OPENAI: canned.OPENAI, ANTHROPIC: canned.ANTHROPIC}[provider]["text"].frames
    decoder = DIALECTS[provider].decoder(asked.request, asked.relayed)
    *_, end = decoder.feed(b"".join(frames))

    assert isinstance(end, End)
    assert end.usage is not None
    assert end.usage.input_tokens == 120
    assert asked.sent.get("stream_options") == (
        {"include_usage": True} if provider == OPENAI else None
    )
    told = read(caller, asked.answered(b"".join(frames)), stream=True)
    assert told.input_tokens == (120 if caller == ANTHROPIC else 0)


# 15: a line that changes with every request.

BILLING = "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli; cch=01234;"


@pytest.mark.parametrize(
    "system",
    [
        [{"type": "text", "text": BILLING}, {"type": "text", "text": "Be brief."}],
        [{"type": "text", "text": f"{BILLING}\nBe brief."}],
        f"{BILLING}\nBe brief.",
    ],
    ids=["a part of its own", "a line", "a line of a text"],
)
def test_bug_15_a_clients_billing_line_does_not_spoil_the_cache_of_others(system: Any) -> None:
    asked = ask(ANTHROPIC, OPENAI, system=system)

    assert asked.sent["messages"] == [{"role": "system", "content": "Be brief."}, *HI]
    assert asked.dropped == ("system.billing_header",)
    assert ask(ANTHROPIC, ANTHROPIC, system=system).sent["system"] == system
