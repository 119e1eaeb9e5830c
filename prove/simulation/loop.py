"""An event loop without a world: time passes only when nothing is left to do, at once.

A seed decides what a real loop leaves open: how late each timer fires, and so which of two that
are due together comes first; and how long a round of callbacks takes. What asyncio promises is
kept: callbacks run in the order in which they were handed over, and no timer fires early.
"""

import asyncio
from asyncio import BaseEventLoop
from collections.abc import Callable
from contextvars import Context
from random import Random
from typing import Any

from prove.simulation.wire import Site


class Stuck(Exception):
    """Tasks wait, and nothing will ever wake or end them."""


class Nothing:
    """In a selector's place: no socket is ever ready, so waiting is only the passing of time."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        self._loop.pass_time(timeout)
        return []


class VirtualLoop(BaseEventLoop):
    """``now_s`` goes on from where another loop stopped. ``late_s`` is how late a timer fires at
    most, ``round_s`` how long a round of callbacks takes at most."""

    def __init__(
        self, dice: Random, now_s: float = 0.0, late_s: float = 0.0, round_s: float = 0.0
    ) -> None:
        super().__init__()
        self._now_s = now_s
        self._dice = dice
        self._late_s = late_s
        self._round_s = round_s
        self._selector = Nothing(self)
        self._clock_resolution = 1e-9
        self.on_round: Callable[[], None] | None = None
        """Called between two rounds of callbacks: every task stands still."""
        self.rounds = 0
        self.site: Site | None = None
        """Where a server of this loop listens."""

    def time(self) -> float:
        return self._now_s

    def stall(self, for_s: float) -> None:
        """The process does not run for so long, while the world goes on."""
        if self.site is not None:
            self.site.stands(self._now_s, self._now_s + for_s)
        self._now_s += for_s

    def pass_time(self, until_due_s: float | None) -> None:
        self.rounds += 1
        if self.on_round is not None:
            self.on_round()
        if until_due_s is None:
            if not self._stopping:  # type: ignore[attr-defined]
                raise Stuck("nothing is due, and nobody was told to stop")
        elif until_due_s > 0:
            self._now_s += until_due_s
        elif self._round_s:
            self._now_s += self._dice.random() * self._round_s

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        if self._late_s:
            when += self._dice.random() * self._late_s
        return super().call_at(when, callback, *args, context=context)

    async def create_server(  # type: ignore[override]
        self, factory: Any, *args: Any, **more: Any
    ) -> Site:
        self.site = Site(factory)
        return self.site

    def bury(self, rounds: int = 50) -> None:
        """Let nothing of this loop outlive it: its tasks are cancelled, and run until they end.
        Raises Stuck when one will not."""
        self.on_round = None
        try:
            while left := asyncio.all_tasks(self):
                if not rounds:
                    raise Stuck(f"{len(left)} tasks do not end when they are cancelled")
                rounds -= 1
                for task in left:
                    task.cancel()
                self.run_until_complete(_few_rounds())
            self.run_until_complete(self.shutdown_asyncgens())
        finally:
            self.close()

    def _process_events(self, event_list: list[object]) -> None:
        pass

    def _write_to_self(self) -> None:
        """Wakes a real loop from another thread; here there is none."""


async def _few_rounds() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
