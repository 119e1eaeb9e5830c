"""Time-outs to connect, to the first content and between two pieces fall when they should.

Measured at the caller's socket (a stall from when the endpoint wrote its last word), in front of
endpoints that take no connection, that never answer, or that stop in the middle: how long after the
time that is set the caller hears of it, and that it is never before. Each trial has an endpoint of
its own, so that no breaker spares one.
"""

import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from prove.heard import HANGS_S, ask, heard
from prove.vendors import OPENAI
from servers.gateway import create_key, gateway
from servers.scripted import Gate, Scripted, Step, scripted, silent, stream

CONNECT_S, FIRST_TOKEN_S, STALL_S = 0.6, 1.0, 0.8
MOST_LATE_S = 0.25
SHORT_LATE_S = 5.0
"""The short form runs beside other tests, on machines that are busy."""
MOST_EARLY_S = 0.01
"""Between two clocks and two sockets."""
AT_ONCE = 5
KINDS = ("connect", "first_token", "stall")


def prove(short: bool) -> dict[str, object]:
    trials = 10 if short else 200
    late_s = _run(trials)
    worst_s = {kind: max(times) for kind, times in late_s.items()}
    early = sum(late < -MOST_EARLY_S for times in late_s.values() for late in times)
    allowed_s = SHORT_LATE_S if short else MOST_LATE_S
    return {
        "trials": sum(len(times) for times in late_s.values()),
        **{f"{kind}_late_ms": round(1000 * worst) for kind, worst in worst_s.items()},
        "early": early,
        "ok": not early and all(worst <= allowed_s for worst in worst_s.values()),
    }


def _run(trials: int) -> dict[str, list[float]]:
    with (
        tempfile.TemporaryDirectory(prefix="fairlead-timers-") as folder,
        scripted() as up,
        full() as nowhere,
    ):
        sent_s: dict[str, float] = {}
        config = _configuration(up, nowhere, trials, sent_s)
        key = create_key(Path(folder) / "data", "timers")
        with gateway(Path(folder), config, {"KEY": "no-key-of-anybody"}) as running:
            return asyncio.run(_all(running.address, key, trials, sent_s))


@contextmanager
def full() -> Iterator[str]:
    """An address where nobody takes connections: the queue of those that wait is full, and the
    system drops whoever comes, as a firewall does."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        place = listening.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(place)
        yield f"http://127.0.0.1:{place[1]}"
        for each in waiting:
            each.close()


class Stopping:
    """Says one word, when it did is noted, and then nothing more."""

    def __init__(self, sent_s: dict[str, float], name: str) -> None:
        self._sent_s = sent_s
        self._name = name

    def __iter__(self) -> Iterator[Step]:
        self._sent_s[self._name] = monotonic()
        yield from stream(*OPENAI.text.frames[: OPENAI.opening + 1])[:-1]
        yield Gate()


def _configuration(up: Scripted, nowhere: str, trials: int, sent_s: dict[str, float]) -> str:
    timeouts = {
        "connect": f"{CONNECT_S}s",
        "first_token": f"{FIRST_TOKEN_S}s",
        "stall": f"{STALL_S}s",
    }
    common = {"dialect": "openai_chat", "zone": "cloud", "timeouts": timeouts}
    common |= {"api_key": {"env": "KEY"}}
    providers = {
        "up": {"address": f"{up.address}/v1", **common},
        "nowhere": {"address": f"{nowhere}/v1", **common},
    }
    up.on("well", OPENAI.answer(True))
    models: dict[str, str] = {"well": "up"}
    routes: dict[str, object] = {}
    for kind in KINDS:
        for number in range(trials):
            name = f"{kind}-{number}"
            models[name] = "nowhere" if kind == "connect" else "up"
            up.on(name, silent() if kind == "first_token" else Stopping(sent_s, name))
            # A connection may be tried again where nobody else is left; and a text goes on.
            others = ["well"] if kind == "connect" else []
            routes[f"route-{name}"] = {"models": [name, *others], "rescue": False}
    server = {"discover": False}
    parts = {"server": server, "providers": providers, "models": models, "routes": routes}
    return json.dumps(parts)


async def _all(
    address: str, key: str, trials: int, sent_s: dict[str, float]
) -> dict[str, list[float]]:
    width = asyncio.Semaphore(AT_ONCE)

    async def one(kind: str, number: int) -> float:
        async with width:
            return await _trial(address, key, kind, number, sent_s)

    await ask(address, "openai", "well", "Hi", key, "stream", HANGS_S, lambda: None)
    late_s = {}
    for kind in KINDS:
        late_s[kind] = await asyncio.gather(*(one(kind, number) for number in range(trials)))
        print(f"timers: {kind} done", file=sys.stderr, flush=True)
    return late_s


async def _trial(address: str, key: str, kind: str, number: int, sent_s: dict[str, float]) -> float:
    """How much later than it should the caller heard of it."""
    began_s = monotonic()
    pieces_s: list[float] = []
    raw = await ask(
        *(address, "openai", f"route-{kind}-{number}", "Hi", key, "stream", HANGS_S),
        begun=lambda: pieces_s.append(monotonic()),
    )
    assert raw.in_time, f"{kind}: no end"
    found = heard("openai", raw)
    if kind == "connect":
        assert found.ends, f"{kind}: {raw.status} {raw.body[:200]!r}"
        return pieces_s[0] - began_s - CONNECT_S
    code = {"first_token": "upstream_timeout", "stall": "upstream_stream_broken"}[kind]
    assert found.error_code == code, f"{kind}: {raw.status} {raw.body[:200]!r}"
    if kind == "stall":
        return pieces_s[-1] - sent_s[f"{kind}-{number}"] - STALL_S
    return pieces_s[-1] - began_s - FIRST_TOKEN_S
