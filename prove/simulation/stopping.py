"""A process that is told to stop: what it promises (docs/operations.md), by the time outside."""

from collections.abc import Sequence

from msgspec import Struct

from prove.simulation.chance import Chance
from prove.simulation.invariants import Request, must
from prove.simulation.machine import Machine
from prove.simulation.story import STARTS_S, Ask, Event
from prove.simulation.wire import Site

SHUT, REFUSED, HUNG_UP = "shutting down", "refused", "hung up"
TURNED_AWAY = (SHUT, REFUSED, HUNG_UP)
SOON_S = 0.05
"""Who comes so shortly before it closes may come too late, and so shortly after it in time."""
SLOW_S = 0.1
CUT_S = 3.0
"""What is cut has a second to say so, and connections have two to close."""


def with_stops(
    events: Sequence[Event], asks: Sequence[Ask], storm_s: float, chance: Chance
) -> list[Event]:
    """Told to stop about when somebody asks, perhaps twice, and once more later on."""
    more = []
    end_s = STARTS_S + storm_s - 0.1
    for _ in range(chance.one_of((0, 1, 1, 2))):
        after_s = chance.one_of((0.01, 0.3, 2.0)) * chance.random()
        at_s = min(chance.one_of(asks).at_s + after_s, end_s)
        window_s = chance.one_of((0.0, 0.1, 0.5, 5.0, 60.0))
        more.append(Event(at_s, "tell_to_stop", window_s))
        if chance.happens(0.2):
            again_s = min(at_s + 2 * chance.random(), end_s)
            more.append(Event(again_s, "tell_to_stop", window_s))
    return sorted([*events, *more], key=lambda event: event.at_s)


class Stop(Struct):
    """From the moment at which a process was told."""

    machine: Machine
    site: Site
    told_s: float
    delay_s: float
    window_s: float
    slack_s: float
    again_s: float = 1e99
    """Told once more: who watches does not want to wait."""
    over_s: float | None = None

    @property
    def closed_s(self) -> float:
        """From when on it takes nothing new: the address is given up."""
        return self.site.closed_s

    @property
    def read_s(self) -> float:
        """Who came before was read before it closed. If it stood still until then nobody was."""
        from_s, until_s = self.site.stood
        return (from_s if until_s >= self.closed_s - SOON_S else self.closed_s) - SOON_S

    @property
    def cuts_s(self) -> float:
        """Until when it lets run what runs."""
        return min(self.closed_s + self.window_s, max(self.again_s, self.told_s))

    @property
    def times(self) -> str:
        told = f"told at {self.told_s:.3f}, closed at {self.closed_s:.3f}"
        return f"{told}, to cut at {self.cuts_s:.3f}, over at {self.over_s}"

    def sends(self, request: Request) -> None:
        """An endpoint is asked for it."""
        began_s = request.client.began_s
        where = f"request {request.ask.number} of {began_s:.3f}, closed at {self.closed_s:.3f}"
        must(began_s <= self.closed_s + SOON_S, "who is told to stop takes nothing new", where)

    def ends(self, request: Request, outcome: str, shut: bool) -> None:
        """With an answer, or without; ``shut``: it was told why."""
        now_s, began_s = self.machine.now_s(), request.client.began_s
        if not (shut or outcome in TURNED_AWAY) or began_s >= self.read_s:
            return
        where = f"request {request.ask.number}, {outcome}, began at {began_s:.3f}, {self.times}"
        must(now_s >= self.cuts_s, "what runs may end within the window", where)
        if outcome == HUNG_UP:
            # To be settled takes a disk, and for what is cut there is a second.
            disk = self.machine.disk
            stood = max(self.machine.stuck_until_s, disk.full_until_s) >= self.cuts_s
            must(stood or self.machine.slow_disk_s > SLOW_S, "who is cut off is told", where)

    @property
    def cuts(self) -> bool:
        return self.machine.now_s() >= self.cuts_s

    def is_over(self, in_flight: Sequence[object], unsettled: Sequence[str]) -> None:
        """The process has ended."""
        self.over_s = now_s = self.machine.now_s()
        where = self.times
        in_time = self.closed_s - self.told_s <= self.delay_s + self.slack_s
        must(in_time, "who is told to stop takes nothing new", where)
        must(now_s <= self.cuts_s + CUT_S + self.slack_s, "who is told to stop ends in time", where)
        must(not in_flight, "no exchange is left open", f"{in_flight}")
        must(not unsettled, "what ends is settled", f"{unsettled}")
