"""Three times as much as the gateway can serve: it goes on serving as much as it can, and soon,
tells the rest at once when to come again, and is itself again afterwards.

Twice, for a gateway is full in two ways. Of *places*: its endpoint is slow, and no more requests
may be served at once. Of *work*: long conversations keep its core busy all the time. What it can
serve is measured first, by callers who wait for each other; then others come who do not. Meanwhile
streams run that began before, and each of their events is counted.
"""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic

import uvloop

from prove.processes import Watched, cpu_s, pin, pinned_here
from prove.streams import Streams
from prove.traffic import Callers, Heard, Upstream, request, serving
from servers.gateway import Gateway, gateway
from servers.setup import Setup

SEED = 5
TIMES = 3.0
PEAK_SHARE = 0.9
SLOWER = 2.0
RECOVER_S = 5.0
GROWTH_MB = 100.0
QUIET = 0.5
"""Of the peak, before and after."""


@dataclass(frozen=True)
class Kind:
    delay_s: float
    """Of the endpoint."""
    messages: int
    limits: Mapping[str, int]
    at_once: Sequence[int]
    """So many callers in turn are tried, to find the peak."""
    connections: int


KINDS = {
    "places": Kind(0.1, 1, {"max_in_flight": 20}, (20,), 400),
    "work": Kind(0.0, 800, {}, (4, 16), 1500),
}


@dataclass(frozen=True)
class Length:
    peak_s: float
    before_s: float
    over_s: float
    after_s: float
    streams: int
    until_shed_s: float = 0.0


# A core that others have takes its time to see that it is overloaded.
SHORT = Length(0.5, 0.5, 1.5, 1.0, 10, until_shed_s=10.0)
LONG = Length(6.0, 20.0, 60.0, 10.0, 300)


@dataclass(frozen=True)
class Run:
    peak_rps: float
    peak_per_cpu_s: float
    over_per_cpu_s: float
    before: Heard
    over: Heard
    after: Heard
    quiet: Heard
    before_s: float
    over_s: float
    end_s: float
    growth_mb: float


async def _run(kind: Kind, length: Length, running: Gateway, callers: Callers) -> Run:
    pid, peak_rps, per_cpu_s = running.process.pid, 0.0, 0.0
    for count in kind.at_once:
        spent_s = cpu_s(pid)
        heard = await callers.in_turn(count, length.peak_s)
        served = len(heard.served)
        peak_rps = max(peak_rps, served / length.peak_s)
        per_cpu_s = max(per_cpu_s, served / max(cpu_s(pid) - spent_s, 0.01))
    quiet = await callers.at_will(QUIET * peak_rps, length.before_s)
    before_began_s = monotonic()
    before = await callers.at_will(peak_rps, length.before_s)
    before_s = monotonic() - before_began_s
    await callers.at_will(QUIET * peak_rps, length.after_s / 2)
    watched, spent_s = Watched(pid), cpu_s(pid)
    watching = asyncio.ensure_future(watched.watch())
    began_s = monotonic()
    over = await callers.at_will(TIMES * peak_rps, length.over_s, length.until_shed_s)
    end_s, over_per_cpu_s = monotonic(), len(over.served) / max(cpu_s(pid) - spent_s, 0.01)
    after = await callers.at_will(QUIET * peak_rps, length.after_s)
    watching.cancel()
    return Run(
        *(peak_rps, per_cpu_s, over_per_cpu_s, before, over, after, quiet),
        before_s=before_s,
        over_s=end_s - began_s,
        end_s=end_s,
        growth_mb=watched.growth_mb,
    )


def _recovered_s(run: Run) -> float:
    """Until the first second in which nobody was shed, and half were served as soon as before."""
    usual_ms = run.quiet.slowest_ms(0.5)
    last_s = max((at_s for at_s, _ in run.after.served), default=run.end_s)
    second = 0
    while run.end_s + second < last_s:
        begin_s, end_s = run.end_s + second, run.end_s + second + 1
        served = [one for one in run.after.served if begin_s <= one[0] < end_s]
        shed = [one for one in run.after.shed if begin_s <= one[0] < end_s]
        if served and not shed and run.after.slowest_ms(0.5, served) <= SLOWER * usual_ms:
            return float(second)
        second += 1
    return float(second)


def _figures(run: Run) -> dict[str, object]:
    rps, before_rps = len(run.over.served) / run.over_s, len(run.before.served) / run.before_s
    baseline_ms, admitted_ms = run.before.slowest_ms(0.99), run.over.slowest_ms(0.99)
    everything = (run.before, run.over, run.after, run.quiet)
    failed = sum((one.other for one in everything), Counter[int]())
    return {
        "peak_rps": round(run.peak_rps),
        "goodput_rps": round(rps),
        "goodput_share": round(rps / run.peak_rps, 3),
        "goodput_share_of_once": round(rps / before_rps, 3),
        "goodput_per_cpu_share": round(run.over_per_cpu_s / run.peak_per_cpu_s, 3),
        "p99_at_peak_ms": baseline_ms,
        "p99_admitted_ms": admitted_ms,
        "p99_admitted_ratio": round(admitted_ms / baseline_ms, 2) if baseline_ms else 0.0,
        "shed": len(run.over.shed),
        "shed_p99_ms": run.over.slowest_ms(0.99, run.over.shed),
        "shed_without_retry_after": sum(one.shed_without_retry_after for one in everything),
        "failed": failed.total(),
        "failed_with": sorted(failed),
        "recovered_within_s": _recovered_s(run),
        "rss_growth_mb": run.growth_mb,
    }


def _is_exact(found: Mapping[str, object]) -> bool:
    """What holds on any machine, however busy."""
    return (
        found["shed"] != 0
        and found["shed_without_retry_after"] == 0
        and found["failed"] == 0
        and found["events_wrong"] == 0
    )


def _is_fast(found: Mapping[str, float]) -> bool:
    return (
        found["goodput_share"] >= PEAK_SHARE
        and found["p99_admitted_ratio"] <= SLOWER
        and found["recovered_within_s"] <= RECOVER_S
        and found["rss_growth_mb"] <= GROWTH_MB
    )


async def _one(name: str, length: Length, folder: Path) -> dict[str, object]:
    kind = KINDS[name]
    upstream, streams = Upstream(kind.delay_s), Streams()
    servers = [await upstream.start(), await streams.start()]
    setup = Setup().endpoint("m", upstream.address, "openai_chat")
    setup.endpoint("numbers", streams.address, "openai_chat")
    # The streams have places of their own.
    limits = {what: most + length.streams for what, most in kind.limits.items()}
    messages = [{"role": "user", "content": "How are you today?"}] * kind.messages
    async with serving(gateway(folder, setup.text(limits=limits), setup.secrets)) as running:
        pin(running.process.pid, 0)
        port = int(running.address.rpartition(":")[2])
        callers = Callers(port, request("m", messages), Random(SEED))
        await callers.connect(kind.connections)
        await streams.begin(port, length.streams)
        run = await _run(kind, length, running, callers)
        events, wrong = await streams.end()
    for server in servers:
        server.close()
    found = {**_figures(run), "streams": length.streams, "events": events, "events_wrong": wrong}
    print(f"overload, {name}: {found}", file=sys.stderr, flush=True)
    return found


def prove(short: bool) -> dict[str, object]:
    """In the short form only what does not depend on speed decides."""
    length = SHORT if short else LONG
    found: dict[str, dict[str, object]] = {}
    for name in KINDS:
        with tempfile.TemporaryDirectory() as folder, pinned_here(1):
            found[name] = uvloop.run(_one(name, length, Path(folder)))
    exact = all(map(_is_exact, found.values()))
    fast = short or all(_is_fast(each) for each in found.values())  # type: ignore[arg-type]
    places = {f"places_{name}": value for name, value in found["places"].items()}
    return {**found["work"], **places, "ok": exact and fast}
