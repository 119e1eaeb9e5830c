"""Whether credentials are there."""

from pathlib import Path

import pytest

from fairlead.outside.config import available, missing, parse
from fairlead.outside.config.settings import Settings

TEXT = """\
providers:
  openai:
  work: {kind: anthropic, api_key: [{env: KEY_A}, {env: KEY_B}]}
  ollama:
"""
ALL = {"OPENAI_API_KEY": "1", "KEY_A": "2", "KEY_B": "3"}


def with_file(path: Path) -> Settings:
    return parse(f"providers: {{openai: {{api_key: {{file: {path}}}}}}}")


def test_all_there() -> None:
    settings = parse(TEXT)

    assert missing(settings, ALL) == ()
    assert available(settings, ALL) == settings


@pytest.mark.parametrize("env", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " \n"}])
def test_a_variable_that_says_nothing_is_missing(env: dict[str, str]) -> None:
    (problem,) = missing(parse("providers:\n  openai:\n"), env)

    assert problem.render().splitlines() == [
        "fairlead.yaml:2:3: no credential for provider `openai`: OPENAI_API_KEY is not set",
        "  2 |   openai:",
        "    |   ^^^^^^",
    ]


def test_the_reference_itself_is_pointed_at() -> None:
    (problem,) = missing(parse(TEXT), {**ALL, "KEY_B": ""})

    assert (problem.line, problem.column) == (3, 51)


def test_one_of_two_is_enough() -> None:
    settings = available(parse(TEXT), {**ALL, "KEY_A": ""})

    assert [each.id for each in settings.providers[1].secrets] == ["env:KEY_B"]
    assert settings.absent == ()
    assert settings.warnings == (
        "fairlead.yaml:3:37: no credential for provider `work`: KEY_A is not set",
    )


def test_a_provider_without_any_is_absent() -> None:
    settings = available(parse(TEXT), {"KEY_A": "2", "KEY_B": "3"})

    assert settings.absent == ("openai",)
    assert settings.warnings[-1] == "provider `openai` is left out: it has no credential"


def test_whoever_needs_none_stays() -> None:
    assert "ollama" not in available(parse(TEXT), {}).absent


def test_files(tmp_path: Path) -> None:
    there, empty, gone = (tmp_path / name for name in ("there", "empty", "gone"))
    there.write_text("k\n")
    empty.write_text("\n")

    assert missing(with_file(there), {}) == ()
    assert missing(with_file(empty), {})[0].message.endswith(f"{empty} is empty")
    assert missing(with_file(gone), {})[0].message.endswith(f"{gone}: No such file or directory")
