"""Names that two processes never have at once."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fairlead.outside.claims import Claims

OTHER = """
import sys
from pathlib import Path
from fairlead.outside.claims import Claims
claims = Claims(Path(sys.argv[1]))
for line in sys.stdin:
    what, name = line.split()
    if what == "take":
        print(claims.take(bytes.fromhex(name)), flush=True)
    else:
        print(claims.give_back(bytes.fromhex(name)), flush=True)
"""
ONE, TWO = b"\x01" * 32, b"\xff" * 32


class Other:
    """Another process with the same file."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def does(self, what: str, name: bytes) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, name.hex(), file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claims.lock"


@pytest.fixture
def other(path: Path) -> Iterator[Other]:
    process = Other(path)
    yield process
    process.kill()


def test_a_name_is_one_processes_until_it_gives_it_back(path: Path, other: Other) -> None:
    with closing(Claims(path)) as claims:
        assert claims.take(ONE)
        assert other.does("take", ONE) == "False"
        assert other.does("take", TWO) == "True"
        assert not claims.take(TWO)
        claims.give_back(ONE)
        assert other.does("take", ONE) == "True"

    assert path.stat().st_size == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_dies_gives_all_back(path: Path, other: Other) -> None:
    with closing(Claims(path)) as claims:
        other.does("take", ONE)
        other.does("take", TWO)
        assert not claims.take(ONE)
        other.kill()
        assert (claims.take(ONE), claims.take(TWO)) == (True, True)
