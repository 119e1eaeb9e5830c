"""After thousands of mixed requests, of which callers left more than a third at some instant and
the endpoint failed a tenth, nothing is reserved, nothing is leaked, and the ledger is what the
upstream's own prices come to, to the nano-dollar.

Each request has a number, which stands in its prompt and in the longest answer it allows: the
upstream reads the one, the ledger's intent has the other in its reserve. Each row of the ledger is
held against what the upstream sent for that attempt, and to what end: tokens by the rules in the
documentation, priced in integers without the gateway's code. Where a caller left while words were
on their way, the row may have any number of words between those that the caller saw and those that
were sent; ``fixed_by_upstream`` counts the rows that can have one amount alone.
"""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from prove.bills import PATIENT, PRICE, WORST_OUTPUT_NANO_USD, Bill, whole
from prove.books import Books
from prove.drift_wall import LEAVING, WORD, Lot, Wall, lots, priced, unseen
from servers.gateway import Gateway, create_key, gateway
from servers.plain import ask, request
from servers.scripted import Scripted, scripted
from servers.setup import Setup

SEED = 12
WORKERS = 20
SETTLED_S, LEAKS_S, CLOSED_S = 1.0, 2.0, 0.5
"""Within which nothing is reserved, all is given back, and an endpoint's connection is closed."""
UNHURRIED = 10
"""Times that, in the short form: how busy the machine of a test is proves nothing."""
PATIENCE_S = 30.0
MODELS = {"o1": "openai_chat", "o2": "openai_chat", "a1": "anthropic_messages"}
MODELS["a2"] = "anthropic_messages"
ROUTES = {"same": ("o1", "o2"), "other": ("a1", "o1")}
PATHS = ("/v1/chat/completions", "/v1/messages")
BUDGETS = {"day": ("--budget-day", "1000"), "both": ("--budget-day", "1000"), "free": ()}
BUDGETS["both"] = (*BUDGETS["day"], "--budget-month", "2000")
COARSE = {"input": "$0", "output": "$3000"}
"""A token of this price is worth the least reserve in this proof."""
CANCELLED = 0.3
"""The least share of requests whose callers' leaving ended them upstream, in the long form."""
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

    async def work(self, todo: Iterator[Lot]) -> None:
        for lot in todo:
            await self._ask(lot)

    async def _ask(self, lot: Lot) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self._request(lot))
        told = bytearray()
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
        self.saw_words[lot.number] = told.count(WORD.encode())
        if told:
            self.statuses[int(told.split(b" ", 2)[1])] += 1
        if not ended:
            self.left_s[lot.number] = monotonic()
        if self.dice.random() < 0.5:
            writer.transport.abort()
        writer.close()

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


def _held(running: Gateway, up: Scripted, wall: Wall) -> Held:
    text = request("GET", f"{running.address}/metrics").body.decode()
    gauges = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    files = len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))
    return Held(
        in_flight=int(float(gauges["fairlead_in_flight"])),
        holds=int(float(gauges["fairlead_open_holds"])),
        answers=wall.playing,
        files=files - len(up.open),
    )


def _released(
    before: Held, running: Gateway, up: Scripted, wall: Wall, times: int
) -> dict[str, int]:
    """Wait until all is given back, as long as it may take, and say what is not."""
    ended_s = monotonic()
    now = _held(running, up, wall)
    while now.holds and monotonic() - ended_s < SETTLED_S * times:
        now = _held(running, up, wall)
    holds = now.holds
    while now.exceeds(before) and monotonic() - ended_s < LEAKS_S * times:
        now = _held(running, up, wall)
    return {
        "reserved_left": holds,
        "in_flight_left": max(0, now.in_flight - before.in_flight),
        "upstream_left": now.answers,
        "leaked_fds": max(0, now.files - before.files),
    }


def prove(short: bool) -> dict[str, object]:
    count = 400 if short else 10_000
    times = UNHURRIED if short else 1
    dice = Random(SEED)
    wall = Wall()
    with tempfile.TemporaryDirectory() as name, scripted() as up:
        folder = Path(name)
        setup = _setup(up, wall)
        keys = {key: create_key(folder / "data", key, *words) for key, words in BUDGETS.items()}
        with gateway(folder, setup.text(limits=PATIENT), setup.secrets) as running:
            callers = Callers(keys, urlsplit(running.address).port or 0, dice)
            books = Books(running.data / "fairlead.db")
            todo = list(lots(count + WORKERS, dice))
            wall.lots = {lot.number: lot for lot in todo}
            planned = _planned(running, keys["free"], todo[0])
            asyncio.run(_load(callers, todo[:WORKERS]))
            before = _quiet(running, up, wall)
            asyncio.run(_load(callers, todo[WORKERS:]))
            left = _released(before, running, up, wall, times)
            left["reserved_left"] += _unaffordable(running, keys, books)
        return _figures(books, wall, callers, planned, left, times)


def _setup(up: Scripted, wall: Wall) -> Setup:
    setup = Setup()
    size: dict[str, Any] = {"context": "2000k", "max_output": "1000k"}
    for model, dialect in MODELS.items():
        up.on(model, wall)
        setup.endpoint(model, up.address, dialect, price=PRICE, **size)
    for route, models in ROUTES.items():
        setup.route(route, *models)
    up.on("coarse", whole("openai_chat", ("Yes.",), Bill()))
    return setup.endpoint("coarse", up.address, "openai_chat", price=COARSE, **size)


def _planned(running: Gateway, key: str, lot: Lot) -> int:
    """How long an answer is expected to be before anything is known of it."""
    body = {"model": "o1", "messages": [{"role": "user", "content": lot.prompt}]}
    got = request(
        *("POST", f"{running.address}/v1/route", json.dumps(body).encode()),
        {"authorization": f"Bearer {key}"},
    )
    return int(got.json["task"]["output_tokens"])


async def _load(callers: Callers, todo: Sequence[Lot]) -> None:
    left = iter(todo)
    await asyncio.gather(*(callers.work(left) for _ in range(WORKERS)))


def _quiet(running: Gateway, up: Scripted, wall: Wall) -> Held:
    """What is held on to between requests, once the first ones are over."""
    ended_s = monotonic()
    now = _held(running, up, wall)
    while (now.holds or now.answers or now.in_flight > 1) and monotonic() - ended_s < PATIENCE_S:
        now = _held(running, up, wall)
    return now


def _unaffordable(running: Gateway, keys: Mapping[str, str], books: Books) -> int:
    """Keys that may not spend all that is left of their day by the ledger's file, at once: more is
    reserved than there should be."""
    wrong = 0
    for name, key_id in books.key_ids().items():
        if BUDGETS[name]:
            left = 1000 * 10**9 - books.spent_nano_usd(key_id)
            tokens = left // (3000 * 1000)
            for most, status in ((tokens + 1, 402), (tokens, 200)):
                got = ask(running.address, "coarse", key=keys[name], max_tokens=most)
                wrong += got.status != status
    return wrong


def _known_words(lot: Lot, saw: int) -> int:
    """The least that the gateway has read of an answer: what was cut arrived in full."""
    return lot.words if lot.fate == "cut" else saw


def _compared(books: Books, wall: Wall, callers: Callers, planned: int) -> dict[str, int]:
    """Row by row: ``unexplained`` has tokens that no rule gives, or is missing."""
    by_number = {}
    for rows in books.by_request().values():
        rows.sort(key=lambda row: int(row.attempt_id.rpartition(".")[2]))
        by_number[(rows[0].reserved_nano_usd or 0) // WORST_OUTPUT_NANO_USD] = rows
    figures = Counter(charged_nano_usd=0, drift_nano_usd=0, unexplained=0, fixed_by_upstream=0)
    for number, lot in wall.lots.items():
        rows, arrivals = by_number.get(number, []), wall.arrived.get(number, [])
        figures["unexplained"] += max(0, len(arrivals) - len(rows))
        saw = _known_words(lot, callers.saw_words.get(number, 0))
        for at, row in enumerate(rows):
            if at < len(arrivals):
                allowed = arrivals[at].may_be_charged(saw, planned)
            else:
                allowed = unseen(lot, planned) if number in callers.left_s else set()
            charged = row.nano_usd or 0
            figures["unexplained"] += row.tokens not in allowed
            figures["fixed_by_upstream"] += len(allowed) == 1
            figures["drift_nano_usd"] += abs(charged - priced(row.tokens))
            figures["charged_nano_usd"] += charged
            figures[f"by_{row.basis}"] += 1
    return dict(figures)


def _figures(
    books: Books,
    wall: Wall,
    callers: Callers,
    planned: int,
    left: Mapping[str, int],
    times: int,
) -> dict[str, object]:
    compared = _compared(books, wall, callers, planned)
    closing_ms = [
        (arrival.left.at_s - callers.left_s[number]) * 1000
        for number in callers.left_s
        for arrival in wall.arrived.get(number, ())
        if arrival.left.is_open
    ]
    failed = sum(
        one.status != 200 or one.lot.fate == "cut" for of in wall.arrived.values() for one in of
    )
    figures: dict[str, object] = {
        "requests": len(wall.lots),
        "attempts": sum(map(len, wall.arrived.values())),
        "cancelled": len(callers.left_s),
        "cancelled_upstream": len(closing_ms),
        "upstream_errors": failed,
        "answered": callers.statuses[200],
        **compared,
        "not_settled": books.open_intents(),
        "balance_differs": books.balances_that_differ(),
        "journal_differs_nano_usd": books.journal_differs_nano_usd(),
        **left,
        "slowest_close_ms": round(max(closing_ms)),
        "closed_late": sum(ms > CLOSED_S * 1000 * times for ms in closing_ms),
    }
    must_be_0 = (
        *("drift_nano_usd", "unexplained", "not_settled", "balance_differs"),
        *("journal_differs_nano_usd", "closed_late"),
    )
    least = 0.2 if times > 1 else CANCELLED
    enough = len(closing_ms) >= least * len(wall.lots)
    return {**figures, "ok": enough and not any(figures[name] for name in (*must_be_0, *left))}
