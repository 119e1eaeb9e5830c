"""How a mistake is shown."""

import pytest

from fairlead.outside.config.problems import (
    ConfigError,
    Mistake,
    Place,
    Problem,
    Source,
    did_you_mean,
    one_of,
    quoted,
)

SOURCE = Source("fairlead.yaml", ("providers:", "\thouse:", "    adress: x"))


def test_with_the_line_a_caret_and_a_hint() -> None:
    problem = SOURCE.problem(Mistake("unknown key `adress`", "or else", Place(3, 5, 6)))

    assert problem.render().splitlines() == [
        "fairlead.yaml:3:5: unknown key `adress`",
        "  3 |     adress: x",
        "    |     ^^^^^^ or else",
    ]


@pytest.mark.parametrize(
    ("place", "hint", "expected"),
    [
        pytest.param(None, "", "fairlead.yaml: wrong", id="nowhere"),
        pytest.param(None, "or else", "fairlead.yaml: wrong (or else)", id="nowhere, with a hint"),
        pytest.param(Place(9, 1), "", "fairlead.yaml:9:1: wrong", id="behind the end"),
    ],
)
def test_without_a_line_to_show(place: Place | None, hint: str, expected: str) -> None:
    assert SOURCE.problem(Mistake("wrong", hint, place)).render() == expected


def test_a_caret_never_leaves_its_line() -> None:
    problem = SOURCE.problem(Mistake("wrong", place=Place(3, 13, 80)))

    assert problem.render().splitlines()[-1] == "    |             ^"


def test_a_tab_does_not_shift_the_caret() -> None:
    problem = SOURCE.problem(Mistake("wrong", place=Place(2, 2, 5)))

    assert problem.render().splitlines()[1:] == ["  2 |  house:", "    |  ^^^^^"]


def test_of_a_long_line_what_stands_around_it() -> None:
    source = Source("f", (f"{'a' * 500}WRONG{'b' * 500}",))

    shown = source.problem(Mistake("wrong", place=Place(1, 501, 5))).render().splitlines()

    assert shown[1] == f"  1 | {'a' * 40}WRONG{'b' * 75}"
    assert shown[2] == f"    | {' ' * 40}^^^^^"


def test_sorted_by_place() -> None:
    problems = [Problem("f", line, column, 1, "m") for line, column in [(2, 1), (1, 9), (1, 2)]]

    assert str(ConfigError(problems)) == "f:1:2: m\nf:1:9: m\nf:2:1: m"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "`plain`"),
        ("\x1b[31m", "`\\x1b[31m`"),
        ("a\nb", "`a\\nb`"),
        ("\ud800", "`\\ud800`"),
        ("é", "`é`"),
        ("x " * 40, f"`{'x ' * 29}x…`"),
        ("sk-proj-12345678", "`***`"),
    ],
    ids=["plain", "terminal", "line break", "surrogate", "accent", "long", "credential"],
)
def test_what_is_quoted_cannot_do_harm(text: str, expected: str) -> None:
    assert quoted(text) == expected


@pytest.mark.parametrize(("word", "expected"), [("opnai", "did you mean `openai`?"), ("zzz", "")])
def test_did_you_mean(word: str, expected: str) -> None:
    assert did_you_mean(word, ["openai", "ollama"]) == expected


@pytest.mark.parametrize(
    ("options", "expected"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")]
)
def test_one_of(options: list[str], expected: str) -> None:
    assert one_of(options) == expected
