"""One request on its way, and what came of it so far."""

from collections.abc import Awaitable

from msgspec import Struct, field

from fairlead.state.memory import Share
from fairlead.types.chat import End, Request
from fairlead.types.decision import Attempt, Caller, Plan
from fairlead.types.facts import Attempted


class Carried:
    """What has happened so far while one plan is carried out. The gateway reads it at the end."""

    __slots__ = ("attempts", "by", "dropped", "end", "first_token_s", "sent_s", "settled", "share")

    def __init__(self) -> None:
        self.attempts: list[Attempted] = []
        self.settled: list[Awaitable[None]] = []
        self.by: Attempt | None = None
        """The attempt that is answering or was the last to try."""
        self.dropped: tuple[str, ...] = ()
        self.end: End | None = None
        self.sent_s: float | None = None
        self.first_token_s: float | None = None
        self.share: Share | None = None
        """What an answer in one piece takes of the memory for answers. None: next to nothing."""


class Errand(Struct):
    """One request on its way: who asks, what, by which plan, and what came of it so far."""

    request_id: str
    caller: Caller
    request: Request
    plan: Plan
    today: str
    """ISO date, for prices."""
    arrived_s: float
    continues: bool = False
    """An answer is gone on with: nothing of an endpoint's is passed on as it comes."""
    regardless: bool = False
    """Its breaker does not keep this out: the endpoint was answering this request just now, or all
    others have failed it."""
    carried: Carried = field(default_factory=Carried)
