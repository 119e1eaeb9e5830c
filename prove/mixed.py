"""Mixed requests of callers of whom a third leave, at an upstream that fails a tenth, and what the
ledger may charge for each: the load of the proofs of drift and of the soak.

Each request has a number, which stands in its prompt and in the longest answer it allows: the
upstream reads the one, the ledger's intent has the other in its reserve.
"""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from prove.bills import PATIENT, PRICE, WORST_OUTPUT_NANO_USD, Bill, whole
from prove.books import Books
from prove.drift_wall import LEAVING, WORD, Lot, Wall, priced, unseen
from prove.processes import open_files
from servers.gateway import Gateway, create_key, gateway
from servers.plain import request
from servers.scripted import Scripted, scripted
from servers.setup import Setup

PATIENCE_S = 30.0
MODELS = {"o1": "openai_chat", "o2": "openai_chat", "a1": "anthropic_messages"}
MODELS["a2"] = "anthropic_messages"
ROUTES = {"same": ("o1", "o2"), "other": ("a1", "o1")}
PATHS = ("/v1/chat/completions", "/v1/messages")
BUDGETS = {"day": ("--budget-day", "1000"), "both": ("--budget-day", "1000"), "free": ()}
BUDGETS["both"] = (*BUDGETS["day"], "--budget-month", "2000")
COARSE = {"input": "$0", "output": "$3000"}
"""A token of this price is worth the least reserve in this proof."""
LEAVES_S = {"early": (0.0, 0.0), "silent": (0.0, 0.05), "flowing": (0.0, 0.06), "slow": (0.0, 0.35)}


@dataclass
class Callers:
    keys: Mapping[str, str]
    port: int
    dice: Random
    saw_words: dict[int, int] = field(default_factory=dict)
    left_s: dict[int, float] = field(default_factory=dict)
    """When a caller left who had not seen the end."""
    statuses: Counter[int] = field(default_factory=Counter)
    took_s: list[float] = field(default_factory=list)
    """Of answers in one piece, to callers who stayed."""

    async def work(self, todo: Iterator[Lot]) -> None:
        for lot in todo:
            await self.ask(lot)

    async def ask(self, lot: Lot) -> None:
        began_s = monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self._request(lot))
        told = bytearray()
        ended = await self._hear(lot, reader, told)
        self.saw_words[lot.number] = told.count(WORD.encode())
        if told:
            self.statuses[int(told.split(b" ", 2)[1])] += 1
        if not ended:
            self.left_s[lot.number] = monotonic()
        elif lot.fate == "answered" and not lot.streams:
            self.took_s.append(monotonic() - began_s)
        if self.dice.random() < 0.5:
            writer.transport.abort()
        writer.close()

    async def _hear(self, lot: Lot, reader: asyncio.StreamReader, told: bytearray) -> bool:
        """Whether the answer ended before patience did."""
        ended = False
        try:
            if lot.fate == "held" and lot.words:
                async with asyncio.timeout(PATIENCE_S):
                    while told.count(WORD.encode()) < lot.words:
                        told += await _more(reader)
            else:
                patience_s = self.dice.uniform(*LEAVES_S.get(lot.fate, (PATIENCE_S, PATIENCE_S)))
                if lot.fate == "held":
                    patience_s = self.dice.uniform(0.0, 0.05)
                async with asyncio.timeout(patience_s):
                    while not ended:
                        told += await _more(reader)
                        ended = _is_over(told, lot.streams)
        except TimeoutError:
            assert lot.fate in LEAVING, f"no end within {PATIENCE_S} s: {lot}, {bytes(told)!r}"
        except EOFError:
            ended = True
        return ended

    def _request(self, lot: Lot) -> bytes:
        body = {
            "model": self.dice.choice((*MODELS, *ROUTES)),
            "max_tokens": lot.number,
            "messages": [{"role": "user", "content": lot.prompt}],
            "stream": lot.streams,
        }
        data = json.dumps(body).encode()
        key = self.keys[self.dice.choice(list(self.keys))]
        head = (
            f"POST {self.dice.choice(PATHS)} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data


async def _more(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(1 << 16)
    if not data:
        raise EOFError
    return data


def _is_over(told: bytes | bytearray, streams: bool) -> bool:
    if b"transfer-encoding: chunked" in told[:2000].lower():
        return told.endswith(b"\r\n0\r\n\r\n")
    top, _, body = told.partition(b"\r\n\r\n")
    lengths = [line for line in top.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].split(b":")[1])


@dataclass(frozen=True)
class Held:
    """What a gateway holds on to: its gauges, and its files and sockets but for those to the
    upstream that are idle there."""

    in_flight: int
    holds: int
    answers: int
    """That the upstream is still giving."""
    files: int

    def exceeds(self, other: "Held") -> bool:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return any(mine > theirs for mine, theirs in pairs)


@dataclass
class Load:
    """A gateway, its upstream and its callers."""

    running: Gateway
    up: Scripted
    wall: Wall
    callers: Callers
    books: Books
    end: Callable[[], None]
    """The gateway ends, and what it has to put down is put down."""

    def held(self) -> Held:
        text = request("GET", f"{self.running.address}/metrics").body.decode()
        gauges = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        return Held(
            in_flight=int(float(gauges["fairlead_in_flight"])),
            holds=int(float(gauges["fairlead_open_holds"])),
            answers=self.wall.playing,
            files=open_files(self.running.process.pid) - len(self.up.open),
        )

    def quiet(self) -> Held:
        """What is held on to between requests, once those that were asked are over."""
        ended_s = monotonic()
        now = self.held()
        while (now.holds or now.answers or now.in_flight > 1) and (
            monotonic() - ended_s < PATIENCE_S
        ):
            now = self.held()
        return now

    def planned(self, lot: Lot) -> int:
        """How long an answer is expected to be before anything is known of it."""
        body = {"model": "o1", "messages": [{"role": "user", "content": lot.prompt}]}
        got = request(
            *("POST", f"{self.running.address}/v1/route", json.dumps(body).encode()),
            {"authorization": f"Bearer {self.callers.keys['free']}"},
        )
        return int(got.json["task"]["output_tokens"])

    def compared(self, planned: int) -> dict[str, int]:
        """Row by row: ``unexplained`` has tokens that no rule gives, or is missing."""
        by_number = {}
        for rows in self.books.by_request().values():
            rows.sort(key=lambda row: int(row.attempt_id.rpartition(".")[2]))
            by_number[(rows[0].reserved_nano_usd or 0) // WORST_OUTPUT_NANO_USD] = rows
        figures = Counter(charged_nano_usd=0, drift_nano_usd=0, unexplained=0, fixed_by_upstream=0)
        for number, lot in self.wall.lots.items():
            rows, arrivals = by_number.get(number, []), self.wall.arrived.get(number, [])
            figures["unexplained"] += max(0, len(arrivals) - len(rows))
            saw = _known_words(lot, self.callers.saw_words.get(number, 0))
            for at, row in enumerate(rows):
                if at < len(arrivals):
                    allowed = arrivals[at].may_be_charged(saw, planned)
                else:
                    allowed = unseen(lot, planned) if number in self.callers.left_s else set()
                charged = row.nano_usd or 0
                figures["unexplained"] += row.tokens not in allowed
                figures["fixed_by_upstream"] += len(allowed) == 1
                figures["drift_nano_usd"] += abs(charged - priced(row.tokens))
                figures["charged_nano_usd"] += charged
                figures[f"by_{row.basis}"] += 1
        return dict(figures)


def _known_words(lot: Lot, saw: int) -> int:
    """The least that the gateway has read of an answer: what was cut arrived in full."""
    return lot.words if lot.fate == "cut" else saw


@contextmanager
def loaded(dice: Random) -> Iterator[Load]:
    wall = Wall()
    with tempfile.TemporaryDirectory() as name, scripted() as up, ExitStack() as stack:
        folder = Path(name)
        setup = _set_up(up, wall)
        keys = {key: create_key(folder / "data", key, *words) for key, words in BUDGETS.items()}
        running = stack.enter_context(gateway(folder, setup.text(limits=PATIENT), setup.secrets))
        callers = Callers(keys, urlsplit(running.address).port or 0, dice)
        books = Books(running.data / "fairlead.db")
        yield Load(running, up, wall, callers, books, stack.close)


def _set_up(up: Scripted, wall: Wall) -> Setup:
    setup = Setup()
    size: dict[str, Any] = {"context": "2000k", "max_output": "1000k"}
    for model, dialect in MODELS.items():
        up.on(model, wall)
        setup.endpoint(model, up.address, dialect, price=PRICE, **size)
    for route, models in ROUTES.items():
        setup.route(route, *models)
    up.on("coarse", whole("openai_chat", ("Yes.",), Bill()))
    return setup.endpoint("coarse", up.address, "openai_chat", price=COARSE, **size)
