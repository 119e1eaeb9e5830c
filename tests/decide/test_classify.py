"""What is read off a request: kind, difficulty, size, needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.pool import ask
from fairlead.decide.classify import CHARS_PER_TOKEN, DIFFICULTY, classify
from fairlead.decide.cues import CUES, KINDS, WORDS
from fairlead.types.chat import (
    Foreign,
    Image,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

TOOL = Tool(name="search", description="Looks things up", schema={})
LONG = "The council met on Monday to speak of roads and of parks. "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hi", "chat"),
        ("What is the capital of France?", "chat"),
        ("Explain photosynthesis to a child", "chat"),
        ("Extract the invoice number and the total: ACME, no. 4711, EUR 99.50", "extract"),
        ("List the action items of this meeting", "extract"),
        ("Classify the sentiment of this review: I loved it!", "classify"),
        ("Which of the following is true? A: ...", "classify"),
        (f"Summarize this in three bullets: {LONG * 40}", "summarise"),
        (f"{LONG * 40} tl;dr", "summarise"),
        ("Translate into German: The weather is nice today.", "translate"),
        ("Write a polite email to my landlord about the heating.", "draft"),
        ("Write a Python function that merges two sorted lists.", "code"),
        ("What is wrong here?\n```\ndef f(x):\n  return y\n```", "code"),
        ("Why does this race condition occur in my scheduler?", "code"),
        ("Prove that there are infinitely many primes.", "mathematics"),
        ("How many apples are left? Solve step by step.", "mathematics"),
        ("Analyse the pros and cons of both offers.", "reason"),
        ("What is the root cause of the outage?", "reason"),
        ("Plan the migration of our shop, with milestones.", "plan"),
        ("Fasse den folgenden Text zusammen: ...", "summarise"),
        ("Übersetze den Satz ins Englische: ...", "translate"),
        ("Erkläre Schritt für Schritt, analysiere die Folgen.", "reason"),
        ("Traduis cette phrase : ...", "translate"),
        ("Résume ce texte en deux phrases.", "summarise"),
        ("Clasifica este correo: ...", "classify"),
        ("日本語で要約してください", "chat"),
        ("", "chat"),
    ],
)
def test_kind_from_words(text: str, expected: str) -> None:
    assert classify(ask(text)).kind == expected


def test_instructions_may_stand_in_the_system_prompt() -> None:
    messages = (
        Message("system", (Text("You extract fields and entities from invoices."),)),
        Message("user", (Text("ACME, no. 4711, EUR 99.50"),)),
    )

    assert classify(ask(messages=messages)).kind == "extract"


def test_only_the_last_question_is_read() -> None:
    messages = (
        Message("user", (Text("Prove the theorem."),)),
        Message("assistant", (Text("Done."),)),
        Message("user", (Text("thanks!"),)),
    )

    task = classify(ask(messages=messages))

    assert (task.kind, task.turn) == ("chat", 2)


def test_only_both_ends_of_a_long_question_are_read() -> None:
    task = classify(ask(f"{LONG * 20} Prove the theorem. {LONG * 20}"))

    assert task.kind == "chat"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("Summarise this:", LONG * 40), "summarise"),
        ((LONG * 40, "Translate it."), "translate"),
    ],
    ids=["first-part", "last-part"],
)
def test_the_ends_of_several_parts(texts: tuple[str, ...], expected: str) -> None:
    message = Message("user", tuple(Text(text) for text in texts))

    assert classify(ask(messages=(message,))).kind == expected


def test_tools_make_it_tool_use_unless_words_say_otherwise() -> None:
    assert classify(ask("Check the weather", tools=(TOOL,))).kind == "tool_use"
    assert classify(ask("Refactor and debug this", tools=(TOOL,))).kind == "code"


def test_an_answer_to_a_tool_continues_its_use() -> None:
    messages = (
        Message("user", (Text("Prove the theorem."),)),
        Message("assistant", (ToolCall("c1", "search", "{}"),)),
        Message("tool", (ToolResult("c1", (Text("found"), Image(data="aGk="))),)),
    )

    task = classify(ask(messages=messages))

    assert task.kind == "tool_use"
    assert task.needs == {"tools", "image"}


def test_a_format_points_to_extraction() -> None:
    task = classify(ask("ACME, 4711", output=OutputFormat("json_schema")))

    assert task.kind == "extract"
    assert "a JSON answer" in task.cues


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        ("What is a queue?", "Derive the bound rigorously."),
        ("Write a function.", "Write a function for a distributed consensus with a deadlock."),
        ("Plan a trip.", "Plan a trip that must cost exactly 500 without flights."),
        ("Summarise this.", f"Summarise this. {LONG * 1_000}"),
        ("Quickly solve the equation.", "Solve the equation."),
    ],
    ids=["cues", "hard-words", "conditions", "length", "asked-to-be-quick"],
)
def test_harder(easier: str, harder: str) -> None:
    assert classify(ask(easier)).difficulty < classify(ask(harder)).difficulty


def test_difficulty_is_the_documented_sum() -> None:
    # plan 0.6, "architecture" and "optimal" 2 hard points each, "must" and "only" 2 conditions,
    # 1,500 tokens are one doubling, high effort.
    text = f"Plan the architecture. {LONG * 100} It must be optimal and only that."
    task = classify(ask(text, thinking=Thinking(effort="high")))

    assert task.kind == "plan"
    assert task.difficulty == pytest.approx(min(0.6 + 0.2 + 0.04 + 0.02 + 0.12, 1.0))


@pytest.mark.parametrize(
    ("effort", "expected"),
    [("none", 0.10), ("minimal", 0.12), ("low", 0.15), ("medium", 0.20), ("max", 0.37)],
)
def test_effort_asked_for_counts(effort: str, expected: float) -> None:
    task = classify(ask("Tell me a joke", thinking=Thinking(effort=effort)))  # type: ignore[arg-type]

    assert task.difficulty == pytest.approx(expected)


def test_shares_of_difficulty_are_capped() -> None:
    text = "Prove the theorem: derive the proof. Concurrency, deadlock, why, analyse, design."

    assert classify(ask(text)).difficulty == pytest.approx(DIFFICULTY["mathematics"] + 0.3)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param((Text("x" * 400),), 105, id="text"),
        pytest.param((Text("{" + "x" * 399),), 126, id="code-is-denser"),
        pytest.param((Image(data="A" * 9_000), Text("x" * 400)), 1_105, id="image"),
        pytest.param((Foreign("document", {}), Text("x" * 400)), 1_605, id="document"),
        pytest.param((Reasoning("x" * 400),), 105, id="reasoning"),
        pytest.param((ToolCall("1", "name", "x" * 396),), 105, id="tool-call"),
        pytest.param((ToolResult("1", (Text("x" * 400),)),), 105, id="tool-result"),
    ],
)
def test_input_tokens(parts: tuple[Part, ...], expected: int) -> None:
    assert classify(ask(messages=(Message("user", parts),))).input_tokens == expected


def test_tool_schemas_are_what_the_body_has_more() -> None:
    request = ask("x" * 400, tools=(TOOL,), body=b"x" * 4_400)

    assert classify(request).input_tokens == 4_400 // 4 + 1 + 4


def test_without_a_body_tools_count_by_their_description() -> None:
    assert classify(ask("x" * 400, tools=(TOOL,))).input_tokens == 421 // 4 + 1 + 4


def test_the_measure_can_be_another() -> None:
    assert classify(ask("x" * 400), CHARS_PER_TOKEN / 2).input_tokens == 205


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        pytest.param("Classify this", {}, 10, id="classify"),
        pytest.param("hello", {}, 200, id="chat"),
        pytest.param(f"Summarise: {LONG * 100}", {}, 174, id="an-eighth-of-the-input"),
        pytest.param("Summarise", {}, 60, id="at-least"),
        pytest.param(f"Summarise: {LONG * 10_000}", {}, 1_500, id="at-most"),
        pytest.param("hello", {"max_output_tokens": 50}, 50, id="never-above-the-callers-cap"),
        pytest.param("hello", {"max_output_tokens": 500}, 200, id="nor-up-to-it"),
        pytest.param("hello", {"thinking": Thinking(effort="high")}, 4_200, id="effort"),
        pytest.param("hello", {"thinking": Thinking(effort="minimal")}, 200, id="no-effort"),
        pytest.param("hello", {"thinking": Thinking(budget_tokens=2_000)}, 1_200, id="budget"),
        pytest.param("hello", {"thinking": Thinking(enabled=True)}, 200, id="unsaid"),
        pytest.param("hello", {"operation": "count"}, 0, id="counting-answers-nothing"),
    ],
)
def test_output_tokens(text: str, facts: dict[str, object], expected: int) -> None:
    assert classify(ask(text, **facts)).output_tokens == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({}, set(), id="nothing"),
        pytest.param({"stream": True}, set(), id="streaming-can-be-done-for-all"),
        pytest.param({"tools": (TOOL,)}, {"tools"}, id="tools"),
        pytest.param(
            {"tools": (TOOL,), "tool_choice": ToolChoice("required")},
            {"tools", "forced_tools"},
            id="tools-required",
        ),
        pytest.param(
            {"tools": (TOOL,), "tool_choice": ToolChoice("named", "search")},
            {"tools", "forced_tools"},
            id="tool-named",
        ),
        pytest.param(
            {"tools": (TOOL,), "tool_choice": ToolChoice("auto")}, {"tools"}, id="tools-at-will"
        ),
        pytest.param({"output": OutputFormat("json_object")}, {"json_object"}, id="json"),
        pytest.param({"output": OutputFormat("json_schema")}, {"json_schema"}, id="schema"),
        pytest.param({"thinking": Thinking(effort="low")}, {"reasoning"}, id="effort"),
        pytest.param({"thinking": Thinking(effort="minimal")}, set(), id="hardly-any-effort"),
        pytest.param({"thinking": Thinking(budget_tokens=1_024)}, {"reasoning"}, id="budget"),
        pytest.param({"thinking": Thinking(enabled=True)}, {"reasoning"}, id="enabled"),
        pytest.param({"thinking": Thinking(effort="high", enabled=False)}, set(), id="disabled"),
    ],
)
def test_needs(facts: dict[str, object], expected: set[str]) -> None:
    assert classify(ask(**facts)).needs == expected


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Image(url="http://127.0.0.1/a.png"), {"image"}),
        (Foreign("document", {}), {"pdf"}),
        (Foreign("input_audio", {}), {"audio"}),
        (Foreign("video", {}), {"video"}),
        (Foreign("search_result", {}), set()),
    ],
    ids=["image", "pdf", "audio", "video", "foreign-text"],
)
def test_modalities_are_needs(part: Part, expected: set[str]) -> None:
    message = Message("user", (Text("What is this?"), part))

    assert classify(ask(messages=(message,))).needs == expected


def test_a_question_without_words() -> None:
    message = Message("user", (Image(data="aGk="),))

    assert classify(ask(messages=(message,))).kind == "chat"


def test_an_embedding_is_its_length() -> None:
    task = classify(ask(operation="embed", messages=(), inputs=("x" * 400, "x" * 396)))

    assert (task.kind, task.input_tokens, task.output_tokens) == ("embed", 200, 0)
    assert task.needs == {"embed"}


def test_cues_are_the_strongest_few() -> None:
    text = "Prove the theorem and calculate the sum, the product and the average."
    task = classify(ask(text, tools=(TOOL, TOOL)))

    assert task.cues == ("theorem", "prove", "calculate", "2 tools")


def test_a_long_input_is_a_cue() -> None:
    assert classify(ask(LONG * 1_000)).cues == ("14,505 tokens of input",)


def test_no_word_speaks_for_two_kinds() -> None:
    """Of a word that is listed twice, only the last entry would count."""
    listed = [
        word for groups in KINDS.values() for words in groups.values() for word in words.split()
    ]

    assert sorted({word for word in listed if listed.count(word) > 1}) == []


def test_cues_are_found_before_punctuation() -> None:
    assert {"prove", "prove.", "prove:", "prove?"} <= WORDS
    assert CUES["prove:"].word == "prove"


@given(st.text(max_size=2_000), st.text(max_size=200))
def test_any_text_gives_a_task(text: str, system: str) -> None:
    messages = (Message("system", (Text(system),)), Message("user", (Text(text),)))
    task = classify(ask(messages=messages))

    assert 0.0 <= task.difficulty <= 1.0
    assert task.input_tokens > 0
    assert task.output_tokens >= 0
