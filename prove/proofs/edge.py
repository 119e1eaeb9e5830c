"""Clients who are slow, hostile or both: none is served what it must not be, none is held for
longer than its limit, and who behaves does not notice.

Callers who behave are timed alone, and then beside hundreds who hold connections as long as they
can: silent, with half a head or body, byte by byte, or not reading a stream that has no end. Then
every message that is not HTTP, or two kinds of it at once, is sent whole and cut at random bytes.
In or behind each lies a request that the endpoint must never see: its own log says so. At last come
requests that are HTTP, to a gateway with keys whose endpoints never fail. Every refusal has to say
what it is, which request it is of and whether to come again, in the dialect that was spoken.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

import uvloop

from prove.processes import Watched, pin, pinned_here
from prove.refused import answers, tortured
from prove.slow import Endless, Slow, kinds
from prove.traffic import Callers, Upstream, request, serving
from servers.gateway import Gateway, gateway
from servers.hostile import CASES, Case, smuggling
from servers.setup import Setup

SEED = 11
SLOWER = 2.0
GROWTH_MB = 160.0
"""Of which 64 are what is kept of answers while they stream, to go on with them."""
PER_S = 50.0
"""Requests of callers who behave."""
AT_ONCE = 16
PATIENCE_S = 20.0
DEFAULTS = {"header_timeout_s": 10.0, "body_idle_s": 15.0, "write_idle_s": 30.0}
QUICK = {"header_timeout_s": 2.0, "body_idle_s": 1.0, "write_idle_s": 0.5}
GRACE_S = 10.0
"""Then a body must come at a kilobyte a second; this is no key of the configuration."""


@dataclass(frozen=True)
class Length:
    alone_s: float
    attack_s: float
    slow: int
    hostile: int
    """Messages cut at random, beside those that are sent whole."""
    limits: dict[str, float]
    grace_s: float | None = None
    endless_s: float = 0.0
    """Between two pieces of a stream without end."""
    share: float = 0.02
    """Of all that can be wrong in a request that is HTTP."""
    damaged: int = 100
    """Such requests that are damaged at random."""


SHORT = Length(1.0, 0.5, 60, 200, QUICK)
LONG = Length(30.0, 60.0, 500, 20_000, DEFAULTS, GRACE_S, 0.1, share=0.6, damaged=10_000)


@dataclass
class Hostile:
    """What became of messages that are to be refused."""

    sent: int = 0
    accepted_wrongly: int = 0
    answered_wrongly: int = 0
    """Whole ones that got other answers than the table says."""
    ours: int = 0
    """Answers of 500 and more."""
    silent: int = 0
    """Neither answered nor closed."""
    refused: int = 0
    """Refusals that came whole."""
    incomplete: int = 0
    """Of these, how many lack what each must have."""
    which: set[str] = field(default_factory=set)


def _cases() -> Iterator[tuple[str, Case]]:
    yield from CASES.items()
    for number, case in enumerate(smuggling()):
        yield f"disguise {number}", case


def _cut(dice: Random) -> Iterator[tuple[str, Case]]:
    """The same, in two or three pieces."""
    known = list(_cases())
    while True:
        name, case = dice.choice(known)
        data = b"".join(case.pieces)
        places = sorted(dice.sample(range(1, len(data)), dice.randint(1, 2)))
        pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
        yield name, Case(tuple(pieces), case.statuses)


async def _say(port: int, pieces: Sequence[bytes]) -> bytes | None:
    """All that comes back until the gateway closes. None: it does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with closing(writer), suppress(ConnectionError):
        for piece in pieces:
            if writer.transport.is_closing():
                break
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)  # else the kernel joins them
        try:
            async with asyncio.timeout(PATIENCE_S):
                while data := await reader.read(65_536):
                    answer += data
        except TimeoutError:
            return None
    return answer


async def _hostile(port: int, cases: Iterable[tuple[str, Case]], whole: bool) -> Hostile:
    found, waiting = Hostile(), iter(cases)

    async def one() -> None:
        for name, case in waiting:
            answer = await _say(port, case.pieces)
            statuses = [int(part[2:5]) for part in (answer or b"").split(b"HTTP/1.")[1:]]
            refusals = [one for one in answers(answer or b"") if one.ended and one.status >= 400]
            incomplete = sum(bool(one.lacks) or not one.is_in(False) for one in refusals)
            found.refused += len(refusals)
            found.incomplete += incomplete
            found.sent += 1
            found.silent += answer is None
            found.ours += any(status >= 500 for status in statuses)
            # Cut, the answer may be lost in the reset that follows it: fewer is no more.
            wrong = whole and tuple(statuses) != case.statuses
            accepted = statuses.count(200) > case.statuses.count(200)
            found.answered_wrongly += wrong
            found.accepted_wrongly += accepted
            if wrong or accepted or incomplete or answer is None:
                found.which.add(name)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return found


async def _measure(
    length: Length, running: Gateway, upstream: Upstream, endless: Endless
) -> dict[str, object]:
    port = int(running.address.rpartition(":")[2])
    ask = request("a", [{"role": "user", "content": "Hello."}])
    callers = Callers(port, ask, Random(SEED))
    await callers.connect(20)
    await callers.at_will(PER_S, length.alone_s / 2)  # warm
    alone = await callers.at_will(PER_S, length.alone_s)
    watched = Watched(running.process.pid)
    watching = asyncio.ensure_future(watched.watch())
    slow = Slow(port, kinds(length.limits, length.grace_s), PATIENCE_S / 4)
    attack = asyncio.ensure_future(slow.attack(length.slow, length.attack_s))
    beside = await callers.at_will(PER_S, length.attack_s)
    await attack
    beside_mb = watched.growth_mb
    print(f"edge: slow {dict(slow.came)}, held {slow.held_s}", file=sys.stderr, flush=True)
    whole = await _hostile(port, _cases(), whole=True)
    cut = await _hostile(port, islice(_cut(Random(SEED)), length.hostile), whole=False)
    watching.cancel()
    print(f"edge: MB {beside_mb} with slow, {watched.growth_mb} after all", file=sys.stderr)
    if which := sorted(whole.which | cut.which):
        print(f"edge: not as they should be: {which}", file=sys.stderr, flush=True)
    alone_ms, beside_ms = alone.slowest_ms(0.99), beside.slowest_ms(0.99)
    return {
        "hostile_requests": whole.sent + cut.sent,
        "accepted_wrongly": whole.accepted_wrongly + cut.accepted_wrongly,
        "answered_wrongly": whole.answered_wrongly,
        "our_errors": whole.ours + cut.ours,
        "smuggled": upstream.models["smuggled"],
        "slow_clients": slow.came.total(),
        "all_closed_in_time": not slow.late.total() and slow.closed == slow.came,
        "left_open": whole.silent + cut.silent,
        "refused": whole.refused + cut.refused,
        "incomplete": whole.incomplete + cut.incomplete,
        "p99_alone_ms": alone_ms,
        "p99_ms": beside_ms,
        "p99_ratio": round(beside_ms / alone_ms, 2),
        "failed": len(beside.shed) + sum(beside.other.values()),
        "most_for_no_reader_mb": round(max(endless.spoken, default=0) / 1e6, 1),
        "rss_growth_mb": watched.growth_mb,
    }


async def _run(length: Length, folder: Path) -> dict[str, object]:
    upstream, endless = Upstream(), Endless(length.endless_s)
    servers = [await upstream.start(), await endless.start()]
    setup = Setup().endpoint("a", upstream.address, "openai_chat")
    setup.endpoint("smuggled", upstream.address, "openai_chat")
    setup.endpoint("m", upstream.address, "openai_chat")
    setup.endpoint("endless", endless.address, "openai_chat")
    limits = {
        name.removesuffix("_s"): f"{seconds * 1000:.0f}ms"
        for name, seconds in length.limits.items()
    }
    text = setup.text(limits=limits if length.limits is QUICK else {})
    async with serving(gateway(folder, text, setup.secrets)) as running:
        pin(running.process.pid, 0)
        found = await _measure(length, running, upstream, endless)
    for server in servers:
        server.close()
    return found


def _with_torture(found: dict[str, object], length: Length, folder: Path) -> dict[str, object]:
    """The same figures, with those of the requests that are HTTP."""
    refused = tortured(folder, length.share, length.damaged)
    for trouble, asked in refused.which.items():
        print(f"edge: {trouble}: {asked}"[:2000], file=sys.stderr, flush=True)
    more = {
        "hostile_requests": refused.sent,
        "our_errors": refused.ours,
        "refused": sum(n for status, n in refused.statuses.items() if status >= 400),
        "incomplete": refused.incomplete.total(),
    }
    added = {name: count + int(str(found[name])) for name, count in more.items()}
    return {
        **{name: added.get(name, figure) for name, figure in found.items()},
        "unanswered": refused.unanswered,
        "let_in": refused.let_in,
        "injected": refused.injected,
        "sound_refused": refused.sound_refused,
    }


def prove(short: bool) -> dict[str, object]:
    """In the short form only what does not depend on speed decides."""
    length = SHORT if short else LONG
    with tempfile.TemporaryDirectory() as folder, pinned_here(1):
        found = uvloop.run(_run(length, Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        found = _with_torture(found, length, Path(folder))
    none = (
        *("accepted_wrongly", "answered_wrongly", "our_errors", "smuggled", "left_open", "failed"),
        *("incomplete", "unanswered", "let_in", "injected", "sound_refused"),
    )
    exact = found["all_closed_in_time"] and not any(found[name] for name in none)
    ratio, growth_mb = found["p99_ratio"], found["rss_growth_mb"]
    assert isinstance(ratio, float)
    assert isinstance(growth_mb, float)
    return {**found, "ok": bool(exact and growth_mb <= GROWTH_MB and (short or ratio <= SLOWER))}
