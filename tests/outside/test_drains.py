"""Which attempts are those of a process that has handed over, and whether it still lives."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.outside.drains import Mark, found

VICTIM = """\
import sys
from pathlib import Path
from fairlead.outside.drains import Mark
mark = Mark(Path(sys.argv[1]))
mark.begin(("a.1", "a.2"))
mark.add("a.3")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Mark]:
    made = Mark(tmp_path)
    yield made
    made.close()


def test_it_names_its_attempts_for_as_long_as_it_is_open(tmp_path: Path, mark: Mark) -> None:
    assert found(tmp_path) == []
    mark.begin(("a.1", "b.1"))
    mark.add("c.1")

    (seen,) = found(tmp_path)
    assert (seen.alive, seen.attempt_ids) == (True, ("a.1", "b.1", "c.1"))
    assert stat.S_IMODE(seen.path.stat().st_mode) == 0o600
    assert found(tmp_path) == [seen], "looking takes no lock away"

    mark.close()
    mark.add("late.1")
    (closed,) = found(tmp_path)
    assert (closed.alive, closed.attempt_ids) == (False, ("a.1", "b.1", "c.1"))


def test_one_without_attempts_is_seen_as_well(tmp_path: Path, mark: Mark) -> None:
    """It may still ask for some."""
    mark.begin(())

    assert [(each.alive, each.attempt_ids) for each in found(tmp_path)] == [(True, ())]


def test_withdrawn_it_is_gone(tmp_path: Path, mark: Mark) -> None:
    mark.begin(("a.1",))
    mark.withdraw()
    assert found(tmp_path) == []

    mark.begin(("a.2",))
    assert [each.attempt_ids for each in found(tmp_path)] == [("a.2",)]


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, mark: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(descriptor: int, text: bytes) -> int:
        return write(descriptor, text[: len(text) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            mark.begin(("a.1",))
    assert list(tmp_path.iterdir()) == []

    mark.begin(("a.1",))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            mark.add("b.1")
    mark.add("c.1")
    (seen,) = found(tmp_path)
    assert {"a.1", "c.1"} <= set(seen.attempt_ids)


def test_there_may_be_several(tmp_path: Path, mark: Mark) -> None:
    other = Mark(tmp_path)
    mark.begin(("a.1",))
    other.begin(("b.1",))
    other.close()

    assert sorted((each.attempt_ids, each.alive) for each in found(tmp_path)) == [
        (("a.1",), True),
        (("b.1",), False),
    ]


def test_a_process_that_is_killed_lives_no_more(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert [each.alive for each in found(tmp_path)] == [True]
        process.send_signal(signal.SIGKILL)
        process.wait()

        assert [(each.alive, each.attempt_ids) for each in found(tmp_path)] == [
            (False, ("a.1", "a.2", "a.3"))
        ]
