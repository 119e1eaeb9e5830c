"""Killed again and again under load, the gateway loses no settlement that a caller has seen the end
of, charges none twice, and has balances that are the sums of the settlements.

Every request allows an answer of a length of its own, which is its number: the upstream reads it in
the body, and the ledger's intent has it in its reserve. So each attempt in the upstream's log is
held against one row, however the gateway died in between. It dies at a random instant, or in the
very instant in which a caller has seen an end: what is acknowledged must be on disk by then.
"""

import asyncio
import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp

from prove.bills import PATIENT, PRICE, WORST_OUTPUT_NANO_USD, Bill, answer, any_bill
from prove.books import Books, Row
from servers.asked import longest_answer
from servers.gateway import Gateway, create_key, gateway
from servers.scripted import Gate, Script, Scripted, Seen, scripted
from servers.setup import Setup

SEED = 9
PER_S = 100.0
LIFE_S = (0.0, 0.8)
FIRST_NUMBER = 1000
KEYED = 0.4
"""Of the requests, have an idempotency-key."""
AGAIN = 5
"""Answers of the life before that are asked for once more."""
DIALECTS = {"openai": "openai_chat", "anthropic": "anthropic_messages"}
SPOKEN = [
    ("/v1/chat/completions", b"data: [DONE]\n\n"),
    ("/v1/messages", b'"message_stop"}\n\n'),
]
"""Where callers ask, and how a stream of theirs ends."""
BUDGETS = {
    "day": ("--budget-day", "100000"),
    "month": ("--budget-month", "100000"),
    "both": ("--budget-day", "100000", "--budget-month", "100000"),
    "free": (),
}
"""Keys by name; ``free`` has no budget."""


@dataclass
class Wall:
    """The upstream: what it was asked and what it charged, by number."""

    dice: Random
    bills: dict[int, Bill] = field(default_factory=dict)
    asked: Counter[int] = field(default_factory=Counter)

    def __call__(self, seen: Seen) -> Script:
        number = longest_answer(seen.json) or 0
        self.asked[number] += 1
        bill = self.bills.setdefault(number, any_bill(self.dice, 900))
        words = ["word "] * self.dice.randint(1, 6)
        pauses = [self._pause() for _ in range(self.dice.randint(0, 4))]
        dialect = "anthropic_messages" if seen.path.startswith("/v1/messages") else "openai_chat"
        return answer(dialect, bool(seen.json.get("stream")), words, bill, pauses)

    def _pause(self) -> Gate:
        gate = Gate()
        asyncio.get_running_loop().call_later(self.dice.uniform(0, 0.05), gate.open)
        return gate


@dataclass(frozen=True)
class Keyed:
    """A request with an idempotency-key, and its answer."""

    number: int
    path: str
    data: str
    head: Mapping[str, str]
    told: bytes


@dataclass
class Callers:
    """What callers sent and saw."""

    keys: Mapping[str, str]
    dice: Random
    number: int = FIRST_NUMBER
    key_of: dict[int, str] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Request ids of the answers whose end was seen, with their numbers."""
    refused: Counter[int] = field(default_factory=Counter)
    """Anything but a 200, by status."""
    again: list[Keyed] = field(default_factory=list)
    """Answers in one piece to ask for once more."""
    replayed: Counter[str] = field(default_factory=Counter)
    kill: Callable[[], None] | None = None
    """For whoever sees the next end."""

    async def load(self, running: Gateway, life_s: float, at_an_end: bool) -> None:
        """Ask at a steady pace until the gateway is killed, and see what still comes. With
        ``at_an_end`` whoever sees the next end after that time kills it."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            loop = asyncio.get_running_loop()
            end_s, next_s, asking = loop.time() + life_s, loop.time(), []
            self.kill = None
            again, self.again = self.again[-AGAIN:], []
            for one in again:
                asking.append(asyncio.create_task(self._ask_again(session, running.address, one)))
            while next_s < end_s or (at_an_end and running.process.returncode is None):
                asking.append(asyncio.create_task(self._ask(session, running.address)))
                next_s += self.dice.expovariate(PER_S)
                await asyncio.sleep(max(0.0, next_s - loop.time()))
                if at_an_end and next_s >= end_s:
                    self.kill = running.kill
            running.kill()
            await asyncio.gather(*asking)

    async def look_back(self, running: Gateway) -> None:
        """Ask again for the last answers, of a gateway that nobody kills."""
        async with aiohttp.ClientSession() as session:
            again, self.again = self.again[-AGAIN:], []
            for one in again:
                await self._ask_again(session, running.address, one)

    async def _ask(self, session: aiohttp.ClientSession, address: str) -> None:
        self.number += 1
        number, name = self.number, self.dice.choice(list(self.keys))
        self.key_of[number] = name
        path, last = self.dice.choice(SPOKEN)
        streams = self.dice.random() < 0.5
        body = {
            "model": self.dice.choice(list(DIALECTS)),
            "max_tokens": number,
            "messages": [{"role": "user", "content": "Say a few words."}],
            "stream": streams,
        }
        head = {"authorization": f"Bearer {self.keys[name]}", "content-type": "application/json"}
        if keyed := self.dice.random() < KEYED:
            head["idempotency-key"] = str(number)
        data, told = json.dumps(body), b""
        try:
            async with session.post(address + path, data=data, headers=head) as got:
                if got.status != 200:
                    self.refused[got.status] += 1
                    return
                async for piece in got.content.iter_any():
                    told += piece
                    if streams and told.endswith(last):
                        self._acknowledged(number, got)
                if not streams:
                    self._acknowledged(number, got)
                    if keyed:
                        self.again.append(Keyed(number, path, data, head, told))
        except (aiohttp.ClientError, ConnectionError):
            return

    async def _ask_again(self, session: aiohttp.ClientSession, address: str, one: Keyed) -> None:
        """With the same idempotency-key, in the next life."""
        try:
            async with session.post(address + one.path, data=one.data, headers=one.head) as got:
                self.replayed["same" if await got.read() == one.told else "other"] += 1
        except (aiohttp.ClientError, ConnectionError):
            self.again.append(one)

    def _acknowledged(self, number: int, got: aiohttp.ClientResponse) -> None:
        self.acknowledged[got.headers["x-fairlead-request-id"]] = number
        if self.kill is not None:
            self.kill()


def prove(short: bool) -> dict[str, object]:
    kills = 5 if short else 200
    dice = Random(SEED)
    wall = Wall(dice)
    with tempfile.TemporaryDirectory() as name, scripted() as up:
        folder = Path(name)
        setup = _setup(up, wall)
        keys = {key: create_key(folder / "data", key, *words) for key, words in BUDGETS.items()}
        callers, books = Callers(keys, dice), Books(folder / "data" / "fairlead.db")
        left_open = 0
        for life in range(kills):
            with gateway(folder, setup.text(limits=PATIENT), setup.secrets) as running:
                left_open += books.open_intents()
                asyncio.run(callers.load(running, dice.uniform(*LIFE_S), life % 2 == 0))
                running.kill()
            print(f"kill9: {life + 1} of {kills} kills", end="\r", file=sys.stderr, flush=True)
        with gateway(folder, setup.text(limits=PATIENT), setup.secrets) as running:
            left_open += books.open_intents()
            asyncio.run(callers.look_back(running))
        print(file=sys.stderr)
        return {"kills": kills, **_figures(books, wall, callers, left_open)}


def _setup(up: Scripted, wall: Wall) -> Setup:
    setup = Setup()
    for model, dialect in DIALECTS.items():
        up.on(model, wall)
        setup.endpoint(model, up.address, dialect, price=PRICE, context="2000k", max_output="1000k")
    return setup


def _figures(books: Books, wall: Wall, callers: Callers, left_open: int) -> dict[str, object]:
    rows = books.by_request()
    by_number: dict[int, list[Row]] = defaultdict(list)
    for row in (row for of_request in rows.values() for row in of_request):
        by_number[(row.reserved_nano_usd or 0) // WORST_OUTPUT_NANO_USD].append(row)
    names = {key_id: name for name, key_id in books.key_ids().items()}
    lost = [
        number
        for request_id, number in callers.acknowledged.items()
        if not any(_is_paid(row, number, wall) for row in rows.get(request_id, ()))
    ]
    double = sum(
        max(0, len(of_number) - max(1, wall.asked[number]))
        for number, of_number in by_number.items()
    ) + sum(wall.asked[number] - 1 for number in set(callers.acknowledged.values()))
    wrong = [
        number
        for number, of_number in by_number.items()
        for row in of_number
        if names.get(row.key_id) != callers.key_of.get(number)
        or (row.basis == "provider_usage" and not _is_paid(row, number, wall))
    ]
    bare = Counter(callers.key_of[number] for number in wall.asked if number not in by_number)
    orphans = [row for of in by_number.values() for row in of if row.basis == "lease_expired_max"]
    figures = {
        "requests": len(callers.key_of),
        "attempts": wall.asked.total(),
        "acknowledged": len(callers.acknowledged),
        "lost": len(lost),
        "double": double,
        "wrong": len(wrong),
        "balance_differs": books.balances_that_differ(),
        "orphans": len(orphans),
        "orphans_left_open": left_open,
        "orphans_not_at_reserve": sum(row.nano_usd != row.reserved_nano_usd for row in orphans),
        "attempts_without_intent": bare.total() - bare["free"],
        "attempts_without_intent_and_budget": bare["free"],
        "replayed": callers.replayed["same"],
        "replayed_differently": callers.replayed["other"],
        "refused": callers.refused.total(),
    }
    must_be_0 = set(figures) - {"requests", "attempts", "acknowledged", "orphans", "replayed"}
    must_be_0.remove("attempts_without_intent_and_budget")
    some = bool(callers.acknowledged and orphans and callers.replayed)
    return {**figures, "ok": some and not any(figures[name] for name in must_be_0)}


def _is_paid(row: Row, number: int, wall: Wall) -> bool:
    """Settled at what the upstream charged for this number."""
    bill = wall.bills.get(number)
    return bill is not None and (row.basis, row.nano_usd) == ("provider_usage", bill.nano_usd)
