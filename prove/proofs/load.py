"""What one process carries all the time: a thousand streams at once, and six hundred requests in a
second with key, budget and ledger, and how much later they are than without a gateway.

Goal R7 of the reliability notes. Both are asked through the gateway and at the endpoint itself, in
turn and in the same way, so that the machine and the callers are in both figures. Requests come at
random times, and what one takes is counted from when it was meant to be sent.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import uvloop

from prove.bills import PATIENT, PRICE
from prove.processes import cpu_s, pin, pinned_here
from prove.streams import Streams
from prove.traffic import Callers, Heard, Upstream, request, serving
from servers.gateway import Gateway, create_key, gateway
from servers.setup import Setup

SEED = 7
EVERY_S = 0.2
ADDED_FIRST_MS, ADDED_MS = 25.0, 15.0
MESSAGES = [{"role": "user", "content": "How are you today?"}]
CONNECTIONS = 200


@dataclass(frozen=True)
class Length:
    streams: int
    gap_s: float
    """Between the beginnings of two."""
    runs_s: float
    per_s: float
    asks_s: float
    limits: Mapping[str, str]


SHORT = Length(20, 0.01, 0.5, 100.0, 1.0, PATIENT)
LONG = Length(1000, 0.01, 120.0, 600.0, 120.0, {})
ALONE_S = 30.0
"""No longer at the endpoint itself."""


@dataclass(frozen=True)
class Read:
    """What those heard who read streams."""

    first_ms: float
    """Until the first number, the 99th percentile."""
    events: int
    wrong: int
    cpu_share: float
    """Of one core, that the gateway used while all of them ran."""


def prove(short: bool) -> dict[str, object]:
    """In the short form only what does not depend on speed decides."""
    with tempfile.TemporaryDirectory() as folder, pinned_here(1):
        found = uvloop.run(_found(SHORT if short else LONG, Path(folder)))
    exact = not any(found[name] for name in ("events_wrong", "shed", "failed"))
    soon = found["added_first_p99_ms"] <= ADDED_FIRST_MS and found["added_p99_ms"] <= ADDED_MS
    return {**found, "ok": exact and (short or soon)}


async def _found(length: Length, folder: Path) -> dict[str, float]:
    through, direct, upstream = Streams(EVERY_S), Streams(EVERY_S), Upstream()
    servers = [await one.start() for one in (through, direct, upstream)]
    setup = Setup().endpoint("m", upstream.address, "openai_chat", price=PRICE)
    setup.endpoint("numbers", through.address, "openai_chat", price=PRICE)
    key = create_key(folder / "data", "load", "--budget-day", "1000")
    async with serving(gateway(folder, setup.text(limits=length.limits), setup.secrets)) as running:
        pin(running.process.pid, 0)
        port = _port(running.address)
        alone = await _read(direct, _port(direct.address), "", replace(length, runs_s=0.1), running)
        led = await _read(through, port, key, length, running)
        briefly = replace(length, asks_s=min(length.asks_s, ALONE_S))
        asked_alone = await _ask(_port(upstream.address), "", briefly)
        spent_s = cpu_s(running.process.pid)
        asked = await _ask(port, key, length)
        spent_s = cpu_s(running.process.pid) - spent_s
    for server in servers:
        server.close()
    p99_ms, alone_ms = asked.slowest_ms(0.99), asked_alone.slowest_ms(0.99)
    return {
        "streams": length.streams,
        "events": led.events,
        "events_wrong": led.wrong,
        "first_p99_ms": led.first_ms,
        "added_first_p99_ms": round(led.first_ms - alone.first_ms, 1),
        "streams_core_share": round(led.cpu_share, 2),
        "requests": len(asked.served),
        "requests_per_s": round(len(asked.served) / length.asks_s),
        "p50_ms": asked.slowest_ms(0.5),
        "p99_ms": p99_ms,
        "added_p99_ms": round(p99_ms - alone_ms, 1),
        "requests_core_share": round(spent_s / length.asks_s, 2),
        "shed": len(asked.shed),
        "failed": sum(asked.other.values()),
    }


async def _read(streams: Streams, port: int, key: str, length: Length, running: Gateway) -> Read:
    loop, pid = asyncio.get_running_loop(), running.process.pid
    await streams.begin(port, length.streams, key, length.gap_s)
    spent_s, began_s = cpu_s(pid), loop.time()
    await asyncio.sleep(length.runs_s)
    share = (cpu_s(pid) - spent_s) / (loop.time() - began_s)
    events, wrong = await streams.end()
    times_s = sorted(streams.first_s)
    first_ms = round(times_s[int(len(times_s) * 0.99)] * 1000, 1)
    print(f"load: {events} events, {wrong} wrong", file=sys.stderr, flush=True)
    return Read(first_ms, events, wrong, share)


async def _ask(port: int, key: str, length: Length) -> Heard:
    callers = Callers(port, request("m", MESSAGES, key), Random(SEED))
    await callers.connect(CONNECTIONS)
    heard = await callers.at_will(length.per_s, length.asks_s)
    await callers.close()
    print(f"load: {len(heard.served)} requests", file=sys.stderr, flush=True)
    return heard


def _port(address: str) -> int:
    return urlsplit(address).port or 0
