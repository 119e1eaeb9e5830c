"""``fairlead check``: what is printed, and the exit status."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer
from msgspec import Struct
from rich.console import Console
from typer.testing import CliRunner

from fairlead.cli.check import check, command
from fairlead.types.catalog import Model

SOUND = """\
providers:
  openai:
  ollama:
  sim: {kind: simulated}
routes:
  mine: {models: [gpt-5-mini]}
"""
ENV = {"OPENAI_API_KEY": "hunter2"}


class Known(Struct, frozen=True):
    """A catalogue of one model."""

    aliases: Mapping[str, str] = {}

    def find(self, kind: str, model: str) -> Model | None:
        return None

    def recommended(self, kind: str) -> tuple[str, ...]:
        return ("gpt-5-mini",) if kind == "openai" else ()


def checked(
    folder: Path, text: str, env: Mapping[str, str] = ENV, *, as_json: bool = False
) -> tuple[int, str]:
    path = folder / "fairlead.yaml"
    path.write_text(text)
    stream = io.StringIO()
    status = check(path, env, Console(file=stream, width=60), Known(), as_json=as_json)
    return status, stream.getvalue().replace(f"{folder}/", "")


def test_a_sound_file_is_summed_up(tmp_path: Path) -> None:
    status, printed = checked(tmp_path, SOUND)

    assert status == 0
    assert printed.splitlines() == [
        "fairlead.yaml is sound",
        "  5 providers: openai (1), ollama (0), sim-north (2), sim-south (4), sim-house (2)",
        "  9 endpoints",
        "  6 routes: auto, best, cheap, fast, local, mine",
    ]


def test_warnings_do_not_fail_it(tmp_path: Path) -> None:
    status, printed = checked(tmp_path, SOUND.replace("gpt-5-mini", "gemma4"))

    assert status == 0
    assert "warning: route `mine`: nothing serves `gemma4` at present" in printed


def test_problems_are_shown_and_counted(tmp_path: Path) -> None:
    status, printed = checked(tmp_path, "server: {lsten: x, log: }\n")

    assert status == 1
    assert printed.splitlines() == [
        "fairlead.yaml:1:10: unknown key `lsten`",
        "  1 | server: {lsten: x, log: }",
        "    |          ^^^^^ did you mean `listen`?",
        "",
        "fairlead.yaml:1:24: a value is missing",
        "  1 | server: {lsten: x, log: }",
        "    |                        ^",
        "",
        "2 problems found",
    ]


def test_a_missing_credential_is_a_problem(tmp_path: Path) -> None:
    status, printed = checked(tmp_path, SOUND, env={})

    assert status == 1
    assert "no credential for provider `openai`: OPENAI_API_KEY is not set" in printed
    assert printed.endswith("1 problem found\n")


def test_missing_credentials_and_names_are_told_together(tmp_path: Path) -> None:
    text = "providers: {openai: }\nroutes: {r: {models: [gpt-6]}}\n"

    status, printed = checked(tmp_path, text, env={}, as_json=True)

    assert status == 1
    assert [(each["line"], each["message"]) for each in json.loads(printed)["problems"]] == [
        (1, "no credential for provider `openai`: OPENAI_API_KEY is not set"),
        (2, "there is no model `gpt-6`"),
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    stream, path = io.StringIO(), tmp_path / "none.yaml"

    assert check(path, {}, Console(file=stream, width=60), Known()) == 1
    assert stream.getvalue().splitlines()[0] == (
        f"{path}: there is no such file"
        f" (`fairlead init --config {path}` writes one, `--config FILE` names another)"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ", but for model servers found on this machine"),
        ("# nothing yet", ", but for model servers found on this machine"),
        ("server: {discover: false}", ""),
    ],
)
def test_a_file_that_names_nobody_is_warned_of(tmp_path: Path, text: str, found: str) -> None:
    status, printed = checked(tmp_path, text, env={})
    with_a_key = checked(tmp_path, text)[1]

    warning = f"warning: no provider is named, so nothing is served{found}"
    assert status == 0
    assert printed.endswith(f"{warning}\n")
    assert f"{warning} (`providers: {{openai: }}` takes the key in the environment)" in with_a_key


def test_as_json(tmp_path: Path) -> None:
    status, printed = checked(
        tmp_path, SOUND.replace("  sim: {kind: simulated}\n", ""), as_json=True
    )

    assert status == 0
    assert json.loads(printed) == {
        "file": "fairlead.yaml",
        "ok": True,
        "problems": [],
        "warnings": [],
        "providers": {"openai": 1, "ollama": 0},
        "endpoints": ["openai/gpt-5-mini"],
        "routes": ["auto", "best", "cheap", "fast", "local", "mine"],
    }


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_markup_in_the_file_is_only_text(tmp_path: Path, as_json: bool) -> None:
    _, printed = checked(tmp_path, '"[red]": 1\n', as_json=as_json)

    assert "unknown key `[red]`" in printed


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_no_credential_is_printed(tmp_path: Path, as_json: bool) -> None:
    for text in (SOUND, "providers: {openai: {api_key: hunter2}}\n"):
        assert "hunter2" not in checked(tmp_path, text, as_json=as_json)[1]


def test_colours_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.yaml"
    path.write_text("x: 1\n")
    stream = io.StringIO()
    console = Console(file=stream, width=500, force_terminal=True, color_system="standard")

    check(path, {}, console, Known())

    assert f"\x1b[1m{path}:1:1: \x1b[0munknown key `x`" in stream.getvalue()
    assert "\x1b[31m    | ^ known here" in stream.getvalue()


def test_as_a_command(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("server: {log: none}\n")
    app = typer.Typer()
    app.command()(command(Known))

    result = CliRunner().invoke(app, ["--config", str(tmp_path / "f.yaml"), "--json"])

    assert (result.exit_code, json.loads(result.output)["ok"]) == (0, True)
