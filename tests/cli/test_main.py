"""The program as a whole: every command is there and says what it is for."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairlead import __version__
from fairlead.cli.demo.command import program as demo
from fairlead.cli.main import preview, program
from fairlead.outside.config import ConfigError

COMMANDS = ("serve", "demo", "init", "check", "explain", "logs", "usage", "keys")


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(program, words, prog_name="fairlead")
    return result.exit_code, result.output


def test_help_names_every_command_in_the_order_of_use() -> None:
    status, printed = run("--help")

    assert status == 0
    assert tuple(re.findall(r"^│ ([a-z]+) ", printed, re.MULTILINE)) == COMMANDS


def test_no_command_is_answered_with_help() -> None:
    assert "Usage: fairlead" in run()[1]


def test_the_version() -> None:
    assert run("--version") == (0, f"fairlead {__version__}\n")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "demo"])
def test_each_command_has_help(command: str) -> None:
    status, printed = run(command, "--help")

    assert status == 0
    assert f"Usage: fairlead {command}" in printed


@pytest.mark.parametrize(
    "words", [(), *[(name,) for name in COMMANDS], ("keys", "create")], ids=str
)
def test_no_flag_looks_as_if_it_took_a_value(words: tuple[str, ...]) -> None:
    """Types are left to who writes programs: ``<bool>`` behind a flag asks for a ``true``."""
    if words == ("demo",):
        printed = CliRunner().invoke(demo, ["--help"]).output
    else:
        printed = run(*words, "--help")[1]

    listed = printed.partition("─ Options ─")[2]
    assert "--help" in listed
    assert "<" not in listed


@pytest.mark.parametrize("command", ["init", "check"])
def test_what_a_terminal_cannot_show_is_told_in_a_line(tmp_path: Path, command: str) -> None:
    words = [command, "--config", str(tmp_path / "é.yaml")]
    result = CliRunner(charset="ascii").invoke(program, words, prog_name="fairlead")

    assert result.exit_code == 1
    assert "some of this text cannot be written in the encoding in use" in result.output


def test_what_an_option_takes_is_told_when_it_is_something_else() -> None:
    status, printed = run("logs", "--outcome", "bad")

    assert status == 2
    assert "'--outcome': 'bad' is not one of 'ok'" in printed


@pytest.mark.parametrize("words", [("serv",), ("keys", "mak"), ("--verson",)])
def test_what_does_not_exist_is_refused(words: tuple[str, ...]) -> None:
    status, printed = run(*words)

    assert status == 2
    assert "No such" in printed


@pytest.mark.parametrize(
    ("listen", "told"),
    [("4600", "127.0.0.1:4600"), ("here", "127.0.0.1:4600"), ("127.0.0.1:99999", "host and port")],
)
def test_an_address_that_is_none_is_explained(listen: str, told: str) -> None:
    status, printed = run("serve", "--listen", listen)

    assert status == 2
    assert told in printed


def test_a_preview_starts_nothing(tmp_path: Path) -> None:
    config = tmp_path / "fairlead.yaml"
    config.write_text("{providers: {pretend: {kind: simulated}}, server: {discover: false}}")

    catalog = preview(config)

    assert {endpoint.provider for endpoint in catalog.endpoints} == {
        *("sim-north", "sim-south", "sim-house")
    }
    assert all(endpoint.base_url == "http://127.0.0.1:0/v1" for endpoint in catalog.endpoints)


def test_a_preview_of_a_broken_file_tells_its_mistakes(tmp_path: Path) -> None:
    config = tmp_path / "fairlead.yaml"
    config.write_text("providers: {openai: {dialekt: x}}")

    with pytest.raises(ConfigError, match="dialekt"):
        preview(config)
