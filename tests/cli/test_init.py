"""``fairlead init``: what it writes, and what it leaves alone."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import typer
from msgspec import Struct
from rich.console import Console
from typer.testing import CliRunner

from cli.test_check import checked
from fairlead.cli.init import command, init, starting
from fairlead.outside.config import parse
from fairlead.types.catalog import Model


class Found(Struct, frozen=True):
    provider: str
    kind: str
    address: str
    models: tuple[Model, ...] = ()


OLLAMA = Found("ollama", "ollama", "http://127.0.0.1:11434/v1", (Model("gemma4"), Model("phi5")))
MANY = Found(
    "llamacpp",
    "llamacpp",
    "http://127.0.0.1:8080/v1",
    tuple(Model(f"model-{number}") for number in range(30)),
)
ODD = Found("vllm", "vllm", "http://127.0.0.1:8000/v1", (Model("x\nserver: {listen: 0.0.0.0:1}"),))
KEYS = {"OPENAI_API_KEY": "hunter2", "ANTHROPIC_API_KEY": "hunter2", "HOME": "/root"}


def initialised(
    path: Path, found: Sequence[Found], env: Mapping[str, str], *, force: bool = False
) -> tuple[int, str]:
    stream = io.StringIO()
    console = Console(file=stream, width=60)
    status = init(path, found, env, console, console, force=force)
    return status, stream.getvalue()


SITUATIONS = pytest.mark.parametrize(
    ("found", "env", "providers"),
    [
        ([], {}, ["sim"]),
        ([], KEYS, ["openai", "anthropic"]),
        ([OLLAMA], {}, ["ollama"]),
        ([OLLAMA, MANY, ODD], KEYS, ["openai", "anthropic", "ollama", "llamacpp", "vllm"]),
    ],
    ids=["nothing there", "keys", "a local server", "all of it"],
)


@SITUATIONS
def test_it_names_whoever_is_there(
    found: list[Found], env: dict[str, str], providers: list[str]
) -> None:
    assert [each.name for each in parse(starting(found, env)).providers] == providers


@SITUATIONS
def test_what_it_writes_passes_check(
    tmp_path: Path, found: list[Found], env: dict[str, str], providers: list[str]
) -> None:
    status, printed = checked(tmp_path, starting(found, env), env)

    assert (status, "warning" in printed) == (0, False)


@SITUATIONS
def test_it_is_short_and_holds_no_credential(
    found: list[Found], env: dict[str, str], providers: list[str]
) -> None:
    text = starting(found, env)

    assert len(text.splitlines()) < 60
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "hunter2" not in text


def test_entries_that_are_commented_out_can_be_used_as_they_stand(tmp_path: Path) -> None:
    """They have no space after the ``#``, or more than one; prose has just one."""
    text = re.sub(r"^  #(?=\S|  )", "  ", starting([OLLAMA], KEYS), flags=re.MULTILINE)

    settings = parse(text)

    assert {each.name for each in settings.providers} > {"work", "house"}
    assert {each.name for each in settings.models} == {"gpt-5-mini", "gemma-4-12b", "phi-5"}
    assert [each.name for each in settings.routes] == ["everyday", "summaries", "careful"]
    assert checked(tmp_path, text, KEYS)[1].count("no credential for provider `work`") == 2


def test_it_writes_and_says_what_comes_next(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.yaml"

    status, printed = initialised(path, [OLLAMA], KEYS)

    assert status == 0
    assert printed.splitlines() == [
        f"{path} written, with openai (OPENAI_API_KEY), anthropic (ANTHROPIC_API_KEY),"
        " ollama (http://127.0.0.1:11434/v1).",
        f"Next: fairlead check --config {path}, then fairlead serve --config {path}",
    ]
    assert path.read_text() == starting([OLLAMA], KEYS)


def test_where_nobody_is_there_it_says_so(tmp_path: Path) -> None:
    _, printed = initialised(tmp_path / "fairlead.yaml", [], {})

    assert "written, with simulated models: no provider's key is in the environment" in printed


def test_the_usual_file_needs_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    _, printed = initialised(Path("fairlead.yaml"), [], {})

    assert printed.endswith("\nNext: fairlead check, then fairlead serve\n")


def test_it_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.yaml"
    path.write_text("mine")

    status, printed = initialised(path, [], {})

    assert (status, path.read_text()) == (1, "mine")
    assert printed == f"{path} exists; --force replaces it\n"


def test_unless_it_is_forced(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.yaml"
    path.write_text("mine" * 10_000)

    status, _ = initialised(path, [], {}, force=True)

    assert (status, path.read_text()) == (0, starting([], {}))


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "none" / "fairlead.yaml"

    assert initialised(path, [], {}) == (
        1,
        f"{path} cannot be written: No such file or directory\n",
    )


def test_complaints_go_to_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("mine")
    app = typer.Typer()
    app.command()(command(list))

    result = CliRunner().invoke(app, ["--config", str(path)])

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{path} exists; --force replaces it\n"


def test_as_a_command(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    app = typer.Typer()
    app.command()(command(lambda: [OLLAMA]))

    result = CliRunner().invoke(app, ["--config", str(path)])

    assert result.exit_code == 0
    assert "ollama" in path.read_text()
