"""Restarted again and again under live streams, the gateway cuts none, refuses nobody, and keeps
one account of the money. Reloaded under load, it fails nobody, and no broken file is ever in force.

Each process takes the place of the one before while that still finishes its answers, so several run
at a time on one ledger. The upstream knows by the number in each prompt how often it was asked and
what it charged; callers check every word. Some first attempts fail, also in a process that has
handed over: the second one it must be granted by another.
"""

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from asyncio import to_thread
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp

from prove.bills import PATIENT, PRICE, Bill, answer
from prove.books import Books
from servers.asked import longest_answer
from servers.gateway import TAKE_OVER, Gateway, create_key, gateway
from servers.scripted import Gate, Script, Scripted, Seen, reply, scripted
from servers.setup import Setup

SEED = 10
DIALECTS = {"openai": "openai_chat", "anthropic": "anthropic_messages"}
ROUTE = "either"
PATHS = {"/v1/chat/completions": b"data: [DONE]\n\n", "/v1/messages": b'"message_stop"}\n\n'}
"""Where callers ask, and how a stream of theirs ends."""
PACE_S = 0.2
"""Between two words of a stream."""
TRICKLE_S = 0.1
"""Between two requests for a whole answer."""
BETWEEN_S = 0.5
"""Between a takeover and the next."""
TOLD = "^reloaded|stays in force"
"""What a process prints once it has read its file."""
FIRST, FAILS = "openai", 0.03
"""So many attempts at the first endpoint do; the second then answers."""
MOST_OUTPUT = 900
NUMBER = re.compile(rb"Request ([0-9]+):")
BAD_FILES = (
    'models: {never: {at: nobody}}\nserver: {discover: "perhaps"}\n',
    "providers: {at-openai: {adress: 1}}\nmodels: {never: at-openai}\n",
    "models: [never\n",
    "providers: {openai: {dialekt: openai_chat}}\n",
    "routes: {either: {models: [never]}}\n",
)


@dataclass
class Scale:
    restarts: int
    streams: int
    words: tuple[int, int]
    budget_usd: str
    reloads: int


SHORT = Scale(restarts=2, streams=20, words=(4, 10), budget_usd="0.01", reloads=10)
LONG = Scale(restarts=20, streams=200, words=(10, 40), budget_usd="0.1", reloads=100)


@dataclass
class Wall:
    """The upstream: what it was asked, how often, and what it charged, by number."""

    dice: Random
    words: dict[int, list[str]] = field(default_factory=dict)
    """What to say, as the caller has decided."""
    asked: Counter[int] = field(default_factory=Counter)
    bills: dict[int, Bill] = field(default_factory=dict)
    left: list[Seen] = field(default_factory=list)

    def __call__(self, seen: Seen) -> Script:
        found = NUMBER.search(seen.body)
        number = int(found[1]) if found else 0
        self.asked[number] += 1
        if seen.model == FIRST and self.asked[number] == 1 and self.dice.random() < FAILS:
            return reply({"error": {"message": "not now", "type": "server_error"}}, status=500)
        longest = min(MOST_OUTPUT, longest_answer(seen.json) or MOST_OUTPUT)
        thought = self.dice.randint(0, longest // 2)
        text = self.dice.randint(1, longest - thought)
        bill = self.bills[number] = Bill(plain=1, text=text, reasoning=thought)
        words, streams = self.words[number], bool(seen.json.get("stream"))
        pauses = [self._pause(place + 1) for place in range(len(words) if streams else 1)]
        dialect = "anthropic_messages" if seen.path.startswith("/v1/messages") else "openai_chat"
        self.left.append(seen)
        return answer(dialect, streams, words, bill, pauses)

    def _pause(self, place: int) -> Gate:
        gate = Gate()
        asyncio.get_running_loop().call_later(place * PACE_S, gate.open)
        return gate


@dataclass
class Callers:
    """What callers sent and got."""

    wall: Wall
    scale: Scale
    keys: Mapping[str, str]
    address: str = ""
    dice: Random = field(default_factory=lambda: Random(SEED))
    numbers: int = 0
    key_of: dict[int, str] = field(default_factory=dict)
    request_ids: dict[str, int] = field(default_factory=dict)
    live: int = 0
    """Streams of which some has come, and not all."""
    full: asyncio.Event = field(default_factory=asyncio.Event)
    """As many are live as there must be when a process takes over."""
    streams: int = 0
    wholes: int = 0
    over_budget: set[int] = field(default_factory=set)
    cut: list[str] = field(default_factory=list)
    """Streams that broke off, or ended in an error."""
    lost: list[str] = field(default_factory=list)
    """Answers that are not, word for word, what the model said."""
    failed: list[str] = field(default_factory=list)
    """Requests that got no answer, or another status."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self) -> None:
        """Until told to stop; what runs then ends by itself."""
        kept = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        fresh = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        async with kept, fresh, asyncio.TaskGroup() as group:
            for each in range(self.scale.streams + self.scale.streams // 4):
                group.create_task(self._stream_on((kept, fresh)[each % 2]))
            while not self.stop.is_set():
                group.create_task(self._whole(self.dice.choice((kept, fresh))))
                await asyncio.sleep(TRICKLE_S)

    async def _stream_on(self, session: aiohttp.ClientSession) -> None:
        while not self.stop.is_set():
            await self._ask(session, self.dice.choice(("free", "wide")), streams=True)

    async def _whole(self, session: aiohttp.ClientSession) -> None:
        await self._ask(session, self.dice.choice([*self.keys]), streams=False)

    async def _ask(self, session: aiohttp.ClientSession, key: str, streams: bool) -> None:
        self.numbers += 1
        number = self.numbers
        words = [f"{number}-{place} " for place in range(self.dice.randint(*self.scale.words))]
        self.key_of[number], self.wall.words[number] = key, words
        path = self.dice.choice([*PATHS])
        body = {
            "model": ROUTE,
            "max_tokens": 2 * MOST_OUTPUT,
            "messages": [{"role": "user", "content": f"Request {number}: say a few words."}],
            "stream": streams,
        }
        head = {"authorization": f"Bearer {self.keys[key]}", "content-type": "application/json"}
        try:
            async with session.post(self.address + path, json=body, headers=head) as got:
                self.request_ids[got.headers.get("x-fairlead-request-id", "")] = number
                if got.status == 402 and key == "tight":
                    self.over_budget.add(number)
                elif got.status != 200:
                    self.failed.append(f"{number}: {got.status} {await got.text()}")
                elif streams:
                    await self._read_stream(got, number, path, "".join(words))
                else:
                    self._whole_is(number, await got.read(), "".join(words))
        except (aiohttp.ClientError, OSError) as error:
            self.failed.append(f"{number}: {type(error).__name__} {error}")

    async def _read_stream(
        self, got: aiohttp.ClientResponse, number: int, path: str, words: str
    ) -> None:
        self.streams += 1
        self._lives(1)
        told = b""
        try:
            async for piece in got.content.iter_any():
                told += piece
        except (aiohttp.ClientError, OSError) as error:
            self.cut.append(f"{number}: {type(error).__name__} after {told[-300:]!r}")
            return
        finally:
            self._lives(-1)
        if not told.endswith(PATHS[path]):
            self.cut.append(f"{number}: ends in {told[-300:]!r}")
        elif (heard := text_of(told)) != words:
            self.lost.append(f"{number}: {heard!r} instead of {words!r}")

    def _lives(self, more: int) -> None:
        self.live += more
        if self.live >= self.scale.streams:
            self.full.set()

    def _whole_is(self, number: int, body: bytes, words: str) -> None:
        self.wholes += 1
        told = json.loads(body)
        message = told["choices"][0]["message"] if "choices" in told else told
        content = message["content"]
        heard = content if isinstance(content, str) else "".join(one["text"] for one in content)
        if heard != words:
            self.lost.append(f"{number}: {heard!r} instead of {words!r}")


def text_of(stream: bytes) -> str:
    """What was said, in either dialect."""
    said = []
    for line in stream.split(b"\n"):
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if choices := event.get("choices"):
                said.append(choices[0]["delta"].get("content") or "")
            elif event.get("type") == "content_block_delta":
                said.append(event["delta"].get("text", ""))
    return "".join(said)


class Processes:
    """One after the other in each other's place."""

    def __init__(self, folder: Path, setup: Setup, stack: ExitStack) -> None:
        self._folder, self._setup, self._stack = folder, setup, stack
        self.all: list[Gateway] = []

    @property
    def last(self) -> Gateway:
        return self.all[-1]

    def start(self) -> None:
        """Returns once it serves, and the one before it has let go."""
        words = [TAKE_OVER] if self.all else []
        started = gateway(
            self._folder, self._setup.text(limits=PATIENT), self._setup.secrets, words
        )
        self.all.append(self._stack.enter_context(started))
        if words:
            self.all[-2].output.wait_for("another process has taken over")


def prove(short: bool) -> dict[str, object]:
    scale = SHORT if short else LONG
    wall = Wall(Random(SEED))
    with tempfile.TemporaryDirectory() as name, scripted() as up:
        folder, setup = Path(name), _setup(up, wall)
        budgets = {"free": (), "wide": ("--budget-day", "99999")}
        budgets["tight"] = ("--budget-day", scale.budget_usd)
        data = folder / "data"
        keys = {key: create_key(data, key, *words) for key, words in budgets.items()}
        callers = Callers(wall, scale, keys)
        with ExitStack() as stack:
            processes = Processes(folder, setup, stack)
            processes.start()
            found = asyncio.run(_run(scale, callers, processes, setup))
        books = Books(data / "fairlead.db")
        return _figures(callers, books, found, scale)


def _setup(up: Scripted, wall: Wall) -> Setup:
    setup = Setup()
    for model, dialect in DIALECTS.items():
        up.on(model, wall)
        setup.endpoint(model, up.address, dialect, price=PRICE, context="200k", max_output="16k")
    return setup.route(ROUTE, *DIALECTS)


async def _run(
    scale: Scale, callers: Callers, processes: Processes, setup: Setup
) -> dict[str, int]:
    callers.address = processes.last.address
    load = asyncio.create_task(callers.load())
    fewest = 2 * scale.streams
    try:
        for done in range(1, scale.restarts + 1):
            while callers.live < scale.streams and not load.done():
                callers.full.clear()
                full = asyncio.ensure_future(callers.full.wait())
                await asyncio.wait((load, full), return_when=asyncio.FIRST_COMPLETED)
            fewest = min(fewest, callers.live)
            await to_thread(processes.start)
            await asyncio.sleep(BETWEEN_S)
            _progress(f"restart: {done} of {scale.restarts} restarts, {callers.live} streams live")
        failed_before = len(callers.failed) + len(callers.cut)
        applied = await _reload(scale, callers, processes.last, setup)
        reload_failures = len(callers.failed) + len(callers.cut) - failed_before
    finally:
        callers.stop.set()
        await load
    _progress("restart: waiting for the last to end\n")
    processes.last.process.send_signal(signal.SIGTERM)
    codes = [await to_thread(each.process.wait, 150) for each in processes.all]
    return {
        "fewest_live": fewest,
        "exits_not_0": sum(code != 0 for code in codes),
        "reload_failures": reload_failures,
        **applied,
    }


async def _reload(scale: Scale, callers: Callers, running: Gateway, setup: Setup) -> dict[str, int]:
    """Write a file, see what became of it: a good one is in force, of a bad one nothing is."""
    wrong = bad = 0
    marker = ""
    seen = len(re.findall(TOLD, running.output.text, re.MULTILINE))
    for number in range(scale.reloads):
        is_bad = number % 5 == 4
        if is_bad:
            bad += 1
            text = BAD_FILES[bad % len(BAD_FILES)]
        else:
            marker = f"marker-{number}"
            text = setup.text(limits=PATIENT).replace(
                '"routes": {', f'"routes": {{"{marker}": {{}},', 1
            )
        made = running.config.with_suffix(".new")
        made.write_text(text)
        os.replace(made, running.config)
        # So many of them, and nothing else between two: else it would try all ways to count.
        tellings = rf"(?sm)\A(?:(?:(?!{TOLD}).)*({TOLD})){{{seen + number + 1}}}"
        told = await to_thread(running.output.wait_for, tellings)
        wrong += (told[1] == "reloaded") is is_bad
        names = await _names(callers)
        wrong += "never" in names or ROUTE not in names or marker not in names
        _progress(f"restart: {number + 1} of {scale.reloads} reloads")
    return {"reloads": scale.reloads, "reloads_invalid": bad, "reloads_wrong": wrong}


async def _names(callers: Callers) -> set[str]:
    head = {"authorization": f"Bearer {callers.keys['free']}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{callers.address}/v1/models", headers=head) as got,
    ):
        return {each["id"] for each in (await got.json())["data"]}


def _figures(
    callers: Callers, books: Books, found: Mapping[str, int], scale: Scale
) -> dict[str, object]:
    wall, rows = callers.wall, books.by_request()
    gaps = [f"{strange}: nobody's" for strange in rows.keys() - callers.request_ids.keys()]
    for request_id, number in callers.request_ids.items():
        of_request = rows.get(request_id, [])
        bill, asked = wall.bills.get(number), wall.asked[number]
        settled = [row.nano_usd or 0 for row in of_request if row.basis]
        # One that was not granted was not sent.
        unsent = len(of_request) - asked if number in callers.over_budget else 0
        if (len(settled), sum(settled)) != (asked + max(0, unsent), bill.nano_usd if bill else 0):
            gaps.append(f"{number}: {wall.asked[number]} asked, {bill}, {of_request}")
    spent = sum(
        bill.nano_usd for number, bill in wall.bills.items() if callers.key_of[number] == "tight"
    )
    for wrong in (callers.failed, callers.cut, callers.lost, gaps):
        print(*wrong[:5], sep="\n", end="\n" * bool(wrong), file=sys.stderr)
    figures = {
        "restarts": scale.restarts,
        "streams": callers.streams,
        "whole_requests": callers.wholes,
        "attempts": wall.asked.total(),
        "fewest_live": found["fewest_live"],
        "refused_over_budget": len(callers.over_budget),
        "cut": len(callers.cut),
        "lost": len(callers.lost),
        "failed_requests": len(callers.failed),
        "upstreams_left": sum(seen.left.is_open for seen in wall.left),
        "ledger_gaps": len(gaps),
        "balance_differs": books.balances_that_differ(),
        "budget_over_nano_usd": max(0, spent - int(float(scale.budget_usd) * 1e9)),
        **{name: count for name, count in found.items() if name != "fewest_live"},
    }
    must_be_0 = ["cut", "lost", "failed_requests", "upstreams_left", "ledger_gaps"]
    must_be_0 += ["balance_differs", "budget_over_nano_usd", "exits_not_0"]
    must_be_0 += ["reload_failures", "reloads_wrong"]
    enough = found["fewest_live"] >= scale.streams and bool(callers.over_budget)
    return {**figures, "ok": enough and not any(figures[name] for name in must_be_0)}


def _progress(line: str) -> None:
    print(line, end="" if line.endswith("\n") else "\r", file=sys.stderr, flush=True)
