"""A simulated model answers in character, marked as simulated, and always the same."""

import json
from typing import Any

import pytest

from fairlead.outside.simulated.answers import Answer, compose, events
from fairlead.outside.simulated.profiles import LARGE, LOCAL, SWIFT
from fairlead.types.catalog import Model
from fairlead.types.chat import (
    Begin,
    End,
    Message,
    OutputFormat,
    ReasoningDelta,
    Request,
    Text,
    TextDelta,
    Thinking,
    Tool,
    ToolCallDelta,
    ToolChoice,
    ToolResult,
)
from fairlead.types.decision import Task, TaskKind

ALERT = (
    "INC-4471: booking-api fails since 2026-11-03T14:02:11Z. Contact oncall@example.com. "
    "The tariff-cache was released four minutes before."
)
PAGE = Tool(
    "page_on_call",
    "Call the engineer who is on duty",
    {"type": "object", "properties": {"service": {"type": "string"}}, "required": ["service"]},
)
RESTART = Tool("restart", "Restart one service", {"type": "object", "properties": {}})


def ask(prompt: str, model: Model = LARGE, kind: TaskKind = "chat", **fields: Any) -> Answer:
    messages = fields.pop("messages", (Message("user", (Text(prompt),)),))
    request = Request(dialect="any", model=model.name, body=b"", messages=messages, **fields)
    return compose(request, Task(kind, difficulty=0.5, input_tokens=9, output_tokens=9), model)


@pytest.mark.parametrize(
    ("kind", "prompt", "expected"),
    [
        ("extract", f"Give me the contact.\n\n{ALERT}", '"oncall@example.com"'),
        ("classify", "Is it one of: refund, delay, question?\n\nThe delay goes on.", "delay"),
        ("classify", "One of: sev1, sev2\n\nAll shops are down.", "sev1"),
        ("summarise", f"Sum it up.\n\n{ALERT}", "booking-api fails since"),
        ("code", "Write a function `error_share` that counts.", "def error_share("),
        ("code", "Write a SQL query named failures.", "FROM failures"),
        ("code", "Review this.\n\n```\nf(x[0])\n```", "line 1 `f(x[0])`: fails on an empty"),
        ("plan", f"Plan the way back.\n\n{ALERT}", "1. Freeze deployments that touch booking"),
        ("reason", f"What caused it?\n\n{ALERT}", "Most likely cause: a change in tariff-cache"),
        ("reason", f"Decide whether to go on.\n\n{ALERT}", "Yes, on one condition"),
        ("draft", f"Write a mail.\n\n{ALERT}", "Subject: INC-4471"),
        ("translate", "To French, please.\n\nWe are working on it now.", "Nous"),
        ("mathematics", "How much is 17 * 23?", "17 * 23 = 391"),
        ("mathematics", "How much is 1 / 0?", "1 / 0 = inf"),
        ("chat", "Hello, who is there?", "Hello, who is there?"),
    ],
)
def test_answers_in_character(kind: TaskKind, prompt: str, expected: str) -> None:
    answer = ask(prompt, kind=kind)

    assert expected in answer.text
    assert "simulated" in answer.text


def test_a_log_is_summed_up_by_its_own_error_lines() -> None:
    calm = [f"14:00:{second:02} INFO booking-api ok" for second in range(40)]
    bad = [f"14:01:{second:02} ERROR tariff-cache pool empty" for second in range(7)]

    text = ask("Summarise this log.\n\n" + "\n".join(calm + bad), kind="summarise").text

    assert "47 lines" in text
    assert "7x 14:01:00 ERROR tariff-cache pool empty" in text


def test_the_same_question_has_the_same_answer_and_models_differ() -> None:
    prompt = f"What do you make of this?\n\n{ALERT}"

    assert ask(prompt) == ask(prompt)
    assert ask(prompt).id != ask(prompt + "?").id
    assert ask(prompt).text != ask(prompt, LOCAL).text


def test_tokens_are_counted_in_quarters_of_characters() -> None:
    answer = ask("Hello there")

    assert answer.usage.output_tokens == -(-len(answer.text) // 4)


@pytest.mark.parametrize(
    ("fields", "reason", "ending"),
    [
        ({"max_output_tokens": 5}, "length", "[simulated sim-large"),
        ({"stop": ("simulated",)}, "stop_sequence", "["),
        ({"stop": ("unheard of",)}, "stop", None),
    ],
    ids=["limit", "stop sequence", "no such stop sequence"],
)
def test_an_answer_ends_where_it_must(
    fields: dict[str, Any], reason: str, ending: str | None
) -> None:
    answer = ask("Hello there", **fields)

    assert answer.reason == reason
    assert ending is None or answer.text == ending[:20]


@pytest.mark.parametrize(
    ("prompt", "choice", "expected"),
    [
        ("Use page_on_call for booking-api.", None, ["page_on_call"]),
        ("Call page_on_call and restart.", None, ["page_on_call", "restart"]),
        ("Call restart, page_on_call.", ToolChoice(parallel=False), ["page_on_call"]),
        ("Who is on duty?", None, []),
        ("Which engineer is on duty?", ToolChoice("required"), ["page_on_call"]),
        ("Hello", ToolChoice("named", "restart"), ["restart"]),
        ("Use page_on_call.", ToolChoice("none"), []),
    ],
    ids=["named in prompt", "two", "not parallel", "none fits", "required", "named", "forbidden"],
)
def test_calls_the_tool_that_fits(
    prompt: str, choice: ToolChoice | None, expected: list[str]
) -> None:
    answer = ask(prompt, tools=(PAGE, RESTART), tool_choice=choice)

    assert [call.name for call in answer.calls] == expected
    assert (answer.reason == "tool_calls") == bool(expected)
    assert len({call.id for call in answer.calls}) == len(expected)


def test_arguments_are_taken_from_the_prompt() -> None:
    (call,) = ask("Use page_on_call for booking-api.", tools=(PAGE,)).calls

    assert json.loads(call.arguments) == {"service": "booking-api"}


def test_tool_results_are_read_not_asked_for_again() -> None:
    messages = (
        Message("user", (Text("Use page_on_call."),)),
        Message("tool", (ToolResult("call_1", (Text("Paged at 14:09."),)),)),
    )

    answer = ask("", messages=messages, tools=(PAGE,))

    assert not answer.calls
    assert "Paged at 14:09." in answer.text


def test_json_schema_output_is_that_and_nothing_else() -> None:
    schema = {"type": "object", "properties": {"service": {"type": "string"}}}

    answer = ask(f"Extract.\n\n{ALERT}", output=OutputFormat("json_schema", schema=schema))

    assert json.loads(answer.text) == {"service": "booking-api"}


def test_json_object_output_tells_who_made_it_up() -> None:
    answer = ask(f"Extract.\n\n{ALERT}", output=OutputFormat("json_object"))

    assert json.loads(answer.text)["simulated_by"] == "sim-large"


def test_only_a_model_that_reasons_shows_reasoning() -> None:
    assert ask(ALERT, thinking=Thinking(effort="high")).usage.reasoning_tokens > 0
    assert ask(ALERT, SWIFT, thinking=Thinking(effort="high")).reasoning == ""
    assert ask(ALERT, thinking=Thinking(effort="none")).reasoning == ""
    assert ask(ALERT).reasoning == ""


def test_events_add_up_to_the_answer() -> None:
    answer = ask(f"Reason about it.\n\n{ALERT}", thinking=Thinking(enabled=True))

    told = list(events(answer))

    assert isinstance(told[0], Begin)
    assert told[-1] == End("stop", answer.usage)
    assert "".join(each.text for each in told if isinstance(each, TextDelta)) == answer.text
    thought = [each for each in told if isinstance(each, ReasoningDelta)]
    assert "".join(each.text for each in thought) == answer.reasoning
    assert thought[-1].signature == answer.signature


def test_events_of_tool_calls_are_numbered() -> None:
    answer = ask("Call page_on_call and restart.", tools=(PAGE, RESTART))

    told = [each for each in events(answer) if isinstance(each, ToolCallDelta)]

    assert [each.index for each in told if each.name] == [0, 1]
    first = "".join(each.arguments for each in told if each.index == 0)
    assert first == answer.calls[0].arguments
