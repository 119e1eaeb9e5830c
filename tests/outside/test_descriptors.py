"""As many files as the system lets us have."""

import resource
import subprocess
import sys

import pytest

from fairlead.outside.descriptors import raised

PROGRAM = """
import resource
from fairlead.outside.descriptors import raised
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raised(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "then"),
    [(256, 1024, "1024 1024 1024"), (1024, 1024, "1024 1024 1024"), (10, 999, "999 999 999")],
)
def test_the_limit_of_open_files_is_raised_as_far_as_may_be(
    soft: int, hard: int, then: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(soft=soft, hard=hard)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert ran.stdout.strip() == then


@pytest.mark.parametrize("error", [ValueError("current limit exceeds maximum"), PermissionError()])
def test_where_it_may_not_be_raised_it_stays(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(what: int, limits: tuple[int, int]) -> None:
        raise error

    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)

    assert raised() == 256
