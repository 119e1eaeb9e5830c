"""How much of what is on its way waits here, all of it together, and how much may: one for the
endpoints' answers and one for the callers' requests.

An answer in one piece waits until its end has come and its caller has it; so does an event of a
stream until it is whole. A request waits until it is answered, since another endpoint may have to
be asked. Each may be long, and thousands may be under way. Most come in one piece of the network's,
and are not counted: those are bounded by how much is read at once, and by how many there may be.
"""

from fairlead.types.errors import Overloaded

MOST_BYTES = 512 << 20
"""Of answers eight of the longest, or a thousand of 128k tokens. Of requests sixteen of the
longest, or a hundred of a million tokens."""


class Memory:
    """One per process for each of both. ``full`` says so to whom it happens to."""

    __slots__ = ("_full", "most_bytes", "taken_bytes")

    def __init__(self, full: str, most_bytes: int = MOST_BYTES) -> None:
        self._full = full
        self.most_bytes = most_bytes
        self.taken_bytes = 0

    def has_room(self, size: int) -> bool:
        return self.taken_bytes + size <= self.most_bytes

    def overloaded(self) -> Overloaded:
        return Overloaded(self._full, retry_after_s=1)


def for_answers() -> Memory:
    return Memory(
        "the answers that are on their way fill the memory that they may have"
        " (server.limits.max_answer_memory)"
    )


def for_bodies() -> Memory:
    return Memory(
        "the requests that are being served fill the memory that their bodies may have"
        " (server.limits.max_body_memory)"
    )


class Share:
    """What one of them takes of it. Given back with the last reference to it, so that whoever
    passes the bytes on passes this on too, and nobody has to say when it is done."""

    __slots__ = ("_memory", "_taken_bytes")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._taken_bytes = 0

    def take(self, size: int) -> None:
        """Raises Overloaded where it does not fit, and gives back what was taken: it will not be
        whole."""
        memory = self._memory
        memory.taken_bytes += size
        self._taken_bytes += size
        if memory.taken_bytes > memory.most_bytes:
            self.give_back()
            raise memory.overloaded()

    def give_back(self) -> None:
        self._memory.taken_bytes -= self._taken_bytes
        self._taken_bytes = 0

    __del__ = give_back
