"""The commands, put together. Each is a file beside this one."""

import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import typer
from msgspec.structs import replace

from fairlead import __version__
from fairlead.app.serve import Serving, sources
from fairlead.app.sources import as_if_simulated
from fairlead.cli import check, explain, init, keys, logs, serve, usage
from fairlead.cli.complaint import give_up
from fairlead.cli.plain import PlainCommand, PlainGroup
from fairlead.outside import catalogue
from fairlead.outside.discovery import Server, discover
from fairlead.types.catalog import Catalog

SDKS = ("openai", "anthropic")
NO_SDKS = "the demo needs the official SDKs: pip install openai anthropic"

program = typer.Typer(
    cls=PlainGroup,
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


def find() -> Sequence[Server]:
    """The model servers of this machine."""

    async def ask() -> Sequence[Server]:
        async with sources(Serving(None, os.environ, catalogue.load())) as source:
            return await discover(source.probe)

    return asyncio.run(ask())


def preview(config: Path | None) -> Catalog:
    """The Catalog that the server would start with; nothing is started. Raises ConfigError."""

    async def load() -> Catalog:
        async with sources(Serving(config, os.environ, catalogue.load())) as source:
            return (await replace(source, simulate=as_if_simulated).load()).catalog

    return asyncio.run(load())


program.command(name="serve", cls=PlainCommand)(serve.serve_command)


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
    if any(find_spec(sdk) is None for sdk in SDKS):
        give_up(NO_SDKS)
    arguments = [sys.executable, "-P", "-m", "fairlead.cli.demo", *context.args]
    os.execv(sys.executable, arguments)


program.command(name="init", cls=PlainCommand)(init.command(find))
program.command(name="check", cls=PlainCommand)(check.command(catalogue.load))
program.command(name="explain", cls=PlainCommand)(explain.command(preview))
program.command(name="logs", cls=PlainCommand)(logs.logs_command)
program.command(name="usage", cls=PlainCommand)(usage.usage_command)
program.add_typer(keys.program, name="keys")


def main() -> None:
    program(prog_name="fairlead")
