"""``fairlead demo``: its options, and the gateway that it runs before its simulated providers."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
import uvloop

from fairlead.app.parts import running
from fairlead.cli.complaint import complaints
from fairlead.cli.demo.run import Wishes, demo
from fairlead.cli.demo.walk import Running
from fairlead.cli.plain import PlainCommand
from fairlead.outside.catalogue import load
from fairlead.outside.config import Settings, build
from fairlead.outside.config.settings import Listen, ProviderSettings, ServerSettings
from fairlead.outside.folder import Folder
from fairlead.types.catalog import Endpoint

SETTINGS = Settings(providers=(ProviderSettings(name="simulated", kind="simulated"),))


@asynccontextmanager
async def gateway(endpoints: Sequence[Endpoint]) -> AsyncGenerator[Running]:
    """A real one on a free port, its record in a folder that is gone at the end."""
    catalog = build(SETTINGS, load(), simulated=endpoints)
    with TemporaryDirectory(prefix="fairlead-demo-") as folder:
        server = ServerSettings(listen=Listen("127.0.0.1", 0), data=folder, log="none")
        async with running(catalog, server, Folder(Path(folder)), os.environ) as parts:
            yield Running(parts.address, parts.journal)


def main(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="N", min=0.1, help="How much faster than real models the simulated ones answer."
        ),
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw what was printed, into this file."),
    ] = None,
) -> None:
    """An incident response in twenty steps: a real gateway, simulated models, official SDKs."""
    wishes = Wishes(json=as_json, speed=speed, svg=svg)
    # The SDKs would ask a company's proxy for the gateway on this machine.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    # Told to end, it cleans up as after Ctrl-C, which a script's background job ignores.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with complaints(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if svg is not None:
            svg.open("ab").close()  # before the demo, not after it
        sys.exit(runner.run(demo(gateway, wishes)))


program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
program.command(name="demo", cls=PlainCommand)(main)
