"""Stands in the door between two real processes of which one takes over: passes on what they say,
and kills one of them at a word of the test's choice."""

import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fairlead.outside.handover import MOST_BYTES, MOST_SOCKETS, decoded

MOST_S = 20.0
CREDENTIALS = struct.Struct("3i")
"""Process, user, group: unix(7), SO_PEERCRED."""


class Doorway:
    """Between the process whose door it was and the next one that comes."""

    def __init__(self, door: Path, word: str, victim: str) -> None:
        """The ``victim``, "old" or "new", dies when ``word`` is said and not heard yet; a word of
        its own is still heard by the other one."""
        self._word, self._victim = word, victim
        self._behind = door.with_name("behind.sock")
        door.rename(self._behind)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.settimeout(MOST_S)
        self._listening.bind(str(door))
        self._listening.listen()
        self.said: list[str] = []

    def stand(self) -> None:
        with self._listening, socket.socket(socket.AF_UNIX) as old:
            new, _ = self._listening.accept()
            old.settimeout(MOST_S)
            old.connect(str(self._behind))  # and then something has to be said
            # Who comes later finds nobody here.
            self._listening.close()
            with new:
                new.settimeout(MOST_S)
                goes_on = True
                while goes_on:
                    goes_on = self._passed(new, old) and self._passed(old, new)

    def _passed(self, source: socket.socket, target: socket.socket) -> bool:
        """Whether both live, and say something."""
        line, descriptors, _, _ = socket.recv_fds(source, MOST_BYTES, MOST_SOCKETS)
        if not line:
            return False
        self.said.append(type(decoded(line)).__name__)
        told = self.said[-1] == self._word
        if told:
            target.shutdown(socket.SHUT_RD)
            self._kill(source, target)
        with suppress(OSError):  # it is the one that was killed
            socket.send_fds(target, [line], descriptors)
        for each in descriptors:
            os.close(each)
        return not told

    def _kill(self, source: socket.socket, target: socket.socket) -> None:
        new_speaks = len(self.said) % 2 == 1
        victim = source if new_speaks == (self._victim == "new") else target
        size = CREDENTIALS.size
        process, _, _ = CREDENTIALS.unpack(
            victim.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
        os.kill(process, signal.SIGKILL)


@contextmanager
def doorway(door: Path, word: str, victim: str) -> Iterator[Doorway]:
    made = Doorway(door, word, victim)
    standing = threading.Thread(target=made.stand)
    standing.start()
    try:
        yield made
    finally:
        standing.join()
