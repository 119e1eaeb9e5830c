"""Names that one process has and no other with the same file: a byte of it is locked for each. A
process that dies gives all of its names back."""

import fcntl
import os
from pathlib import Path


class Claims:
    """Locks are the process's, not the object's (fcntl(2), "Record locks"): within one process
    somebody else has to know what is taken."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, name: bytes) -> bool:
        """Whether it is ours now."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
        except BlockingIOError:
            return False
        return True

    def give_back(self, name: bytes) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(name))

    def close(self) -> None:
        os.close(self._file)


def _place(name: bytes) -> int:
    """An offset of 62 bits, as far as every file system counts."""
    return int.from_bytes(name[:8], "big") >> 2
