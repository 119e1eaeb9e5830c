"""Whether credentials are there."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.outside.config import available, missing, parse
from fairlead.outside.config.settings import Settings
from fairlead.outside.secret_files import MAX_SECRET_BYTES

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


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"hush\xff", "holds characters that no header can carry"),
        (b"hush\nhush", "holds characters that no header can carry"),
        (b"hush" * MAX_SECRET_BYTES, f"is larger than {MAX_SECRET_BYTES} bytes"),
    ],
)
def test_what_no_header_can_hold_is_not_there(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    env = {**ALL, "KEY_A": content.decode("latin-1")}

    for settings, name in ((with_file(path), str(path)), (parse(TEXT), "KEY_A")):
        (problem,) = missing(settings, env)
        assert problem.message.endswith(f"{name} {why}")
        assert "hush" not in problem.render()


@pytest.mark.parametrize(
    ("make", "why"), [(os.mkfifo, "not a regular file"), (os.mkdir, "Is a directory")]
)
def test_what_is_no_file_is_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    path = tmp_path / "key"
    make(path)

    (problem,) = missing(with_file(path), {})

    assert problem.message.endswith(f"{path}: {why}")


def test_a_device_is_not_read() -> None:
    (problem,) = missing(with_file(Path("/dev/zero")), {})

    assert problem.message.endswith("/dev/zero: not a regular file")
