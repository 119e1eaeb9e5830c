"""What came of one seed."""

from msgspec import Struct


class Result(Struct, frozen=True):
    kind: str
    """``world``; ``served``: over the wire; or ``handing``: of processes that take over."""
    seed: int
    requests: int
    sent: int
    crashes: int
    cancelled: int
    answered: int
    replayed: int
    broken: str
    """The invariant that does not hold, and where; empty when all do."""
    trace: list[tuple[float, str, str]]
