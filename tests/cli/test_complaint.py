"""How a command says that it cannot: in one line, on standard error, with status 1."""

import sqlite3

import pytest
import typer

from fairlead.cli.complaint import complaints, understood
from fairlead.outside.config import parse
from fairlead.outside.config.problems import Mistake
from fairlead.types.errors import OurError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OurError("broken here"), "broken here"),
        (sqlite3.DatabaseError("malformed"), "the records cannot be used: malformed"),
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"), "cannot be written in the encoding"),
    ],
)
def test_a_complaint_is_one_line_on_standard_error(
    error: Exception, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, complaints():
        raise error

    output = capsys.readouterr()
    assert (ended.value.exit_code, output.out) == (1, "")
    assert told in output.err
    assert output.err.count("\n") == 1


def test_a_wrong_configuration_is_shown_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), complaints():
        parse("server: {dta: x}\n")

    assert capsys.readouterr().err.splitlines() == [
        "fairlead.yaml:1:10: unknown key `dta`",
        "  1 | server: {dta: x}",
        "    |          ^^^ did you mean `data`?",
    ]


def test_a_bug_is_no_complaint() -> None:
    with pytest.raises(ZeroDivisionError), complaints():
        raise ZeroDivisionError


def test_an_option_that_is_not_understood_says_why() -> None:
    def parse(text: str) -> int:
        raise Mistake(f"{text} is odd", "try another")

    with pytest.raises(typer.BadParameter) as error:
        understood(parse, "x", "--some")

    assert (error.value.message, error.value.param_hint) == ("x is odd (try another)", "--some")
