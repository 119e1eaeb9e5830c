"""Of 400 requests in the same instant on a budget that affords exactly K, exactly K are admitted,
and not one nano-dollar is spent or charged beyond it.

Input is free here, so that a reserve is no estimate: the longest answer allowed, times its price.
"""

import asyncio
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

from prove.bills import PATIENT, PRICE, WORST_OUTPUT_NANO_USD, Bill, answer
from prove.books import Books
from prove.crowd import Told, ask_at_once, wire
from servers.asked import longest_answer
from servers.gateway import Gateway, create_key, gateway
from servers.scripted import Gate, Script, Seen, reply, scripted
from servers.setup import Setup

SEED = 11
CROWD = 400
FREE_INPUT = {**PRICE, "input": "$0", "cached_read": "$0", "cached_write": "$0"}
DEARER = {**FREE_INPUT, "output": "$4", "reasoning": "$6"}
PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}
WINDOWS = (("day",), ("month",), ("day", "month"), ("month", "day"))
"""Which budgets a key has; the first of two is the tighter."""
KINDS = ("held", "flowing", "mixed", "dearer")
"""``held``: nobody is answered before everybody is decided on, and answers cost less than their
reserve. ``flowing``: answers come at once, and cost their reserve. ``mixed``: as ``held``, and each
request has a cost of its own. ``dearer``: the first model fails, the second costs twice as much."""


@dataclass
class Round:
    kind: str
    key: str
    name: str
    windows: tuple[str, ...]
    tokens: list[int]
    """The longest answer that each request allows."""
    affords: int
    budget_nano_usd: int

    @property
    def worst_nano_usd(self) -> list[int]:
        twice = 2 if self.kind == "dearer" else 1
        return [tokens * WORST_OUTPUT_NANO_USD * twice for tokens in self.tokens]


class Wall:
    """The upstream of one round."""

    def __init__(self, round_: Round, dice: Random) -> None:
        self._round = round_
        self._dice = dice
        self._left = CROWD
        self._lock = threading.Lock()
        self._decided = Gate()
        self.charged_nano_usd = 0
        self.answered: list[int] = []
        """The longest answer that each one allowed."""

    def decided(self, told: Told | None = None) -> None:
        """One more request has arrived here, or was refused."""
        if told is not None and told.status == 200:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._decided.open()

    def __call__(self, seen: Seen) -> Script:
        tokens = longest_answer(seen.json) or 0
        flows = self._round.kind in ("flowing", "dearer")
        bill = Bill(reasoning=tokens if flows else self._dice.randint(0, tokens))
        self.answered.append(tokens)
        self.charged_nano_usd += bill.nano_usd * (2 if self._round.kind == "dearer" else 1)
        dialect = next(name for name, path in PATHS.items() if seen.path.startswith(path))
        script = answer(dialect, bool(seen.json.get("stream")), ("Yes.",), bill)
        self.decided()
        return script if flows else (self._decided, *script)


def prove(short: bool) -> dict[str, object]:
    count = 4 if short else 50
    dice = Random(SEED)
    figures = {"rounds": 0, "requests": 0, "admitted": 0, "admitted_wrong": 0, "over_nano_usd": 0}
    figures |= {"other_answers": 0, "balance_differs": 0}
    with tempfile.TemporaryDirectory() as name, scripted() as up:
        folder = Path(name)
        setup = Setup()
        for model, dialect in (("openai", "openai_chat"), ("anthropic", "anthropic_messages")):
            setup.endpoint(model, up.address, dialect, price=FREE_INPUT)
        setup.endpoint("failing", up.address, "openai_chat", price=FREE_INPUT)
        setup.endpoint("dearer", up.address, "openai_chat", price=DEARER)
        setup.route("pair", "failing", "dearer")
        up.on("failing", reply({"error": {"message": "no"}}, status=500))
        rounds = [_made(folder, number, dice) for number in range(count)]
        with gateway(folder, setup.text(limits=PATIENT), setup.secrets) as running:
            for round_ in rounds:
                wall = Wall(round_, dice)
                for model in ("openai", "anthropic", "dearer"):
                    up.on(model, wall)
                found = _run(running, round_, wall, dice)
                for figure, value in found.items():
                    figures[figure] += value
                print(f"budget: {round_.name} {round_.kind}", end="\r", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        figures["balance_differs"] = Books(folder / "data" / "fairlead.db").balances_that_differ()
    must_be_0 = ("admitted_wrong", "over_nano_usd", "other_answers", "balance_differs")
    ok = figures["admitted"] > 0 and not any(figures[name] for name in must_be_0)
    return {**figures, "ok": ok}


def _made(folder: Path, number: int, dice: Random) -> Round:
    """A round and its key. Nobody has asked with it before."""
    kind, windows = KINDS[number % len(KINDS)], WINDOWS[number // 2 % len(WINDOWS)]
    affords = dice.randint(1, CROWD - 1)
    tokens = [dice.randint(1, 5000)] * CROWD
    if kind == "mixed":
        tokens = [dice.randint(1, 5000) for _ in range(CROWD)]
    round_ = Round(kind, "", f"round{number}", windows, tokens, affords, 0)
    mean = sum(round_.worst_nano_usd) // CROWD
    round_.budget_nano_usd = affords * mean + dice.randint(0, mean - 1)
    options = []
    for at, window in enumerate(windows):
        options += [f"--budget-{window}", _dollars(round_.budget_nano_usd * (1 + 3 * at))]
    round_.key = create_key(folder / "data", round_.name, *options)
    return round_


def _dollars(nano_usd: int) -> str:
    whole, rest = divmod(nano_usd, 10**9)
    return f"{whole}.{rest:09d}"


def _run(running: Gateway, round_: Round, wall: Wall, dice: Random) -> dict[str, int]:
    requests = [wire(*_request(round_, tokens, dice)) for tokens in round_.tokens]
    port = urlsplit(running.address).port or 0
    told = asyncio.run(ask_at_once(port, requests, wall.decided))
    books = Books(running.data / "fairlead.db")
    key_id = books.key_ids()[round_.name]
    spent = [books.spent_nano_usd(key_id, window) for window in round_.windows]
    over = [max(0, amount - round_.budget_nano_usd) for amount in (*spent, wall.charged_nano_usd)]
    admitted = sum(got.status == 200 for got in told)
    refusals = (402, 502, 503) if round_.kind == "dearer" else (402,)
    return {
        "rounds": 1,
        "requests": len(told),
        "admitted": admitted,
        "admitted_wrong": _admitted_wrong(round_, wall, told),
        "over_nano_usd": max(over) + sum(abs(one - wall.charged_nano_usd) for one in spent),
        "other_answers": sum(_is_other(got, refusals) for got in told),
    }


def _is_other(got: Told, refusals: tuple[int, ...]) -> bool:
    """Neither a refusal for want of money nor an answer that ends well."""
    return got.status not in refusals if got.status != 200 else b'"error"' in got.body


def _admitted_wrong(round_: Round, wall: Wall, told: list[Told]) -> int:
    """By how many, beyond or below those that the budget affords."""
    admitted = sum(got.status == 200 for got in told)
    if len(wall.answered) != admitted:
        return abs(len(wall.answered) - admitted)
    if round_.kind == "dearer":
        # Others hold the first model's price meanwhile: fewer than K may find the room.
        return max(0, admitted - round_.affords) + (admitted == 0)
    if round_.kind == "mixed":
        # Nothing was given back before all were decided on, so no refused one may still fit.
        pairs = list(zip(told, round_.worst_nano_usd, strict=True))
        left = round_.budget_nano_usd - sum(worst for got, worst in pairs if got.status == 200)
        return (left < 0) + sum(worst <= left for got, worst in pairs if got.status == 402)
    return abs(admitted - round_.affords)


def _request(round_: Round, tokens: int, dice: Random) -> tuple[str, str, Mapping[str, Any]]:
    body = {
        "model": "pair" if round_.kind == "dearer" else dice.choice(("openai", "anthropic")),
        "max_tokens": tokens,
        "messages": [{"role": "user", "content": "Yes or no?"}],
        "stream": dice.random() < 0.5,
    }
    return dice.choice(list(PATHS.values())), round_.key, body
