"""The short form of the proof, and every seed that ever failed."""

import subprocess
import sys
from pathlib import Path

import pytest
from prove.proofs.simulate import SHORT_SEEDS, prove
from prove.simulation.many import (
    HANDING_EVERY,
    SERVED_EVERY,
    kept_seeds,
    on_every_core,
    results,
    tally_of,
)

ROOT = Path(__file__).parents[2]


def test_no_invariant_breaks() -> None:
    found = prove(short=True)

    assert found["ok"], found
    assert found["seeds"] == SHORT_SEEDS + 2 * len(kept_seeds())
    assert found["served"] == SHORT_SEEDS // SERVED_EVERY + len(kept_seeds())
    assert found["handings"] == SHORT_SEEDS // HANDING_EVERY + len(kept_seeds())
    assert (found["invariant_breaks"], found["failed_seeds"]) == (0, [])


def test_the_worlds_are_not_idle() -> None:
    """A simulation in which nothing happens proves nothing."""
    found = [one for one in results(range(60)) if one.kind == "world"]

    assert sum(one.sent for one in found) > 300
    assert sum(one.answered for one in found) > 200
    assert sum(one.crashes for one in found) > 20
    assert sum(one.cancelled for one in found) > 20


def test_callers_ask_again() -> None:
    found = [one for one in results(range(1, 400, SERVED_EVERY)) if one.kind == "served"]

    assert len(found) == 400 // SERVED_EVERY
    assert sum(one.answered for one in found) > 300
    assert sum(one.replayed for one in found) > 60
    assert sum(one.crashes for one in found) > 20
    assert sum(one.cancelled for one in found) > 40
    outcomes = {detail.rpartition(" ")[2] for one in found for _, what, detail in one.trace}
    assert outcomes >= {"ok", "left", "cancelled", "cut", "409", "422", "402", "503"}


def test_the_server_is_told_to_stop() -> None:
    found = [one for one in results(range(1, 400, SERVED_EVERY)) if one.kind == "served"]
    events = [(what, detail.partition(": ")[2]) for one in found for _, what, detail in one.trace]

    assert events.count(("stopped", "")) > 20
    assert {("ends", how) for how in ("shutting down", "refused", "hung up")} <= {*events}


def test_processes_take_over_and_die() -> None:
    found = [one for one in results(range(0, 200, 4)) if one.kind == "handing"]
    events = [what for one in found for _, what, _ in one.trace]

    assert sum(one.sent for one in found) > 500
    assert events.count("has taken over") > 50
    assert events.count("gives up") > 0
    assert events.count("dies") > 20


@pytest.mark.parametrize("seed", [8, 589])
def test_a_seed_is_the_same_story_in_every_process(seed: int) -> None:
    told = [
        subprocess.run(
            (sys.executable, "-m", "prove.simulation", str(seed)),
            cwd=ROOT,
            env={"PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for number in ("1", "2")
    ]

    assert told[0] == told[1]
    assert told[0].endswith("every invariant held\n")


def test_every_core_finds_what_one_does() -> None:
    assert on_every_core(0, 8).found == tally_of(range(8)).found
