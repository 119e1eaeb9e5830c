"""The wall: every fault, streamed and whole, to and from each dialect, with and without another
endpoint, in front of one real gateway. Each cell has models of its own, so that no breaker, gate
or retirement reaches another."""

import asyncio
import socket
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
from prove.heard import MAX_TOKENS, Raw, ask
from prove.judge import Asked, Right, failures_in, faults_of
from prove.vendors import VENDORS, Vendor
from servers.gateway import Gateway, create_key, gateway
from servers.plain import request
from servers.scripted import Answer, Scripted, scripted

HANGS_S = 20.0
"""So long a caller waits in any case, to tell a hang from a late answer."""


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
    def second(self) -> Vendor:
        """Of the same vendor in one cell, of the other in the next."""
        others = [vendor for vendor in VENDORS.values() if vendor is not self.upstream]
        return others[0] if (self.number // 2) % 2 else self.upstream

    @property
    def route(self) -> str:
        return f"c{self.number}"

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


def cells(short: bool) -> list[Cell]:
    """All of them; in short every fault once in each form, the other dimensions in rotation."""
    found: list[Cell] = []
    for at, fault in enumerate(FAULTS):
        for streamed in (True, False):
            if (fault.streamed if streamed else fault.whole) is None:
                continue
            sides = [(c, u, p) for c in VENDORS for u in VENDORS.values() for p in (True, False)]
            for caller, upstream, paired in [sides[at * 3 % 8]] if short else sides:
                found.append(Cell(len(found), fault, streamed, caller, upstream, paired))
            at += 1
    return found


# The gateway and its upstreams -------------------------------------------------------------------


def configuration(walls: Sequence[Cell], address: str, nowhere: str) -> str:
    """As YAML with anchors: a thousand models are to fit into one file."""
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
    lines += ["models:", f"  well: {_model('openai-second', 32)}"]
    for cell in walls:
        first = f"{cell.upstream.name}-{'first' if cell.fault.listens else 'refused'}"
        lines.append(f"  {cell.route}a: {_model(first, 32)}")
        if cell.paired:
            room = 256 if cell.fault.roomy else 32
            lines.append(f"  {cell.route}b: {_model(f'{cell.second.name}-second', room)}")
    lines.append("routes:")
    for cell in walls:
        models = f"[{cell.route}a, {cell.route}b]" if cell.paired else f"[{cell.route}a]"
        lines.append(f"  {cell.route}: {{models: {models}}}")
    text = "\n".join(lines)
    for name, value in FACTS.items():
        text = text.replace(f"*{name}", f"&{name} {value}", 1)
    return text + "\n"


FACTS = {
    "p": "{input: $1, output: $4, cached_read: $0.1, cached_write: $1}",
    "c": "[tools, parallel_tools, sampling, system, stream]",
}


def _model(provider: str, context_k: int) -> str:
    return f"{{at: {provider}, context: {context_k}k, max_output: 4k, price: *p, capabilities: *c}}"


@contextmanager
def nobody() -> Iterator[str]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def teach(up: Scripted, walls: Sequence[Cell]) -> None:
    up.on("well", VENDORS["openai"].text)
    for cell in walls:
        faulty = cell.fault.play(cell.upstream, cell.streamed)
        if cell.expect.begun and not callable(faulty):
            faulty = Paced(faulty, cell.upstream.opening)
        recovers = cell.expect.recovers and cell.fault.calls == 1
        up.on(f"{cell.route}a", faulty, *([_well(cell.upstream, cell)] if recovers else []))
        up.on(f"{cell.route}b", _well(cell.second, cell))


def _well(vendor: Vendor, cell: Cell) -> Answer:
    return vendor.tools if cell.fault.tools else vendor.answer(cell.streamed)


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
        teach(up, walls)
        config = configuration(walls, up.address, nowhere)
        key = create_key(Path(folder) / "data", "wall")
        with gateway(Path(folder), config, keys) as running:
            answers = asyncio.run(_all(running, walls, prompt, key, at_once))
            done.alive = _is_alive(running, key)
            metrics = request("GET", f"{running.address}/metrics").body
        asked = Counter(seen.model for seen in up.seen)
        done.canary_asked = sum("elsewhere" in seen.path for seen in up.seen)
        kept = _kept(Path(folder), running, metrics)
        tries = _tries(Path(folder) / "data" / "fairlead.db")
    done.results = [_judged(cell, answers[cell.number], asked, tries, slack_s) for cell in walls]
    refusals = _refusals(done.results)
    done.canaries = hits({**keys, "the caller's key": key[3:]}, {**kept, **refusals})
    done.canaries += hits({"the prompt": prompt}, kept)
    return done


async def _all(
    running: Gateway, walls: Sequence[Cell], prompt: str, key: str, at_once: int
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
                    f"Say it. {prompt}",
                    key,
                    form,
                    HANGS_S,
                )
                for _ in range(cell.fault.calls)
            ]
        if len(answers) % 100 == 0:
            print(f"wall: {len(answers)} of {len(walls)} cells", file=sys.stderr, flush=True)

    await asyncio.gather(*(one(cell) for cell in walls))
    return answers


def _is_alive(running: Gateway, key: str) -> bool:
    raw = asyncio.run(ask(running.address, "openai", "well", "Still there?", key, "whole", HANGS_S))
    return raw.status == 200 and running.process.poll() is None


def _judged(
    cell: Cell,
    answers: Sequence[Raw],
    asked: Mapping[str, int],
    tries: Mapping[str, str],
    slack_s: float,
) -> Result:
    """The first call bears what was asked; all of them what was answered."""
    want, fault = cell.wanted, cell.fault
    right = Right(cell.caller, fault.tools, fault.text, fault.finish)
    place = "first" if fault.listens else "refused"
    first = f"{cell.upstream.name}-{place}/{cell.route}a"
    ids = [raw.headers.get("x-fairlead-request-id", "") for raw in answers]
    failures = tuple(f for id in ids for f in failures_in(tries.get(id, "[]"), first))
    firsts = asked[f"{cell.route}a"] if fault.listens else len(failures)
    happened = Asked(firsts, asked[f"{cell.route}b"], failures)
    wrong: list[str] = []
    for raw in answers:
        wrong += faults_of(want, right, raw, happened, slack_s)
    return Result(cell, answers, tuple(dict.fromkeys(wrong)))


def _tries(path: Path) -> dict[str, str]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT request_id, tries FROM exchange").fetchall()
    database.close()
    return dict(rows)


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
