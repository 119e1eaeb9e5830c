"""``fairlead serve``: what it prints when it has started, and what stops it from starting."""

import errno
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from fairlead import __version__
from fairlead.app.parts import Running
from fairlead.app.serve import Serving, serve
from fairlead.app.sources import Loaded
from fairlead.cli.check import counted
from fairlead.cli.complaint import complaints, understood
from fairlead.cli.screen import screen
from fairlead.cli.where import ConfigOption, config_file
from fairlead.outside import catalogue
from fairlead.outside.config import unserved
from fairlead.outside.config.kinds import KINDS
from fairlead.outside.config.settings import ProviderSettings
from fairlead.outside.config.values import listen as parse_listen
from fairlead.types.catalog import Endpoint
from fairlead.types.errors import OurError

SIMULATED = """\
SIMULATED: no provider's key is in the environment and no model server runs on this machine, so \
the answers are made up by rules. For real ones set {keys} or another provider's, or start Ollama, \
LM Studio, llama.cpp, vLLM or SGLang, and serve again. `fairlead init` writes a configuration to \
go on from."""
NOTHING = "nothing to serve: no provider has a model; `fairlead check` says more"

CURL = """\
  curl {address}/v1/chat/completions \\
    -H 'content-type: application/json' \\
{key}    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "Hello!"}}]}}'"""
KEY = """\
    -H "authorization: Bearer $FAIRLEAD_KEY" \\
"""
NAMED = 3
"""So many keys are named as examples, and so many models of a provider that has many."""
INDENT = 12


def serve_command(
    config: ConfigOption = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Of the ledger, the journal and the keys.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where to listen, 127.0.0.1:4600 if nobody says; port 0: any."
        ),
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Take the place of the process that serves this folder, if one does.",
        ),
    ] = False,
) -> None:
    """Serve until told to stop. Without a configuration: what is found on this machine."""
    console = screen()
    serving = Serving(
        config=config_file(config),
        env=os.environ,
        catalogue=catalogue.load(),
        listen=None if listen is None else understood(parse_listen, listen, "--listen"),
        data=data,
        take_over=take_over,
        watched=console.is_terminal and sys.stderr.isatty(),
    )

    def say(line: str) -> None:
        console.print(Text(line), soft_wrap=True)
        console.file.flush()

    def started(loaded: Loaded, running: Running) -> None:
        for line in greeting(loaded, running, console.width):
            console.print(line, soft_wrap=True)
        console.file.flush()

    with complaints():
        try:
            serve(serving, started, say)
        except OSError as error:
            raise _explained(error) from error


def greeting(loaded: Loaded, running: Running, width: int) -> list[Text]:
    """Lines to print as they are: prose and lists are wrapped, addresses and paths never."""
    catalog = loaded.catalog
    name = Text.assemble((f"Fairlead {__version__}", "bold"), " listening on ")
    lines = [
        name.append(running.address, "bold cyan"),
        *_served(loaded, width),
        _row("routes", ", ".join(catalog.routes), width),
        Text.assemble((f"  {'records':{INDENT - 2}}", "dim"), str(running.store.path)),
    ]
    if running.before is not None:
        told = f"from process {running.before}, which finishes what it has"
        lines.append(_row("took over", told, width))
    if running.recovered:
        left = f"{counted(running.recovered, 'attempt')} of a killed process, settled in full"
        lines.append(_row("recovered", left, width))
    warnings = (*loaded.settings.warnings, *_idle(loaded), *unserved(catalog))
    for warning in warnings:
        lines.append(Text(_wrapped(warning, width, "warning: ", "  "), "yellow"))
    if loaded.falls_back:
        keys = [kind.env for kind in KINDS.values() if kind.env]
        told = SIMULATED.format(keys=", ".join(keys[:NAMED]))
        lines += [Text(), Text(_wrapped(told, width), "bold yellow")]
    if catalog.endpoints:
        curl = CURL.format(address=running.address, key=KEY if running.state.keys.exist else "")
        lines += [Text(), Text("Try it:"), Text(curl), Text()]
    return lines


def _served(loaded: Loaded, width: int) -> Iterator[Text]:
    """A line for each provider that serves something."""
    serves: dict[str, list[Endpoint]] = {}
    for endpoint in loaded.catalog.endpoints:
        serves.setdefault(endpoint.provider, []).append(endpoint)
    if not serves:
        yield Text(_wrapped(NOTHING, width), "red")
    settings = {provider.name: provider for provider in loaded.settings.providers}
    for number, (name, endpoints) in enumerate(serves.items()):
        heading = "" if number else "serving"
        yield _row(heading, _provider(name, endpoints, settings.get(name)), width)


def _idle(loaded: Loaded) -> Iterator[str]:
    """Who is declared and serves nothing: mostly a server that is down or somewhere else."""
    serving = {endpoint.provider for endpoint in loaded.catalog.endpoints}
    for each in loaded.settings.providers:
        if each.name in serving or each.kind == "simulated" or each.name in loaded.settings.absent:
            continue
        yield f"{each.name} serves nothing: {each.address} tells of no models, and `models` of none"


def _provider(name: str, endpoints: Sequence[Endpoint], settings: ProviderSettings | None) -> str:
    models = [endpoint.model.name for endpoint in endpoints]
    shown = models if len(models) <= NAMED + 1 else [*models[:NAMED], "..."]
    with_keys = ", ".join(secret.id for secret in settings.secrets) if settings else ""
    key = f", key {with_keys}" if with_keys else ""
    # Simulated ones listen on a free port each: where to go to make them fail.
    at = f", at {endpoints[0].base_url.removesuffix('/v1')}" if endpoints[0].simulated else ""
    return f"{name}: {counted(len(models), 'model')} ({', '.join(shown)}){key}{at}"


def _row(heading: str, text: str, width: int) -> Text:
    told = _wrapped(text, width - INDENT).replace("\n", "\n" + " " * INDENT)
    return Text.assemble((f"  {heading:{INDENT - 2}}", "dim"), told)


def _wrapped(text: str, width: int, first: str = "", later: str = "") -> str:
    """No word is broken, so that names and paths can be copied."""
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _explained(error: OSError) -> Exception:
    """What kept us from listening; other troubles as they are."""
    if error.errno == errno.EADDRINUSE:
        return OurError(
            f"{error.filename} is in use: does Fairlead run already? --listen takes another address"
        )
    return error
