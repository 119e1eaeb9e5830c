"""The upstream of the proof of drift: what becomes of each request, what was sent of its answer and
when its end was, and what may therefore be charged for it by the rules in the documentation.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from prove.bills import BEFORE, Bill, any_bill, frames, whole
from servers.scripted import End, Gate, Script, Seen, Step, chunk, head, reply

FIRST_NUMBER = 1000
NUMBER = re.compile(rb"Number (\d+)\.")
WORD = "w0rd "
PAUSE_S = (0.0, 0.006)

FATES = {
    # What goes well, and of how many in 100 requests it is the lot.
    "answered": 43,
    "free": 2,
    # The caller leaves, if the answer is not there before.
    "early": 3,
    "silent": 6,
    "held": 16,
    "flowing": 16,
    "slow": 4,
    # The endpoint fails.
    "refused": 4,
    "failed": 3,
    "cut": 3,
}
LEAVING = ("early", "silent", "held", "flowing", "slow")
"""At once; before the answer begins; after a known word; at some instant; of one in one piece."""
STREAMED = ("held", "flowing", "cut")

Tokens = tuple[int, int, int, int, int]
"""Input, output, and of them read from a cache, written to one, and thought."""


@dataclass(frozen=True)
class Lot:
    """What becomes of one request, and what its answer says."""

    number: int
    fate: str
    streams: bool
    words: int
    """Of the answer, or those before it breaks off or is held."""
    bill: Bill
    prompt: str

    @property
    def estimated_input(self) -> int:
        """A token for four characters, and five for the message."""
        return len(self.prompt) // 4 + 5


@dataclass
class Arrival:
    """One request at the upstream."""

    lot: Lot
    dialect: str
    left: Gate
    """Opens if the gateway closes the connection before the answer's end."""
    status: int = 200
    opened: bool = False
    """Whether the frame was sent that an Anthropic stream begins with, which has its input."""
    words: int = 0
    """Sent so far."""
    accounted: bool = False
    """Whether its usage was sent."""
    ended: bool = False

    def may_be_charged(self, saw_words: int, planned: int) -> set[Tokens]:
        """All that the rules allow. One alone, but where the caller left at an instant in which
        more was under way than it had seen. ``planned`` is the length of an answer as expected
        beforehand, for one in one piece that never came."""
        lot, bill = self.lot, self.lot.bill
        if self.status != 200:
            return {(0, 0, 0, 0, 0)}
        charges = set()
        if self.accounted:
            charges.add(
                (bill.inputs, bill.outputs, bill.cached_read, bill.cached_write, bill.reasoning)
            )
            if lot.fate not in LEAVING:
                return charges
        if not lot.streams:
            return charges | {(lot.estimated_input, planned, 0, 0, 0)}
        for words in range(saw_words, self.words + 1):
            started = (bill.inputs, max(1, words), bill.cached_read, bill.cached_write, 0)
            reports = self.dialect == "anthropic_messages" and self.opened
            if reports and bill.inputs:
                charges.add(started)
            if not words or not (reports and bill.inputs):
                charges.add((lot.estimated_input, words, 0, 0, 0))
        return charges


@dataclass
class Wall:
    lots: dict[int, Lot] = field(default_factory=dict)
    arrived: dict[int, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    dice: Random = field(default_factory=lambda: Random(12))

    def __call__(self, seen: Seen) -> Script:
        lot = self.lots[int(NUMBER.findall(seen.body)[0])]
        dialect = "anthropic_messages" if seen.path.startswith("/v1/messages") else "openai_chat"
        again = bool(self.arrived[lot.number])
        arrival = Arrival(lot, dialect, seen.left)
        self.arrived[lot.number].append(arrival)
        return self._steps(arrival, "answered" if again else lot.fate)

    @property
    def playing(self) -> int:
        """Answers that are still given."""
        every = [one for of in list(self.arrived.values()) for one in of]
        return sum(not (one.ended or one.left.is_open) for one in every)

    def _steps(self, arrival: Arrival, fate: str) -> Iterator[Step]:
        if fate in ("refused", "failed"):
            arrival.status = 400 if fate == "refused" else 500
            yield from reply({"error": {"message": "no"}}, status=arrival.status)
        elif fate == "silent":
            yield Gate()
        elif arrival.lot.streams:
            yield from self._stream(arrival, fate)
        else:
            if fate == "slow":
                yield self._pause(0.3)
            arrival.accounted = True
            yield from whole(arrival.dialect, [WORD] * arrival.lot.words, arrival.lot.bill)
        arrival.ended = True

    def _stream(self, arrival: Arrival, fate: str) -> Iterator[Step]:
        words, before = arrival.lot.words, BEFORE[arrival.dialect]
        yield head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        every = frames(arrival.dialect, [WORD] * words, arrival.lot.bill)
        for frame in every[:before]:
            arrival.opened = True
            yield chunk(frame)
        for frame in every[before : before + words]:
            arrival.words += 1
            yield chunk(frame)
            if fate != "held" and self.dice.random() < 0.5:
                yield self._pause(self.dice.uniform(*PAUSE_S))
        if fate == "held":
            yield Gate()
        elif fate == "cut":
            arrival.ended = True
            yield End.CLOSE
        else:
            arrival.accounted = True
            yield chunk(b"".join(every[before + words :]))
            yield b"0\r\n\r\n"

    def _pause(self, seconds: float) -> Gate:
        gate = Gate()
        asyncio.get_running_loop().call_later(seconds, gate.open)
        return gate


def priced(tokens: Tokens) -> int:
    inputs, outputs, read, written, thought = tokens
    return Bill(inputs - read - written, read, written, outputs - thought, thought).nano_usd


def unseen(lot: Lot, planned: int) -> set[Tokens]:
    """What may be charged for an attempt that never arrived: its caller left on the way."""
    return {(0, 0, 0, 0, 0), (lot.estimated_input, 0 if lot.streams else planned, 0, 0, 0)}


def lots(count: int, dice: Random) -> Iterator[Lot]:
    names, weights = list(FATES), list(FATES.values())
    for number in range(FIRST_NUMBER, FIRST_NUMBER + count):
        fate = dice.choices(names, weights)[0]
        streams = fate in STREAMED or (fate != "slow" and dice.random() < 0.5)
        yield Lot(
            number,
            fate,
            streams,
            words=dice.randint(0 if fate in ("held", "cut") else 1, 30),
            bill=Bill() if fate == "free" else any_bill(dice, 900),
            prompt=f"Number {number}. Say a few words. " + "Please. " * dice.randint(0, 8),
        )
