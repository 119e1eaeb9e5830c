"""The wall: every fault, streamed and whole, to and from each dialect, with and without another
endpoint, in front of one real gateway. Each cell has models of its own, so that no breaker, gate
or retirement reaches another."""

import asyncio
import re
import socket
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from prove.canaries import hits, planted
from prove.expected import (
    CONNECT_S,
    FIRST_TOKEN_S,
    STALL_S,
    Expect,
    Expected,
    expected,
)
from prove.faults import FAULTS, Fault
from prove.faulty import Paced
from prove.heard import HANGS_S, MAX_TOKENS, Raw, ask
from prove.judge import Asked, Right, failures_in, faults_of
from prove.processes import peak_mib
from prove.vendors import EMBEDDER, VECTORS, VENDORS, Vendor
from servers.gateway import Gateway, create_key, gateway
from servers.plain import request
from servers.scripted import Answer, Gate, Script, Scripted, Seen, scripted, stream

LEAVES_S = 2.0
"""So long after the last answer every upstream that was given up must have been left."""


@dataclass(frozen=True)
class Cell:
    number: int
    fault: Fault
    streamed: bool
    caller: str
    upstream: Vendor
    paired: bool

    @property
    def name(self) -> str:
        form = "stream" if self.streamed else "whole"
        company = "paired" if self.paired else "alone"
        return f"{self.fault.name} {form} {self.caller}<-{self.upstream.name} {company}"

    @property
    def first(self) -> str:
        """The model that is faulty."""
        return f"c{self.number}a"

    @property
    def second(self) -> str:
        """The one that stands by: of the same vendor in one cell, of the other in the next."""
        if self.upstream is EMBEDDER:
            return f"{'roomy' if self.fault.roomy else 'well'}-{EMBEDDER.name}"
        other = (self.number // 2) % 2
        name = next(name for name in VENDORS if (name == self.upstream.name) != other)
        return f"{'roomy' if self.fault.roomy else 'well'}-{name}"

    @property
    def route(self) -> str:
        """What the caller asks for."""
        return f"c{self.number}" if self.paired else self.first

    @property
    def expect(self) -> Expect:
        found = self.fault.streamed if self.streamed else self.fault.whole
        assert found is not None, f"{self.fault.name} has no such form"
        return found

    @property
    def wanted(self) -> Expected:
        return expected(self.expect, self.paired, self.fault.calls)


@dataclass(frozen=True)
class Result:
    cell: Cell
    answers: Sequence[Raw]
    wrong: Sequence[str]


@dataclass
class Run:
    """What came of a run of the wall."""

    results: list[Result] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)
    alive: bool = False
    canary_asked: int = 0
    """How often an address was asked that only a redirect names."""
    left_open: int = 0
    """Connections to upstreams that nobody reads from any more, and nobody has closed."""
    unsettled: list[str] = field(default_factory=list)
    """Attempts in the upstreams' log that the ledger has not settled, or not for a price."""
    peak_mib: int | None = None


def cells(short: bool) -> list[Cell]:
    """All of them; in short every fault once in each form, the other dimensions in rotation."""
    found: list[Cell] = []
    for at, fault in enumerate(FAULTS):
        for streamed in (True, False):
            if (fault.streamed if streamed else fault.whole) is None:
                continue
            sides = list(SIDES[:8] if streamed or not fault.vectors else SIDES)
            for caller, upstream, paired in [sides[at * 3 % len(sides)]] if short else sides:
                found.append(Cell(len(found), fault, streamed, caller, upstream, paired))
            at += 1
    return found


SIDES: tuple[tuple[str, Vendor, bool], ...] = (
    *((c, u, paired) for c in VENDORS for u in VENDORS.values() for paired in (True, False)),
    *((EMBEDDER.name, EMBEDDER, paired) for paired in (True, False)),
)
"""Who asks, whom, and whether another stands by. Vectors cross to no other dialect."""


# The gateway and its upstreams -------------------------------------------------------------------


def configuration(walls: Sequence[Cell], address: str, nowhere: str) -> str:
    """The healthy endpoints are shared: nothing that happens in a cell is held against them."""
    timeouts = f"{{connect: {CONNECT_S}s, first_token: {FIRST_TOKEN_S}s, stall: {STALL_S}s}}"
    lines = ["server: {discover: false}", "providers:"]
    for place, where in (("first", address), ("second", address), ("refused", nowhere)):
        for vendor in VENDORS.values():
            key = "second" if place == "second" else "first"
            lines.append(
                f"  {vendor.name}-{place}: {{address: '{where}/v1', dialect: {vendor.dialect}, "
                f"zone: cloud, api_key: {{env: KEY_{key.upper()}_{vendor.name.upper()}}}, "
                f"timeouts: {timeouts}, expect: {{tokens_per_s: {10 * MAX_TOKENS}}}}}"
            )
    lines.append("models:")
    for vendor in VENDORS.values():
        lines.append(f"  well-{vendor.name}: {_model(f'{vendor.name}-second', 32, TOOLS)}")
        lines.append(f"  roomy-{vendor.name}: {_model(f'{vendor.name}-second', 256)}")
    for name, room_k in (("well", 32), ("roomy", 256)):
        lines.append(f"  {name}-{EMBEDDER.name}: {_model('openai-second', room_k, EMBED)}")
    for cell in walls:
        first = f"{cell.upstream.provider}-{'first' if cell.fault.listens else 'refused'}"
        # The short form, and the long one where it matters: a file holds 20,000 values at most.
        can = EMBED if cell.upstream is EMBEDDER else TOOLS * cell.fault.tools
        plain = not can and cell.expect.failure != "context_length"
        said = first if plain else _model(first, 32, can)
        lines.append(f"  {cell.first}: {said}")
    lines.append("routes:")
    lines += [f"  {c.route}: {{models: [{c.first}, {c.second}]}}" for c in walls if c.paired]
    return "\n".join(lines) + "\n"


EMBED = ", capabilities: [embed]"
TOOLS = ", capabilities: [tools, parallel_tools, sampling, system, stream]"


def _model(provider: str, context_k: int, more: str = "") -> str:
    return f"{{at: {provider}, context: {context_k}k, price: {{input: $1, output: $4}}{more}}}"


@contextmanager
def nobody() -> Iterator[str]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def teach(up: Scripted, walls: Sequence[Cell], seen: Mapping[int, Gate]) -> None:
    """``seen``: opened when a cell's caller has seen something of its answer."""
    for vendor in (*VENDORS.values(), EMBEDDER):
        up.on(f"well-{vendor.name}", well(vendor))
        up.on(f"roomy-{vendor.name}", well(vendor))
    for cell in walls:
        faulty = cell.fault.play(cell.upstream, cell.streamed)
        if cell.expect.begun and not callable(faulty):
            faulty = Paced(faulty, cell.upstream.opening, seen[cell.number])
        recovers = cell.expect.recovers and cell.fault.calls == 1
        up.on(cell.first, faulty, *([well(cell.upstream)] if recovers else []))


def well(vendor: Vendor) -> Answer:
    """Answers whatever it is asked, as it should."""

    def answer(seen: Seen) -> Script:
        if seen.json.get("tools"):
            return vendor.tools(seen)
        if seen.json.get("stream"):
            return stream(*vendor.otherwise.frames)
        return vendor.answer(False)

    return answer


# A run -------------------------------------------------------------------------------------------


def run(short: bool, at_once: int, slack_s: float) -> Run:
    walls = cells(short)
    done = Run()
    keys = {f"KEY_{place}_{v.upper()}": planted() for place in ("FIRST", "SECOND") for v in VENDORS}
    prompt = planted()
    with (
        tempfile.TemporaryDirectory(prefix="fairlead-wall-") as folder,
        scripted() as up,
        nobody() as nowhere,
    ):
        seen = {cell.number: Gate() for cell in walls}
        teach(up, walls, seen)
        config = configuration(walls, up.address, nowhere)
        key = create_key(Path(folder) / "data", "wall")
        with gateway(Path(folder), config, keys) as running:
            # Once beforehand: what a process does at its first request is no fault's doing.
            begun = _is_alive(running, key)
            answers = asyncio.run(_all(running, walls, seen, prompt, key, at_once, short))
            done.alive = begun and _is_alive(running, key)
            metrics = request("GET", f"{running.address}/metrics").body
            done.left_open = _left_open(up)
            done.peak_mib = peak_mib(running.process.pid)
        asked = Counter((_cell_of(seen), seen.model) for seen in up.seen)
        done.canary_asked = sum("elsewhere" in seen.path for seen in up.seen)
        kept = _kept(Path(folder), running, metrics)
        tries, settled = _records(Path(folder) / "data" / "fairlead.db")
    done.results = [_judged(cell, answers[cell.number], asked, tries, slack_s) for cell in walls]
    done.unsettled += [
        line for result in done.results for line in _unsettled(result, asked, settled)
    ]
    refusals = _refusals(done.results)
    done.canaries = hits({**keys, "the caller's key": key[3:]}, {**kept, **refusals})
    done.canaries += hits({"the prompt": prompt}, kept)
    return done


async def _all(
    running: Gateway,
    walls: Sequence[Cell],
    seen: Mapping[int, Gate],
    prompt: str,
    key: str,
    at_once: int,
    hurried: bool,
) -> dict[int, list[Raw]]:
    width = asyncio.Semaphore(at_once)
    answers: dict[int, list[Raw]] = {}

    async def one(cell: Cell) -> None:
        form = ("stream" if cell.streamed else "whole") + "-tools" * cell.fault.tools
        async with width:
            answers[cell.number] = [
                await ask(
                    running.address,
                    cell.caller,
                    cell.route,
                    f"Say it for cell {cell.number}: {prompt}",
                    key,
                    form,
                    HANGS_S,
                    seen[cell.number].open,
                )
                for _ in range(cell.fault.calls)
            ]
        if len(answers) % 100 == 0:
            print(f"wall: {len(answers)} of {len(walls)} cells", file=sys.stderr, flush=True)

    async def loud() -> None:
        for cell in walls:
            if cell.fault.loud:
                await one(cell)

    quiet = [one(cell) for cell in walls if not cell.fault.loud]
    if hurried:
        await asyncio.gather(*quiet, loud())
    else:
        await asyncio.gather(*quiet)
        await loud()
    return answers


def _is_alive(running: Gateway, key: str) -> bool:
    told = ("openai", "well-openai", "Still there?", key, "whole", HANGS_S, lambda: None)
    raw = asyncio.run(ask(running.address, *told))
    return raw.status == 200 and running.process.poll() is None


def _judged(
    cell: Cell,
    answers: Sequence[Raw],
    asked: Mapping[tuple[int, str], int],
    tries: Mapping[str, str],
    slack_s: float,
) -> Result:
    """The first call bears what was asked; all of them what was answered."""
    want, fault = cell.wanted, cell.fault
    text = VECTORS if cell.upstream is EMBEDDER else fault.text
    right = Right(cell.caller, fault.tools, text, fault.finish)
    place = "first" if fault.listens else "refused"
    first = f"{cell.upstream.provider}-{place}/{cell.first}"
    records = [tries.get(raw.request_id, "[]") for raw in answers]
    failures = tuple(failure for record in records for failure in failures_in(record, first))
    firsts = asked[cell.number, cell.first] if fault.listens else len(failures)
    happened = Asked(firsts, asked[cell.number, cell.second], failures)
    wrong: list[str] = []
    for raw in answers:
        wrong += faults_of(want, right, raw, happened, slack_s)
    return Result(cell, answers, tuple(dict.fromkeys(wrong)))


def _cell_of(seen: Seen) -> int:
    """By its prompt."""
    found = re.search(rb"for cell (\d+):", seen.body)
    return int(found[1]) if found else -1


def _records(path: Path) -> tuple[dict[str, str], Counter[str]]:
    """By request: the attempts in the journal, and how many of them are settled at a price."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tries = dict(database.execute("SELECT request_id, tries FROM exchange").fetchall())
        settled = database.execute(SETTLED).fetchall()
    return tries, Counter(dict(settled))


SETTLED = """
SELECT request_id, count(*) FROM intent JOIN settle USING (attempt_id)
WHERE nano IS NULL OR nano >= 0 GROUP BY request_id
"""


def _unsettled(
    result: Result, asked: Mapping[tuple[int, str], int], settled: Mapping[str, int]
) -> Iterator[str]:
    cell = result.cell
    seen = asked[cell.number, cell.first] + asked[cell.number, cell.second]
    rows = sum(settled[raw.request_id] for raw in result.answers)
    if rows < seen:
        yield f"{cell.name}: asked {seen} times, settled {rows}"


def _left_open(up: Scripted) -> int:
    until_s = monotonic() + LEAVES_S
    while up.playing and monotonic() < until_s:
        sleep(0.01)
    return up.playing


def _kept(folder: Path, running: Gateway, metrics: bytes) -> dict[str, bytes]:
    """All that is left of a run, but for what callers were sent."""
    kept = {"the metrics": metrics, "the output": running.output.text.encode()}
    kept["the log"] = running.log.read_bytes()
    data = [path for path in sorted(running.data.rglob("*")) if path.is_file()]
    return kept | {path.name: path.read_bytes() for path in data}


def _refusals(results: Sequence[Result]) -> dict[str, bytes]:
    return {
        f"the answer of {result.cell.name}": raw.all
        for result in results
        for raw in result.answers
        if raw.status != 200 or b"error" in raw.body
    }
