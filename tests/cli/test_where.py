"""Which configuration and which folder a command looks into."""

from pathlib import Path

import pytest

from fairlead.cli import where
from fairlead.outside.config import ConfigError
from fairlead.outside.config.settings import default_data
from fairlead.types.errors import NotFound


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
