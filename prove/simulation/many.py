"""Many seeds, on every core; and what of them is told."""

import gc
import os
import sys
import time
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path

from prove.simulation.front import in_place_of_chance_and_threads
from prove.simulation.handing import hand
from prove.simulation.machine import Machine, in_place_of_the_world
from prove.simulation.result import Result
from prove.simulation.world import simulate

KEPT = Path(__file__).with_name("seeds.txt")
LOT = 250
"""Seeds that a process does in a row."""
HANDING_EVERY = 4
"""Of so many seeds one tells of processes that take over as well."""
SERVED_EVERY = 10
"""Of so many one tells of callers of the whole server, in the place of the gateway's alone."""
LAST_EVENTS = 40
COLLECT_EVERY = 25
SHOWN = 5


def kept_seeds() -> dict[int, str]:
    """Every seed that ever failed, and why."""
    lines = [line.split("#")[0].strip() for line in KEPT.read_text().splitlines()]
    return {int(seed): why for seed, _, why in (line.partition(" ") for line in lines if line)}


def results(seeds: Iterable[int], every_kind: bool = False) -> Iterator[Result]:
    """In this process; ``every_kind`` of story for each seed. Nothing is collected while one runs:
    a generator that the collector closes would come in at another moment each time."""
    machine = Machine()
    collecting = gc.isenabled()
    gc.disable()
    gc.collect()
    gc.freeze()
    try:
        with in_place_of_the_world(machine), in_place_of_chance_and_threads(machine):
            for count, seed in enumerate(seeds):
                if count % COLLECT_EVERY == 0:
                    gc.collect()
                served = seed % SERVED_EVERY == 1
                if every_kind or not served:
                    yield simulate(seed, machine)
                if every_kind or served:
                    yield simulate(seed, machine, served=True)
                if every_kind or seed % HANDING_EVERY == 0:
                    yield hand(seed, machine)
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()


class Tally:
    def __init__(self) -> None:
        self.figures = dict.fromkeys(
            (
                *("seeds", "served", "handings", "requests", "sent", "answered", "replayed"),
                *("crashes", "cancelled", "invariant_breaks"),
            ),
            0,
        )
        self.failed: list[tuple[int, str]] = []

    def add(self, result: Result) -> None:
        """Prints what broke: whoever reads that can replay it."""
        self.figures["handings" if result.kind == "handing" else "seeds"] += 1
        self.figures["served"] += result.kind == "served"
        for name in ("requests", "sent", "answered", "replayed", "crashes", "cancelled"):
            self.figures[name] += getattr(result, name)
        if result.broken:
            self.figures["invariant_breaks"] += 1
            self.failed.append((result.seed, result.broken))
            if len(self.failed) <= SHOWN:
                print(shown(result, LAST_EVENTS), file=sys.stderr)

    def join(self, other: "Tally") -> None:
        for name, count in other.figures.items():
            self.figures[name] += count
        self.failed += other.failed

    @property
    def found(self) -> dict[str, object]:
        failed = sorted({seed for seed, _ in self.failed})
        return {**self.figures, "failed_seeds": failed, "ok": not failed}


def shown(result: Result, last: int) -> str:
    """A seed's events, the last of them, and how it ended."""
    events = [f"{at_s:14.6f}  {what:<16} {detail}" for at_s, what, detail in result.trace[-last:]]
    end = f"broken: {result.broken}" if result.broken else "every invariant held"
    return "\n".join((f"{result.kind} {result.seed}", *events, end))


def tally_of(seeds: Iterable[int], every_kind: bool = False) -> Tally:
    tally = Tally()
    for result in results(seeds, every_kind):
        tally.add(result)
    return tally


def on_every_core(first: int, count: int) -> Tally:
    tally, began_s = Tally(), time.monotonic()
    lots = [range(at, min(at + LOT, first + count)) for at in range(first, first + count, LOT)]
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        for lot in pool.imap_unordered(tally_of, lots):
            tally.join(lot)
            done = tally.figures["seeds"]
            took_s = time.monotonic() - began_s
            told = f"simulate: {done} seeds in {took_s:.0f} s, {len(tally.failed)} failed"
            print(told, end="\r", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return tally
