"""The first choice of a route goes down for a minute: everyone is served by the second, hardly
anyone asks the first, and soon after it is well again it has all its requests back.

It fails in four ways, one after the other: it answers 503, it says nothing at all, it breaks
connections off, it refuses them. All but the last stand in its own log. Of a refused connection no
upstream can have a record: those are counted by the gateway, and only they. Then it flaps: it is up
for seconds and down for seconds, again and again. Beside it a model that
no other stands in for is down all the time: how much more often than there are requests is it
asked? And a model that three endpoints serve, one quickly, one three times as slowly, one not at
all: who gets its requests?
"""

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from prove.bills import PRICE, Bill, answer
from servers.gateway import gateway
from servers.scripted import End, Gate, Script, Scripted, Seen, reply, silent
from servers.setup import Setup

DEAD_SHARE = 0.02
"""Attempts at the first for each request of an outage."""
LEAST_DEAD = 10
"""Five open a breaker, whatever the traffic, and others may be on their way. Only in the short
form are there too few requests for that to be within the share."""
BACK_S = 18.0
FLAPPING_SHARE = 0.02
"""Attempts that fail at it for each request while it flaps, up and down together."""
FLAPPING_BACK_S = 30.0
AMPLIFICATION = 1.1
REFUSED = re.compile(
    r'^fairlead_attempts_total{.*endpoint="at-first/first",failure="[a-z].*"} ([0-9]+)', re.M
)
GIVE_UP_S = 40.0
PATIENCE = {"timeouts": {"first_token": "5s"}}
TWINS_FIRST_S = {"quick": 0.25, "slow": 0.75, "dead": 0.0}
"""How long the first word of each takes; one answers 503."""
SLOW_SHARE, DEAD_TWIN_SHARE = 0.4, 0.02
ON_ITS_WAY_S = 0.25
"""A request that was asked so shortly before a change may meet either state."""


@dataclass(frozen=True)
class Form:
    per_s: float
    healthy_s: float
    settled_s: float
    """So long after the last answer of the second, nobody turns to it any more."""
    outages_s: dict[str, float]
    flap_s: float
    """So long it is up, and as long down."""
    flaps: int
    waits: bool = True
    """Until it has its requests again after that."""


LONG = Form(20.0, 10.0, 3.0, dict.fromkeys(("503", "silent", "cut", "refused"), 60.0), 5.0, 12)
SHORT = Form(30.0, 1.0, 0.7, {"503": 2.0}, 0.5, 2, waits=False)


@dataclass(frozen=True)
class Asked:
    """One request to the route, and who answered it: a word of theirs, or what went wrong."""

    at_s: float
    done_s: float
    by: str


@dataclass
class World:
    """The upstreams, and what befalls the first. The third is always down; then come the twins."""

    first: Scripted
    second: Scripted
    alone: Scripted
    twins: dict[str, Scripted]
    ill: str = ""
    begun_s: list[float] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    asked_alone: int = 0
    twins_failed: int = 0

    def script(self) -> None:
        self.first.on("first", self._first)
        self.alone.on("alone", reply({"error": {"message": "down"}}, status=503))
        self.second.on("second", lambda seen: _words("second", seen))
        for name, first_s in TWINS_FIRST_S.items():
            self.twins[name].on("twin", _Twin(first_s))

    def config(self, setup: Setup) -> str:
        for name in ("first", "second", "alone"):
            address = getattr(self, name).address
            setup.endpoint(name, address, "openai_chat", PATIENCE, price=PRICE)
        for name, up in self.twins.items():
            setup.endpoint(name, up.address, "openai_chat", price=PRICE)
        setup.route("both", "first", "second")
        whole = json.loads(setup.text())
        models = whole["models"]
        models["twin"] = [{**models[name], "as": "twin"} for name in self.twins]
        return json.dumps(whole)

    async def fall_ill(self, how: str) -> None:
        self.ill = how
        if how == "refused":
            self.first.go_down()

    async def recover(self) -> None:
        if self.ill == "refused":
            await self.first.come_up()
        self.ill = ""

    def _first(self, seen: Seen) -> Script:
        if self.ill == "503":
            return reply({"error": {"message": "down"}}, status=503)
        if self.ill == "silent":
            return silent()
        return (End.RESET,) if self.ill == "cut" else _words("first", seen)


@dataclass
class Callers:
    """Ask at a steady pace, whatever becomes of it: every other one wants a stream, as many again
    ask for the model that is alone, and half as many for the one with twins."""

    session: aiohttp.ClientSession
    address: str
    world: World
    per_s: float
    asking: set[asyncio.Task[None]] = field(default_factory=set)

    async def load(self) -> None:
        number, next_s = 0, monotonic()
        while True:
            number += 1
            self._start(self._route(number % 2 == 0))
            self._start(self._alone())
            if number % 2:
                self._start(self._twin())
            next_s += 1 / self.per_s
            await asyncio.sleep(max(0.0, next_s - monotonic()))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)

    async def _route(self, streams: bool) -> None:
        at_s = monotonic()
        self.world.begun_s.append(at_s)
        status, body = await self.ask("both", streams)
        by = next((name for name in ("first", "second") if name in body), f"status {status}")
        if status == 200 and streams and not body.endswith("data: [DONE]\n\n"):
            by = "a stream without an end"
        by = by if status == 200 else f"status {status}"
        self.world.asked.append(Asked(at_s, monotonic(), by))

    async def _alone(self) -> None:
        self.world.asked_alone += 1
        await self.ask("alone", False)

    async def _twin(self) -> None:
        status, body = await self.ask("twin", True)
        if status != 200 or not body.endswith("data: [DONE]\n\n"):
            self.world.twins_failed += 1

    async def ask(self, model: str, streams: bool) -> tuple[int, str]:
        messages = [{"role": "user", "content": "Say a word."}]
        body = {"model": model, "messages": messages, "stream": streams, "max_tokens": 16}
        try:
            async with self.session.post(f"{self.address}/v1/chat/completions", json=body) as got:
                return got.status, await got.text()
        except (aiohttp.ClientError, ConnectionError) as error:
            return 0, repr(error)


@dataclass(frozen=True)
class Outage:
    """What one outage came to."""

    before: int
    before_elsewhere: int
    requests: int
    served_elsewhere: int
    failed: int
    dead_attempts: int
    back_within_s: float
    all_back_within_s: float

    @property
    def is_ok(self) -> bool:
        allowed = max(DEAD_SHARE * self.requests, LEAST_DEAD)
        return (
            self.before > 0
            and self.before_elsewhere == 0
            and self.served_elsewhere == self.requests > 0
            and self.failed == 0
            and 0 < self.dead_attempts <= allowed
            and self.all_back_within_s <= BACK_S
        )

    def figures(self) -> dict[str, object]:
        return {
            "before_elsewhere": self.before_elsewhere,
            "requests": self.requests,
            "served_elsewhere": self.served_elsewhere,
            "failed": self.failed,
            "dead_attempts": self.dead_attempts,
            "dead_attempts_per_request": round(self.dead_attempts / max(self.requests, 1), 4),
            "back_within_s": round(self.back_within_s, 2),
            "all_back_within_s": round(self.all_back_within_s, 2),
        }


@dataclass(frozen=True)
class Flapping:
    """What it came to that the first was up and down, again and again."""

    requests: int
    while_down: int
    failed: int
    served_by_first: int
    failed_attempts: int
    back_within_s: float | None
    """Until it had all its requests again, once it was well; None where nobody waited for that."""

    @property
    def share(self) -> float:
        return self.failed_attempts / max(self.requests, 1)

    @property
    def is_ok(self) -> bool:
        return (
            self.requests > 0
            and self.failed == 0
            and self.served_by_first > 0
            and 0 < self.failed_attempts <= max(FLAPPING_SHARE * self.requests, LEAST_DEAD)
            and (self.back_within_s or 0.0) <= FLAPPING_BACK_S
        )

    def figures(self) -> dict[str, object]:
        back_s = self.back_within_s
        return {
            "requests": self.requests,
            "failed": self.failed,
            "served_by_first": self.served_by_first,
            "failed_attempts": self.failed_attempts,
            "failed_attempts_per_request": round(self.share, 4),
            "per_request_while_down": round(self.failed_attempts / max(self.while_down, 1), 4),
            "back_within_s": None if back_s is None else round(back_s, 2),
        }


def prove(short: bool) -> dict[str, object]:
    return asyncio.run(_prove(SHORT if short else LONG))


async def _prove(form: Form) -> dict[str, object]:
    async with AsyncExitStack() as serving:
        first, second, alone, *twins = [
            await serving.enter_async_context(Scripted()) for _ in range(3 + len(TWINS_FIRST_S))
        ]
        world = World(first, second, alone, dict(zip(TWINS_FIRST_S, twins, strict=True)))
        world.script()
        setup = Setup()
        config = world.config(setup)
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            started = gateway(Path(folder), config, setup.secrets)
            running = await asyncio.to_thread(stack.enter_context, started)
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                callers = Callers(session, running.address, world, form.per_s)
                await asyncio.gather(*(callers.ask("both", True) for _ in range(10)))
                load = asyncio.create_task(callers.load())
                outages = {
                    how: await _outage(how, form, lasts_s, callers)
                    for how, lasts_s in form.outages_s.items()
                }
                flapping = await _flapping(form, callers)
                load.cancel()
                await asyncio.gather(*callers.asking)
            await asyncio.to_thread(stack.close)
    return _figures(outages, flapping, world)


async def _outage(how: str, form: Form, lasts_s: float, callers: Callers) -> Outage:
    world = callers.world
    _progress(f"{how}: well for {form.healthy_s:.0f} s, down for {lasts_s:.0f} s")
    began_s, already = monotonic(), len(world.asked)
    await asyncio.sleep(form.healthy_s)
    refused = await _refused(callers)
    await world.fall_ill(how)
    ill_s = monotonic()
    await asyncio.sleep(lasts_s)
    await world.recover()
    well_s, waiting = monotonic(), tuple(callers.asking)
    refused = (await _refused(callers) - refused) if how == "refused" else 0
    await _until_all_are_back(world, well_s, form.settled_s)
    _progress(f"{how}: back after {monotonic() - well_s - form.settled_s:.1f} s")
    await asyncio.gather(*waiting)
    before = [one.by for one in world.asked if began_s <= one.at_s and one.done_s < ill_s]
    during = [one.by for one in world.asked if ill_s <= one.at_s < well_s - ON_ITS_WAY_S]
    after = [one for one in world.asked if one.at_s >= well_s]
    seen = world.first.asked("first")
    logged = [one for one in seen if ill_s <= one.at_s < well_s]
    back_s = [one.at_s for one in seen if one.at_s >= well_s]
    last_elsewhere_s = max([one.at_s for one in after if one.by == "second"], default=well_s)
    return Outage(
        before=len(before),
        before_elsewhere=len(before) - before.count("first"),
        requests=sum(ill_s <= at_s < well_s - ON_ITS_WAY_S for at_s in world.begun_s),
        served_elsewhere=during.count("second"),
        failed=sum(one.by not in ("first", "second") for one in world.asked[already:]),
        dead_attempts=refused or len(logged),
        back_within_s=min(back_s, default=monotonic()) - well_s,
        all_back_within_s=last_elsewhere_s - well_s,
    )


async def _flapping(form: Form, callers: Callers) -> Flapping:
    world, already, began_s = callers.world, len(callers.world.asked), monotonic()
    _progress(f"flapping: {form.flaps} times {form.flap_s} s up, {form.flap_s} s down")
    attempts = while_down = 0
    for _ in range(form.flaps):
        await asyncio.sleep(form.flap_s)
        await world.fall_ill("503")
        ill_s = monotonic()
        await asyncio.sleep(form.flap_s)
        await world.recover()
        seen = world.first.asked("first")
        attempts += sum(ill_s <= one.at_s < monotonic() for one in seen)
        while_down += sum(ill_s <= at_s for at_s in world.begun_s)
    well_s, waiting = monotonic(), tuple(callers.asking)
    if form.waits:
        await _until_all_are_back(world, well_s, form.settled_s)
    await asyncio.gather(*waiting)
    asked = world.asked[already:]
    elsewhere_s = [one.at_s for one in asked if one.at_s >= well_s and one.by == "second"]
    return Flapping(
        requests=sum(began_s <= at_s < well_s for at_s in world.begun_s),
        while_down=while_down,
        failed=sum(one.by not in ("first", "second") for one in asked),
        served_by_first=sum(one.by == "first" and one.at_s < well_s for one in asked),
        failed_attempts=attempts,
        back_within_s=max(elsewhere_s, default=well_s) - well_s if form.waits else None,
    )


async def _until_all_are_back(world: World, well_s: float, settled_s: float) -> None:
    """Until nobody has been answered by the second for a while; or it is clear that it fails."""
    while monotonic() < well_s + GIVE_UP_S:
        recent = [one for one in world.asked[-500:] if one.at_s > monotonic() - settled_s]
        if monotonic() > well_s + settled_s and recent and all(x.by == "first" for x in recent):
            return
        await asyncio.sleep(0.1)


async def _refused(callers: Callers) -> int:
    """Attempts at the first that failed so far, by the gateway's account."""
    async with callers.session.get(f"{callers.address}/metrics") as got:
        return sum(int(count) for count in REFUSED.findall(await got.text()))


def _words(name: str, seen: Seen) -> Script:
    return answer("openai_chat", bool(seen.json.get("stream")), [name], Bill(plain=5, text=1))


def _progress(line: str) -> None:
    print(f"outage: {line}", file=sys.stderr, flush=True)


class _Twin:
    """Answers by a stream whose first word takes its time, or 503 where it takes none."""

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s

    def __call__(self, seen: Seen) -> Script:
        if not self._first_s:
            return reply({"error": {"message": "down"}}, status=503)
        gate = Gate()
        asyncio.get_running_loop().call_later(self._first_s, gate.open)
        return answer("openai_chat", True, ["word"], Bill(plain=5, text=1), [gate])


def _figures(outages: dict[str, Outage], flapping: Flapping, world: World) -> dict[str, object]:
    """Sums, and the worst of each; then each outage by itself."""
    of: Sequence[Outage] = list(outages.values())
    amplification = len(world.alone.seen) / world.asked_alone
    counts = {name: len(up.seen) for name, up in world.twins.items()}
    whole = sum(counts.values())
    slow_share, dead_share = counts["slow"] / whole, counts["dead"] / whole
    are_fair = 0 < slow_share <= SLOW_SHARE
    are_fair &= counts["dead"] <= max(DEAD_TWIN_SHARE * whole, LEAST_DEAD)
    return {
        "requests": sum(one.requests for one in of),
        "served_elsewhere": sum(one.served_elsewhere for one in of),
        "failed": sum(one.failed for one in of),
        "dead_attempts_per_request": round(
            sum(one.dead_attempts for one in of) / max(sum(one.requests for one in of), 1), 4
        ),
        "back_within_s": round(max(one.back_within_s for one in of), 2),
        "all_back_within_s": round(max(one.all_back_within_s for one in of), 2),
        "flapping_attempts_per_request": round(flapping.share, 4),
        "amplification_alone": round(amplification, 3),
        "twin_slow_share": round(slow_share, 3),
        "twin_dead_share": round(dead_share, 4),
        "twins_failed": world.twins_failed,
        **{how: one.figures() for how, one in outages.items()},
        "flapping": flapping.figures(),
        "ok": all(one.is_ok for one in of)
        and flapping.is_ok
        and 0.9 < amplification <= AMPLIFICATION
        and are_fair
        and world.twins_failed == 0,
    }
