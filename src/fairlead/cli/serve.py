"""``fairlead serve``: what it prints when it has started, and what stops it from starting."""

import errno
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fairlead import __version__
from fairlead.app.parts import Running
from fairlead.app.serve import Serving, serve
from fairlead.app.sources import Loaded
from fairlead.cli.check import DEFAULT_PATH, counted
from fairlead.outside import catalogue
from fairlead.outside.config import ConfigError, unserved
from fairlead.outside.config.kinds import KINDS
from fairlead.outside.config.problems import Mistake
from fairlead.outside.config.settings import Listen, ProviderSettings
from fairlead.outside.config.values import listen as parse_listen
from fairlead.types.errors import OurError

SIMULATED = """\
Found no provider's key in the environment and no model server on this machine, so these models \
are SIMULATED: their answers are made up by rules. Set one of {keys}, or start Ollama or \
llama.cpp, and serve again; `fairlead init` writes a configuration."""

CURL = """\
  curl {address}/v1/chat/completions -H 'content-type: application/json' \\
    {key}-d '{{"model": "auto", "messages": [{{"role": "user", "content": "Say hello."}}]}}'"""
KEY = """-H "authorization: Bearer $FAIRLEAD_KEY" \\\n    """
KEYS_NAMED = 3


def serve_command(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help=f"The configuration; {DEFAULT_PATH} if there is one."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the ledger, the journal and the keys.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="Where to listen, as host:port; port 0 takes a free one.")
    ] = None,
) -> None:
    """Serve until told to stop. Without a configuration: with what is found on this machine."""
    console = Console(highlight=False)
    serving = Serving(
        config=config or (DEFAULT_PATH if DEFAULT_PATH.exists() else None),
        env=os.environ,
        catalogue=catalogue.load(),
        listen=_listen(listen),
        data=data,
    )

    def say(line: str) -> None:
        console.print(Text(line), soft_wrap=True)
        console.file.flush()

    def started(loaded: Loaded, running: Running) -> None:
        for line in greeting(loaded, running):
            console.print(line, soft_wrap=True)
        console.file.flush()

    try:
        serve(serving, started, say)
    except ConfigError as error:
        _give_up(error.render())
    except OurError as error:
        _give_up(error.message)
    except OSError as error:
        _give_up(_unavailable(error))


def greeting(loaded: Loaded, running: Running) -> list[Text]:
    catalog = loaded.catalog
    lines = [
        Text.assemble(
            (f"Fairlead {__version__}", "bold"), " listening on ", (running.address, "bold cyan")
        ),
        *_found(loaded),
        _row("routes", ", ".join(catalog.routes)),
        _row("records", str(running.store.path)),
    ]
    if running.recovered:
        told = f"{counted(running.recovered, 'attempt')} left open by a killed process, settled"
        lines.append(_row("recovered", told))
    lines += [Text(f"warning: {each}", "yellow") for each in _warnings(loaded)]
    if loaded.falls_back:
        keys = ", ".join(kind.env for kind in list(KINDS.values())[:KEYS_NAMED])
        lines += [Text(), Text(SIMULATED.format(keys=keys), "bold yellow")]
    key = KEY if running.state.keys.exist else ""
    lines += [Text(), Text("Try it:"), Text(CURL.format(address=running.address, key=key)), Text()]
    return lines


def _found(loaded: Loaded) -> list[Text]:
    """A line for each provider that serves something."""
    serves: dict[str, list[str]] = {}
    for endpoint in loaded.catalog.endpoints:
        serves.setdefault(endpoint.provider, []).append(endpoint.model.name)
    by_name = {provider.name: provider for provider in loaded.settings.providers}
    rows = [
        _row("serving" if not number else "", _provider(name, models, by_name.get(name)))
        for number, (name, models) in enumerate(serves.items())
    ]
    return rows or [Text("nothing to serve: no provider has a model; see `fairlead check`", "red")]


def _provider(name: str, models: list[str], settings: ProviderSettings | None) -> str:
    shown = ", ".join(models[:4]) + (", ..." if len(models) > 4 else "")
    keys = ", ".join(secret.id for secret in settings.secrets) if settings else ""
    key = f", key {keys}" if keys else ""
    return f"{name}: {counted(len(models), 'model')} ({shown}){key}"


def _warnings(loaded: Loaded) -> tuple[str, ...]:
    return (*loaded.settings.warnings, *unserved(loaded.catalog))


def _row(heading: str, text: str) -> Text:
    return Text.assemble((f"  {heading:10}", "dim"), text)


def _listen(text: str | None) -> Listen | None:
    if text is None:
        return None
    try:
        return parse_listen(text)
    except Mistake as mistake:
        hint = f" ({mistake.hint})" if mistake.hint else ""
        raise typer.BadParameter(f"{mistake.message}{hint}", param_hint="--listen") from None


def _unavailable(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "that address is in use: is Fairlead running already? --listen takes another one"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _give_up(message: str) -> None:
    Console(stderr=True, highlight=False).print(Text(message, "red"), soft_wrap=True)
    raise typer.Exit(1)
