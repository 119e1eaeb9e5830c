"""Runs the demo from start to end: providers, gateway, walk, totals. Returns the exit status."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic

from msgspec import Struct
from rich.console import Console

from fairlead.cli.demo.result import Done, Totals, as_json, totals
from fairlead.cli.demo.screen import Screen, export_svg, recorder
from fairlead.cli.demo.story import HOME_ZONE, MARKER, Step, Twist
from fairlead.cli.demo.walk import Running, Walk
from fairlead.outside.simulated.providers import SimulatedProviders
from fairlead.types.catalog import Endpoint

LIVE_SPEED = 5.0
JSON_SPEED = 10.0

RunGateway = Callable[[Sequence[Endpoint]], AbstractAsyncContextManager[Running]]
"""Serves these endpoints on loopback for as long as the context is open."""


class Wishes(Struct, frozen=True):
    json: bool = False
    """One JSON object on standard output and nothing else."""
    speed: float | None = None
    """How much faster than real models the simulated ones answer; None leaves it to us."""
    svg: Path | None = None
    """Where to draw what was printed."""


class Silent:
    """Watches and says nothing."""

    def twist(self, twist: Twist) -> None:
        pass

    def began(self, number: int, step: Step) -> None:
        pass

    def done(self, done: Done) -> None:
        pass


async def demo(run_gateway: RunGateway, wishes: Wishes) -> int:
    """0 only if every step was answered and no personal data left its zone."""
    speed = wishes.speed or (JSON_SPEED if wishes.json else LIVE_SPEED)
    simulated = SimulatedProviders(time_scale=1 / speed, watched=(MARKER,))
    async with simulated, run_gateway(simulated.endpoints()) as running:
        if wishes.json:
            total = await _quiet(running, simulated)
        else:
            total = await _live(running, simulated, speed, wishes.svg)
    return 1 if total.failed or total.left_zone else 0


async def _quiet(running: Running, simulated: SimulatedProviders) -> Totals:
    done = await Walk(running, simulated, Silent()).all()
    total = totals(done, len(simulated.log.outside(HOME_ZONE)))
    json.dump(as_json(done, total), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return total


async def _live(
    running: Running, simulated: SimulatedProviders, speed: float, svg: Path | None
) -> Totals:
    picture = recorder() if svg is not None else None
    began_s = monotonic()
    with Screen(Console(highlight=False), picture) as screen:
        screen.opening(running.address)
        done = await Walk(running, simulated, screen).all()
        total = totals(done, len(simulated.log.outside(HOME_ZONE)))
        screen.closing(total, monotonic() - began_s, speed)
    if svg is not None and picture is not None:
        _draw(picture, svg)
    return total


def _draw(picture: Console, path: Path) -> None:
    path.write_text(export_svg(picture))
