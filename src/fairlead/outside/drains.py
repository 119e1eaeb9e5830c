"""Files that say which attempts are those of processes that no longer serve, but still run.

Each holds a lock on its own for as long as it lives, however it dies; the system lets go of it.
"""

import errno
import fcntl
import os
from pathlib import Path
from secrets import token_hex

from msgspec import Struct

BEGINNING = "draining-"
MODE = 0o600


class Found(Struct, frozen=True):
    path: Path
    alive: bool
    attempt_ids: tuple[str, ...]


class Mark:
    """The file of this process, from ``begin`` until ``close``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        self._path = folder

    def begin(self, attempt_ids: tuple[str, ...]) -> None:
        """From now on these are ours. The file is whole and locked before it can be seen. Raises
        OSError."""
        name = f"{os.getpid()}-{token_hex(4)}"
        made, self._path = self._folder / f".{name}", self._folder / f"{BEGINNING}{name}"
        self._file = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, MODE)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._write(attempt_ids)
            made.rename(self._path)
        except OSError:
            made.unlink(missing_ok=True)
            self.close()
            raise

    def add(self, attempt_id: str) -> None:
        """Raises OSError."""
        self._write((attempt_id,))

    def withdraw(self) -> None:
        """We serve after all."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """All is settled. Whoever serves removes the file, once that has been counted."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, attempt_ids: tuple[str, ...]) -> None:
        if self._file is not None:
            # A line of its own, whatever there was room for before.
            names = "".join(f"\n{each}\n" for each in attempt_ids).encode()
            if os.write(self._file, names) < len(names):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def found(folder: Path) -> list[Found]:
    """The files of all processes, this one's own included."""
    marks = []
    for path in sorted(folder.glob(f"{BEGINNING}*")):
        try:
            with path.open("rb") as file:
                alive = _is_locked(file.fileno())
                # Read after that: of a process that is gone, all is there.
                marks.append(Found(path, alive, tuple(file.read().decode().split())))
        except FileNotFoundError:
            pass
    return marks


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
