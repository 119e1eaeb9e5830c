"""The upstream of the proof of rescue: what each stream says, at which byte it breaks, how whoever
is asked next answers, and what was really sent of each answer.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from random import Random

from prove.bills import Bill, any_bill, frames
from servers.canned import anthropic_tools, openai_tools
from servers.scripted import End, Gate, Script, Seen, Step, chunk, head, reply, stream

DIALECTS = {"o": "openai_chat", "a": "anthropic_messages"}
NUMBER = re.compile(rb"Stream (\d+)\.")
EXACT = {
    # How a text is gone on with that must be exact in the end, and how often in 100 streams.
    "same": 20,
    "other": 20,
    "prefill": 16,
    "onward": 8,
    "refused": 8,
    "anew": 4,
}
CUT = {
    # What must end in an error.
    "diverging": 8,
    "calls": 8,
    "form": 8,
}
FATES = EXACT | CUT
"""Said again by the same endpoint, or by another; gone on with by prefill there, or elsewhere after
an error of the first one's own; a prefill refused, or answered anew; words that differ; a stream of
tool calls, or of JSON by a schema."""
ROUTES = {"other": "o", "onward": "n", "prefill": "p", "refused": "p", "anew": "p"}
COPIES = 48
"""Endpoints of a kind that always breaks: after a few streams nobody asks them first."""
CANNED = Bill(plain=20, cached_read=100, text=30)
"""Of the answers with calls."""
ALPHABET = (
    *"abcdefghijklmnopqrstuvwxyz          .,;:!?\n\"\\/<>&'{}[]",
    *(
        "é",
        "ß",
        "ü",
        "Ω",
        "中",
        "文",
        "に",
        "🚢",
        "⚓",
        "👩‍🚀",
        "e\u0301",
        "\u200b",
        "\u2028",
        "\t",
        " \n\n",
    ),
)
ERRORS = {
    "openai_chat": b'data: {"error":{"message":"no","code":"server_error"}}\n\n',
    "anthropic_messages": b'event: error\ndata: {"type":"error","error":{"type":"api_error",'
    b'"message":"no"}}\n\n',
}
CONTENT = (
    *(b'"content": "', b'"tool_calls": [', b'"text_delta"', b'"tool_use", "id"'),
    b'"input_json_delta"',
)
SSE = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}


@dataclass(frozen=True)
class Lot:
    """One stream: who asks for what, and what becomes of it."""

    number: int
    fate: str
    caller: str
    """``openai`` or ``anthropic``."""
    first: str
    second: str
    """The dialects of the endpoints, by their letters."""
    words: tuple[str, ...]
    bill: Bill
    seed: int
    reset: bool
    seen: Gate = field(default_factory=Gate)
    """Opens once the caller has got something of the answer."""

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def route(self) -> str:
        kind = ROUTES.get(self.fate, "s")
        if kind in "sp":
            return f"{kind}-{self.first}"
        return f"{kind}{self.number % COPIES}-{self.first}-{self.second}"


@dataclass
class Arrival:
    """One request at the upstream, and what was sent for it."""

    model: str
    begun: str
    """The beginning that it was given."""
    status: int = 200
    frames: int = 0
    """With content, sent whole."""
    broken: bool = False
    bill: Bill | None = None
    """What it costs, where that was said."""


def routes() -> Mapping[str, tuple[str, ...]]:
    """The endpoints behind each route, by name: kind, then the letter of its dialect."""
    made: dict[str, tuple[str, ...]] = {
        f"{kind}-{one}": (f"{kind}-{one}",) for kind in "sp" for one in DIALECTS
    }
    for copy, one, two in product(range(COPIES), DIALECTS, DIALECTS):
        made[f"o{copy}-{one}-{two}"] = (f"x{copy}-{one}", f"w-{two}")
        made[f"n{copy}-{one}-{two}"] = (f"x{copy}-{one}", f"q-{two}")
    return made


def lots(count: int, dice: Random) -> Iterator[Lot]:
    fates, weights = list(FATES), list(FATES.values())
    for number in range(1, count + 1):
        fate = dice.choices(fates, weights)[0]
        yield Lot(
            number=number,
            fate=fate,
            caller=dice.choice(("openai", "anthropic")),
            first=dice.choice("oa"),
            second=dice.choice("oa"),
            words=_words(dice),
            bill=CANNED if fate == "calls" else any_bill(dice, 90),
            seed=dice.randrange(1 << 32),
            reset=dice.random() < 0.5,
        )


def _words(dice: Random) -> tuple[str, ...]:
    """Pieces of a text, as long as a token or two, the first of them no blank."""
    text = "T" + "".join(dice.choices(ALPHABET, k=dice.randint(20, 160)))
    cuts = sorted({0, len(text), *(dice.randrange(len(text)) for _ in range(len(text) // 4))})
    return tuple(text[a:b] for a, b in pairwise(cuts))


class Wall:
    """Answers by the lots, and keeps the log."""

    def __init__(self, lots: Mapping[int, Lot]) -> None:
        self._lots = lots
        self.arrived: dict[int, list[Arrival]] = defaultdict(list)

    def __call__(self, seen: Seen) -> Script:
        found = NUMBER.search(seen.body)
        assert found, seen.body
        lot = self._lots[int(found[1])]
        last = seen.json["messages"][-1]
        begun = last["content"] if last["role"] == "assistant" else ""
        arrival = Arrival(seen.model, begun)
        before = len(self.arrived[lot.number])
        self.arrived[lot.number].append(arrival)
        dice = Random(lot.seed + before)
        dialect = DIALECTS[seen.model[-1]]
        if seen.model[0] == "x" or (before == 0 and seen.model[0] in "sp"):
            arrival.broken = True
            return self._broken(lot, arrival, dialect, dice, before == 0)
        if begun and lot.fate == "refused":
            arrival.status = 400
            return reply({"error": {"message": "no beginnings here"}}, status=400)
        words = lot.words
        if begun and lot.fate != "anew":
            assert lot.text.startswith(begun), (lot, begun)
            words = (lot.text.removeprefix(begun),)
        elif lot.fate == "diverging":
            at = dice.randrange(len(words[0]))
            words = (f"{words[0][:at]}#{words[0][at + 1 :]}", *lot.words[1:])
        arrival.bill, arrival.frames = lot.bill, len([word for word in words if word])
        return stream(*_pieces(b"".join(_frames(dialect, words, lot, dice)), dice))

    def _broken(
        self, lot: Lot, arrival: Arrival, dialect: str, dice: Random, first: bool
    ) -> Script:
        """Some of the answer, to the byte, and the end of the connection."""
        made = _frames(dialect, lot.words, lot, dice)
        content = [number for number, frame in enumerate(made) if _is_content(frame)]
        payload = b"".join(made)
        begins = len(b"".join(made[: content[0] + 1]))
        """Where the caller has something."""
        if lot.fate == "onward":
            after = dice.choice(content) + 1
            arrival.frames = len([number for number in content if number < after])
            waits = (lot.seen,) if first else ()
            return stream(b"".join(made[:after]), *waits, ERRORS[dialect])
        least = begins if lot.fate in CUT else 1
        ends = [len(b"".join(made[: number + 1])) for number in content]
        # After its last word an answer is whole, and may well end as such.
        at = dice.randrange(least, ends[-1] if lot.fate in CUT else len(payload))
        arrival.frames = len([end for end in ends if end <= at])
        accounts = next(number for number, frame in enumerate(made) if _accounts(frame))
        if len(b"".join(made[: accounts + 1])) <= at:
            arrival.bill = lot.bill
        steps: list[Step] = [head(200, SSE)]
        if first and at >= begins:
            steps += [chunk(payload[:begins]), lot.seen]
            payload, at = payload[begins:], at - begins
        steps += list(_cut(_pieces(payload, dice), at))
        return (*steps, End.RESET if lot.reset else End.CLOSE)


def _frames(dialect: str, words: Sequence[str], lot: Lot, dice: Random) -> list[bytes]:
    if lot.fate == "calls":
        canned = openai_tools() if dialect == "openai_chat" else anthropic_tools()
        return list(canned.frames)
    made = frames(dialect, [word for word in words if word], lot.bill)
    return [_unescaped(frame) for frame in made] if dice.random() < 0.7 else made


def _unescaped(frame: bytes) -> bytes:
    """With its characters as UTF-8, as most vendors send them."""
    before, mark, data = frame.partition(b"data: ")
    if data.startswith(b"[DONE]"):
        return frame
    return before + mark + json.dumps(json.loads(data), ensure_ascii=False).encode() + b"\n\n"


def _is_content(frame: bytes) -> bool:
    return any(kind in frame for kind in CONTENT) and b'"content": ""' not in frame


def _accounts(frame: bytes) -> bool:
    """Whether it says what the answer costs."""
    return b'"message_delta"' in frame or b'"usage": {"prompt_tokens"' in frame


def _pieces(payload: bytes, dice: Random) -> Iterator[bytes]:
    """Cut anywhere: within frames, and within characters."""
    while payload:
        size = dice.choice((1, 3, 40, 200, 1000))
        yield payload[:size]
        payload = payload[size:]


def _cut(pieces: Iterator[bytes], left: int) -> Iterator[Step]:
    """As the wire has it: the last chunk announces more than comes of it."""
    for piece in pieces:
        wired = chunk(piece)
        if left < len(piece):
            yield wired[: wired.index(b"\r\n") + 2 + left]
            return
        yield wired
        left -= len(piece)
