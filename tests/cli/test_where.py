"""Which folder a command looks into, and how it says that it cannot."""

import sqlite3
from pathlib import Path

import pytest
import typer

from fairlead.cli import where
from fairlead.cli.complaint import complaints
from fairlead.outside.config import ConfigError
from fairlead.outside.config.settings import default_data
from fairlead.types.errors import NotFound, OurError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_folder_given_comes_before_all() -> None:
    Path("fairlead.yaml").write_text("not: sound\n")

    assert where.folder(Path("none.yaml"), Path("here")).path == Path("here")


@pytest.mark.parametrize("given", [None, Path("other.yaml")])
def test_then_the_configurations(given: Path | None) -> None:
    (given or Path("fairlead.yaml")).write_text("server: {data: /somewhere}\n")

    assert where.folder(given, None).path == Path("/somewhere")


def test_then_the_usual_one() -> None:
    assert where.folder(None, None).path == Path(default_data())
    assert where.config_file(None) is None


def test_a_file_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        where.folder(Path("none.yaml"), None)


def test_looking_into_records_makes_none(tmp_path: Path) -> None:
    at = where.folder(None, tmp_path / "data")
    with pytest.raises(NotFound, match=r"there are no records in .*/data yet"):
        where.records(at)

    assert not at.path.exists()


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
    Path("fairlead.yaml").write_text("server: {dta: x}\n")
    with pytest.raises(typer.Exit), complaints():
        where.folder(None, None)

    assert capsys.readouterr().err.splitlines() == [
        "fairlead.yaml:1:10: unknown key `dta`",
        "  1 | server: {dta: x}",
        "    |          ^^^ did you mean `data`?",
    ]


def test_a_bug_is_no_complaint() -> None:
    with pytest.raises(ZeroDivisionError), complaints():
        raise ZeroDivisionError
