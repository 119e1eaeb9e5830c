"""Walks through the story: each step asked through the gateway, each answer put on record."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from string import Template
from time import monotonic
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from fairlead.cli.demo.clients import ERRORS, Asking, Clients, Said, ToolUse
from fairlead.cli.demo.noise import server_log
from fairlead.cli.demo.result import Done
from fairlead.cli.demo.story import STEPS, Step, Twist
from fairlead.outside.journal import Entry, Journal
from fairlead.outside.simulated.providers import SimulatedProviders
from fairlead.types.errors import NotFound

LOG_CHARACTERS = 600_000
"""About 150,000 tokens."""
RECORD_LOOKS, RECORD_LOOK_S = 400, 0.005


class Running(Struct, frozen=True):
    """A gateway that serves, and its record."""

    address: str
    """Such as ``http://127.0.0.1:41873``."""
    journal: Journal


class Show(Protocol):
    """Who watches the walk."""

    def twist(self, twist: Twist) -> None: ...

    def began(self, number: int, step: Step) -> None: ...

    def done(self, done: Done) -> None: ...


class Walk:
    def __init__(self, running: Running, providers: SimulatedProviders, show: Show) -> None:
        self._running = running
        self._providers = providers
        self._show = show
        self._zones = {each.name: each.zone for each in providers.endpoints()}
        self._notes = {"server_log": server_log(LOG_CHARACTERS)}
        self._tool_uses: dict[str, tuple[str, ToolUse]] = {}

    async def all(self) -> list[Done]:
        done: list[Done] = []
        async with Clients(self._running.address) as clients:
            for number, step in enumerate(STEPS, 1):
                if step.before is not None:
                    self._turn(_resolved(step.before, done))
                self._show.began(number, step)
                done.append(await self._one(number, step, clients))
                self._show.done(done[-1])
        return done

    def _turn(self, twist: Twist) -> None:
        if twist.fault is None:
            self._providers.heal(twist.provider, twist.model)
        else:
            self._providers.fail(twist.provider, twist.fault, twist.model)
        self._show.twist(twist)

    async def _one(self, number: int, step: Step, clients: Clients) -> Done:
        prompt = Template(step.prompt).safe_substitute(self._notes)
        asking = Asking(step, prompt, self._tool_uses.get(step.continues))
        began_s = monotonic()
        try:
            said = await clients.ask(asking)
        except ERRORS as error:
            elapsed_ms = (monotonic() - began_s) * 1000
            return Done(number, step.title, latency_ms=elapsed_ms, error=str(error))
        elapsed_ms = (monotonic() - began_s) * 1000
        self._note(step, prompt, said)
        record = await _on_record(self._running.journal, said.headers["x-fairlead-request-id"])
        endpoint = said.headers["x-fairlead-endpoint"]
        return Done(
            number,
            step.title,
            task=record.task,
            model=said.headers["x-fairlead-model"],
            endpoint=endpoint,
            zone=self._zones.get(endpoint, "unknown"),
            attempts=int(said.headers["x-fairlead-attempts"]),
            cost_nano_usd=record.cost_nano,
            flagship_nano_usd=record.baseline_nano,
            latency_ms=elapsed_ms,
            why=said.headers["x-fairlead-reason"],
            failed=tuple((tried.endpoint, tried.failure) for tried in record.attempted[:-1]),
            home=step.zone,
        )

    def _note(self, step: Step, prompt: str, said: Said) -> None:
        self._notes[step.name] = said.text
        if said.tool_use is not None:
            self._tool_uses[step.name] = (prompt, said.tool_use)


def _resolved(twist: Twist, done: Sequence[Done]) -> Twist:
    """A twist that says whom it happens to."""
    provider, model = twist.provider, twist.model
    if twist.follows and done[-1].endpoint:
        provider, _, model = done[-1].endpoint.partition("/")
    title = Template(twist.title).safe_substitute(model=model)
    return replace(twist, title=title, provider=provider, model=model)


async def _on_record(journal: Journal, request_id: str) -> Entry:
    """The journal is written in groups, so an entry may follow the answer by a moment. Raises
    NotFound when none does."""
    for _ in range(RECORD_LOOKS):
        with suppress(NotFound):
            return await asyncio.to_thread(journal.find, request_id)
        await asyncio.sleep(RECORD_LOOK_S)
    return await asyncio.to_thread(journal.find, request_id)
