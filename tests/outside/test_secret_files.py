"""The file of a credential: read at once and only so far, and what no header could hold is told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.outside.secret_files import MAX_SECRET_BYTES, flaw, read_secret


def test_white_space_around_it_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"  sk-canary-1\r\n\n")

    assert read_secret(str(path)) == "sk-canary-1"


def test_it_is_read_as_far_as_too_large_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for size, is_whole in ((MAX_SECRET_BYTES, True), (MAX_SECRET_BYTES + 1, False)):
        path.write_bytes(b"x" * size)
        assert (flaw(read_secret(str(path))) == "") is is_whole
    path.write_bytes(b"x" * 10 * MAX_SECRET_BYTES)

    assert len(read_secret(str(path))) == MAX_SECRET_BYTES + 1


def test_no_byte_fails_to_be_read(tmp_path: Path) -> None:
    """An error of decoding would carry the secret."""
    path = tmp_path / "key"
    path.write_bytes(bytes(range(256)))

    assert flaw(read_secret(str(path)))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: None])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "key")

    with pytest.raises(OSError, match="key"):
        read_secret(str(tmp_path / "key"))


def test_a_path_that_none_can_be(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not a path"):
        read_secret(f"{tmp_path}/a\0b")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("sk-canary-1", True),
        ("sk canary", True),
        ("", True),
        ("sk-\n1", False),
        ("sk-\x7f", False),
        ("sk-ü", False),
    ],
)
def test_what_a_header_can_hold(text: str, holds: bool) -> None:
    assert (flaw(text) == "") is holds
    assert text == "" or text not in flaw(text)
