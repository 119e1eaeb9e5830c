"""How much of the endpoints' answers waits here, all of them together, and how much may.

An answer in one piece waits until its end has come and its caller has it; so does an event of a
stream until it is whole. Each may be long, and thousands may be under way. Most come in one piece
of the network's, and are not counted: those are bounded by how much is read at once.
"""

from fairlead.types.errors import Overloaded

MOST_BYTES = 512 << 20
"""Eight of the longest answers, or a thousand of 128k tokens."""


class Memory:
    """One per process."""

    __slots__ = ("most_bytes", "taken_bytes")

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.taken_bytes = 0


class Share:
    """What one answer takes of it. Given back with the last reference to it, so that whoever passes
    the answer on passes this on too, and nobody has to say when it is done."""

    __slots__ = ("_memory", "_taken_bytes")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._taken_bytes = 0

    def take(self, size: int) -> None:
        """Raises Overloaded where it does not fit, and gives back what was taken: the answer will
        not be whole."""
        memory = self._memory
        memory.taken_bytes += size
        self._taken_bytes += size
        if memory.taken_bytes > memory.most_bytes:
            self.give_back()
            raise Overloaded(
                "the answers that are on their way fill the memory that they may have "
                "(server.limits.max_answer_memory)",
                retry_after_s=1,
            )

    def give_back(self) -> None:
        self._memory.taken_bytes -= self._taken_bytes
        self._taken_bytes = 0

    __del__ = give_back
