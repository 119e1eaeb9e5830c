"""Callers who send an ``idempotency-key`` and ask again: what they do, and what they are owed.

``Owed`` goes by what docs/api.md promises, and by nothing but what callers got and vendors saw.
"""

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from fairlead.types.facts import Exchanged
from prove.simulation.chance import Chance
from prove.simulation.invariants import Broken, Request, must
from prove.simulation.machine import Machine
from prove.simulation.stopping import TURNED_AWAY
from prove.simulation.story import STARTS_S, Ask, Event
from prove.simulation.wire import MUCH_BYTES, Response

KEPT_MS = 86_400_000 - 60_000
"""So long an answer is surely kept."""
LEFT = ("left", "cancelled")
IN_USE, REUSED = "409", "422"
OWN_WAYS = (*LEFT, *TURNED_AWAY, "401")
"""A caller that leaves, comes too late, or whose key was revoked, is owed nothing."""


def with_keys(asks: Sequence[Ask], holders: int, storm_s: float, chance: Chance) -> list[Ask]:
    """Some of them with a key, and asked again: meanwhile, later, by others, for something else."""
    told: list[Ask] = []
    more: list[Ask] = []
    for ask in asks:
        ask = replace(
            ask,
            holds=chance.one_of((MUCH_BYTES, MUCH_BYTES, 1)),
            slow_s=ask.slow_s or (0.3 * chance.random() if chance.happens(0.2) else 0.0),
            idles_s=chance.random() if chance.happens(0.2) else None,
            body_after_s=0.3 * chance.random() if chance.happens(0.1) else None,
        )
        if chance.happens(0.4):
            leaves_s = chance.random() * chance.one_of((0.1, 1.0)) if chance.happens(0.3) else None
            dies = chance.happens(0.15)
            ask = replace(ask, key=f"k{ask.number}", leaves_s=leaves_s, dies_then=dies)
            after_s = 0.0
            for _ in range(chance.whole(1, 3)):
                after_s += chance.one_of((0.0, 0.05, 1.0, 5.0, storm_s / 2)) * chance.random()
                number = len(asks) + len(more) + 1
                more.append(_again(ask, number, after_s, holders, chance))
        told.append(ask)
    return told + more


def _again(ask: Ask, number: int, after_s: float, holders: int, chance: Chance) -> Ask:
    again = replace(
        ask,
        number=number,
        says=ask.number,
        at_s=ask.at_s + after_s,
        leaves_s=0.5 * chance.random() if chance.happens(0.1) else None,
        leaves_after=None,
        dies_then=False,
    )
    way = chance.one_of(("same", "same", "same", "same", "other words", "other holder"))
    if way == "other words":
        return replace(again, says=number)
    if way == "other holder":
        return replace(again, says=number, holder=chance.whole(0, holders - 1))
    return again


def with_forgetting(events: Sequence[Event], storm_s: float, chance: Chance) -> list[Event]:
    """As every hour, but sooner."""
    times = [STARTS_S + storm_s * chance.random() for _ in range(chance.one_of((0, 1, 3)))]
    more = [Event(at_s, "forget_answers") for at_s in times]
    return sorted([*events, *more], key=lambda event: event.at_s)


class Turn(Struct):
    """A request with a key, as its caller sees it."""

    request: Request
    response: Response
    asked_s: float
    asked_ms: int
    life: int
    """Of which process it was asked."""
    over_s: float | None = None

    @property
    def body(self) -> tuple[object, ...]:
        """All that the answer depends on."""
        ask = self.request.ask
        said = ask.says or ask.number, ask.words, ask.padding, ask.max_tokens, ask.stream
        return *said, ask.model, ask.dialect, ask.zone


class Kept(Struct):
    """An answer that whoever asks again must get."""

    body: tuple[object, ...]
    at_ms: int
    since_s: float
    first: str
    """The id of the request that was answered."""
    answer: tuple[bytes, dict[str, str]] | None
    """Unknown where its caller left."""
    sure: bool


class Owed:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._turns: dict[tuple[str, str], list[Turn]] = defaultdict(list)
        self._kept: dict[tuple[str, str], Kept] = {}
        self._clock_set_s = 0.0
        self._life = 0

    # What happens around them.

    def begins(self) -> None:
        """A process."""
        self._life += 1

    def clock_set(self) -> None:
        self._clock_set_s = self._machine.now_s()

    def forgotten(self) -> None:
        """What is older than a day was removed."""
        for kept in self._kept.values():
            kept.sure = kept.sure and self._is_young(kept)

    # What they do.

    def asks(self, request: Request, response: Response) -> Turn:
        machine = self._machine
        turn = Turn(request, response, machine.now_s(), machine.now_ms(), self._life)
        self._turns[_name(request)].append(turn)
        return turn

    def texts(self, turn: Turn) -> set[str]:
        """What it may be answered."""
        return set().union(*(one.request.texts for one in self._alike(turn)))

    def sends(self, request: Request) -> None:
        """The gateway asks an endpoint for it."""
        number, asked_s = request.ask.number, request.arrived_s
        for other in self._turns[_name(request)]:
            if other.request is request:
                asked_s = other.asked_s
            elif any(one.open for one in other.request.sent):
                where = f"requests {other.request.ask.number} and {number}"
                raise Broken("a key is answered once at a time", where)
        older = self._kept.get(_name(request))
        if older is not None and not self._is_young(older):
            older.sure = False  # for good, whatever becomes of the clock
        kept = self._surely_kept(request, asked_s)
        must(kept is None, "what was answered is not asked for again", f"{number}: {kept}")

    def acknowledged(self, turn: Turn) -> None:
        """It has the whole of its answer."""
        told = {
            name: value
            for name, value in turn.response.headers.items()
            if name.startswith("x-fairlead-") and not name.endswith(("-request-id", "-replayed"))
        }
        answer = turn.response.body, told
        request, number = turn.request, turn.request.ask.number
        replayed = turn.response.headers.get("x-fairlead-replayed", "")
        must(bool(request.sent) != bool(replayed), "who gets an answer again is told", f"{number}")
        first = replayed or f"r{number}"
        kept = self._surely_kept(request, turn.asked_s)
        if kept is not None:
            must(turn.body == kept.body, "another request is not answered", f"{number}: {kept}")
            same = first == kept.first and kept.answer in (None, answer)
            must(same, "asked again, answered the same", f"{number}: {first} {answer}, not {kept}")
        self._keep(turn, first, answer)

    def over(self, turn: Turn, outcome: str, cut: bool) -> None:
        """Nothing of it runs any more. What is ``cut`` may not be kept, although it was settled."""
        turn.over_s = self._machine.now_s()
        request = turn.request
        where = f"request {request.ask.number}, {outcome}"
        kept = self._surely_kept(request, turn.asked_s)
        owed = outcome not in OWN_WAYS and not self._told_by_another_clock(turn, outcome)
        if owed and kept is not None and kept.since_s < turn.asked_s:
            wanted = "ok" if kept.body == turn.body else REUSED
            must(outcome == wanted, "what was answered is answered again", f"{where}: {kept}")
        if outcome in (IN_USE, REUSED):
            others = [one for one in self._turns[_name(request)] if self._precedes(one, turn)]
            like = [one for one in others if (one.body == turn.body) == (outcome == IN_USE)]
            must(bool(like), "only who comes while it is answered is told so", where)
        fact = request.told[0] if request.told else None
        if outcome in LEFT and isinstance(fact, Exchanged):
            must(fact.outcome != "cancelled", "who leaves is expected back", where)
            if fact.outcome == "ok" and fact.attempts and not cut:
                self._keep(turn, f"r{request.ask.number}", None)

    # What is known of them.

    def _precedes(self, one: Turn, turn: Turn) -> bool:
        """Whether it was answered then, or, where another body counts, may have been before."""
        if one is turn:
            return False
        if self._is_met(one, turn):
            return True
        return one.body != turn.body and bool(one.request.sent)

    def _is_met(self, one: Turn, turn: Turn) -> bool:
        """Whether it was under way as ``turn`` came."""
        return one.life == turn.life and (one.over_s is None or one.over_s >= turn.asked_s)

    def _told_by_another_clock(self, turn: Turn, outcome: str) -> bool:
        """Whether one is under way that came before the clock was set, and may have found no
        answer that was young enough by what it said then."""
        earlier = [
            one
            for one in self._turns[_name(turn.request)]
            if one is not turn and one.asked_s <= self._clock_set_s and self._is_met(one, turn)
        ]
        return outcome in (IN_USE, REUSED) and bool(earlier)

    def _alike(self, turn: Turn) -> list[Turn]:
        return [one for one in self._turns[_name(turn.request)] if one.body == turn.body]

    def _keep(self, turn: Turn, first: str, answer: tuple[bytes, dict[str, str]] | None) -> None:
        name = _name(turn.request)
        kept = self._surely_kept(turn.request, turn.asked_s)
        if kept is not None:
            kept.answer = kept.answer or answer
            return
        began = [(one.asked_s, one.asked_ms) for one in self._alike(turn) if one.request.sent]
        asked_s, asked_ms = min(began, default=(turn.asked_s, turn.asked_ms))
        # A disk that is full keeps nothing; by which clock it is kept is not known.
        sure = max(self._machine.disk.full_until_s, self._clock_set_s) < asked_s
        self._kept[name] = Kept(turn.body, asked_ms, self._machine.now_s(), first, answer, sure)

    def _surely_kept(self, request: Request, since_s: float) -> Kept | None:
        kept = self._kept.get(_name(request))
        sure = kept is not None and kept.sure and self._is_young(kept)
        return kept if sure and self._clock_set_s < since_s else None

    def _is_young(self, kept: Kept) -> bool:
        return self._machine.now_ms() - kept.at_ms < KEPT_MS


def _name(request: Request) -> tuple[str, str]:
    return request.caller.id, request.ask.key
