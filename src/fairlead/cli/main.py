"""The commands, put together. Each is a file beside this one."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from fairlead import __version__
from fairlead.app.serve import Serving, sources
from fairlead.app.sources import Sources, as_if_simulated
from fairlead.cli import check, explain, init, keys, logs, serve, usage
from fairlead.outside import catalogue
from fairlead.outside.discovery import Server, discover
from fairlead.types.catalog import Catalog

program = typer.Typer(
    help="A gateway that sends each request to the model that fits it.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@program.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True),
) -> None:
    if show:
        typer.echo(f"fairlead {__version__}")
        raise typer.Exit


@program.command(
    name="demo",
    help="An incident response in twenty steps, with simulated models and the official SDKs.",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def demo_command(context: typer.Context) -> None:
    """In this process's place: the demo imports the vendors' SDKs, which take a second."""
    arguments = [sys.executable, "-P", "-m", "fairlead.cli.demo", *context.args]
    os.execv(sys.executable, arguments)


def find() -> Sequence[Server]:
    """The model servers of this machine."""

    async def ask() -> Sequence[Server]:
        serving = Serving(None, os.environ, catalogue.load())
        async with sources(serving) as source:
            return await discover(source.probe)

    return asyncio.run(ask())


def preview(config: Path | None) -> Catalog:
    """The Catalog that the server would start with; nothing is started. Raises ConfigError."""

    async def load() -> Catalog:
        serving = Serving(config, os.environ, catalogue.load())
        async with sources(serving) as source:
            quiet = Sources(
                source.config, source.env, source.catalogue, source.probe, as_if_simulated
            )
            return (await quiet.load()).catalog

    return asyncio.run(load())


program.command(name="serve")(serve.serve_command)
program.command(name="check")(check.command(catalogue.load))
program.command(name="init")(init.command(find))


def main() -> None:
    program(prog_name="fairlead")
