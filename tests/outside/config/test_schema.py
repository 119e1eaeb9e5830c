"""The page on configuration says what the tables say, and its examples work."""

import re
from pathlib import Path
from typing import get_args

import pytest

from fairlead.outside.config import parse
from fairlead.outside.config.kinds import DIALECTS, KINDS, SIGNERS
from fairlead.outside.config.parse import TOP
from fairlead.outside.config.schema import TABLES
from fairlead.outside.config.shapes import Key
from fairlead.types.catalog import Capability, Modality
from fairlead.types.decision import TaskKind

PAGE = (Path(__file__).parents[3] / "docs/configuration.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
KEYS = [
    (of, name, key) for of, table in {"top": TOP, **TABLES}.items() for name, key in table.items()
]


@pytest.mark.parametrize(("of", "name", "key"), KEYS, ids=[f"{of}.{name}" for of, name, _ in KEYS])
def test_every_key_has_its_row(of: str, name: str, key: Key) -> None:
    assert f"| `{name}` | {key.type} | {key.default} | {key.about} |" in PAGE


def test_no_row_is_left_of_a_key_that_is_gone() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)

    assert set(rows) == {name for _, name, _ in KEYS} | set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_its_row(name: str) -> None:
    kind = KINDS[name]

    assert f"| `{name}` | {kind.address or '-'} | {kind.env or '-'} | {kind.dialect} |" in PAGE


@pytest.mark.parametrize(
    "word",
    [*DIALECTS, *SIGNERS, *get_args(Capability), *get_args(Modality), *get_args(TaskKind)],
)
def test_every_word_that_a_value_can_be_is_named(word: str) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_sound(text: str) -> None:
    assert parse(text).warnings == ()


@pytest.mark.parametrize(("of", "name"), [(of, name) for of, name, _ in KEYS])
def test_every_key_is_used_in_an_example(of: str, name: str) -> None:
    if of != "price" or name in {"input", "output"}:
        assert any(re.search(rf"\b{name}:", text) for text in EXAMPLES)
