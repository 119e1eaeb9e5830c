"""The fault wall: what an upstream can do wrong, and what the caller gets."""

import sys

from prove import judge
from prove.wall import Run, run
from prove.walltable import write

AT_ONCE, AT_ONCE_SHORT = 8, 48
SLACK_S = 1.0
SHORT_SLACK_S = 6.0
"""The short form runs beside other tests, on machines that are busy."""


def prove(short: bool) -> dict[str, object]:
    at_once, slack_s = (AT_ONCE_SHORT, SHORT_SLACK_S) if short else (AT_ONCE, SLACK_S)
    done = run(short, at_once, slack_s)
    for line in complaints(done):
        print(f"wall: {line}", file=sys.stderr)
    if not short:
        write(done.results)
    return figures(done)


def figures(done: Run) -> dict[str, object]:
    wrong = [line for result in done.results for line in result.wrong]
    leaks = len(done.unsettled) + done.left_open
    counts = {kind: sum(line.startswith(kind + ":") for line in wrong) for kind in KINDS}
    return {
        "cells": len(done.results),
        "faults": len({result.cell.fault.name for result in done.results}),
        **{KINDS[kind]: count for kind, count in counts.items()},
        "canary_hits": len(done.canaries) + done.canary_asked,
        "unsettled": len(done.unsettled),
        "left_open": done.left_open,
        "alive": done.alive,
        "peak_mib": done.peak_mib,
        "ok": done.alive and not (wrong or done.canaries or done.canary_asked or leaks),
    }


KINDS = {
    judge.HANG: "hangs",
    judge.TRUNCATED: "truncated_as_success",
    judge.WRONG: "wrong_class",
    judge.ASKED: "wrongly_asked",
    judge.LATE: "late",
}


def complaints(done: Run) -> list[str]:
    found = [f"{r.cell.name}: {line}" for r in done.results for line in r.wrong]
    found += [f"a secret is kept: {line}" for line in done.canaries]
    return found + [f"not settled: {line}" for line in done.unsettled]
