"""The page on commands names every command and option, and nothing that does not exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from fairlead.cli.main import program

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^##+ ([\w ]+)\n(.*?)(?=^##+ |\Z)", PAGE, re.MULTILINE | re.DOTALL))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
EVERYWHERE = {"--help", "--version"}
PASSED_ON = {"demo"}
"""Its options are those of a process of its own."""


def options(command: object, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command's name, as one would type it, and its long options."""
    for each, inner in getattr(command, "commands", {}).items():
        yield from options(inner, f"{name} {each}".strip())
    if not hasattr(command, "commands"):
        stated = (option for param in getattr(command, "params", ()) for option in param.opts)
        yield name, {option for option in stated if option.startswith("--")}


COMMANDS = dict(options(get_command(program)))


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - PASSED_ON))
def test_every_option_is_on_the_page(name: str) -> None:
    (section,) = (
        text for title, text in SECTIONS.items() if re.sub(" [A-Z_]+$", "", title) == name
    )
    # What all commands on keys take is said once.
    section += SECTIONS["keys"] if name.startswith("keys ") else ""

    assert COMMANDS[name] - EVERYWHERE - {"--json"} <= set(OPTION.findall(section))
    assert ("--json" in COMMANDS[name]) == ("--json" in section)


def test_nothing_on_the_page_is_made_up() -> None:
    real = set().union(*COMMANDS.values(), EVERYWHERE, {"--speed", "--svg"})

    assert set(OPTION.findall(PAGE)) <= real
