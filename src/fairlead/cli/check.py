"""``fairlead check``: reads the configuration as the gateway would, asks nobody, and says what is
wrong with it or what it comes to."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from fairlead.cli.complaint import complaints
from fairlead.outside.config import (
    Catalogue,
    ConfigError,
    Problem,
    Settings,
    build,
    default_settings,
    load,
    missing,
    unserved,
)
from fairlead.outside.config.problems import printable
from fairlead.outside.simulated import profiles
from fairlead.types.catalog import Catalog

DEFAULT_PATH = Path("fairlead.yaml")


class Report(Struct, frozen=True):
    """What ``--json`` prints."""

    file: str
    ok: bool
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    providers: Mapping[str, int] = {}
    """How many endpoints each has."""
    endpoints: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()


def command(catalogue: Callable[[], Catalogue]) -> Callable[..., None]:
    """What typer registers. ``catalogue`` loads the models that are known."""

    def check_command(
        config: Annotated[
            Path, typer.Option("--config", "-c", metavar="FILE", help="The file to read.")
        ] = DEFAULT_PATH,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    ) -> None:
        """Say what is wrong with the configuration, or what it comes to."""
        with complaints():
            raise typer.Exit(check(config, os.environ, Console(), catalogue(), as_json=as_json))

    return check_command


def check(
    path: Path,
    env: Mapping[str, str],
    console: Console,
    catalogue: Catalogue,
    *,
    as_json: bool = False,
) -> int:
    """The exit status: 0 when the gateway could serve with this file, else 1."""
    report = examined(path, env, catalogue)
    if as_json:
        console.out(msgspec.json.encode(report).decode(), highlight=False)
    elif report.ok:
        for line in summary(report):
            console.print(line, soft_wrap=True)
    else:
        for line in verdict(report):
            console.print(line, soft_wrap=True)
    return 0 if report.ok else 1


def examined(path: Path, env: Mapping[str, str], catalogue: Catalogue) -> Report:
    try:
        settings = load(path)
    except ConfigError as error:
        problems = error.problems if path.exists() else (not_there(path),)
        return Report(file=str(path), ok=False, problems=problems)
    absent = missing(settings, env)
    try:
        catalog = build(settings, catalogue, simulated=profiles.as_if_running())
    except ConfigError as error:
        problems = ConfigError((*error.problems, *absent)).problems
        return Report(file=str(path), ok=False, problems=problems, warnings=settings.warnings)
    return told(path, settings, catalog, absent, idle(settings, catalog, env))


def not_there(path: Path) -> Problem:
    """A newcomer's first ``fairlead check`` needs no place in a file, but the next step."""
    where = "" if path == DEFAULT_PATH else f" --config {printable(str(path))}"
    hint = f"`fairlead init{where}` writes one, `--config FILE` names another"
    return Problem(printable(str(path)), 0, 0, 0, "there is no such file", hint)


def told(
    path: Path,
    settings: Settings,
    catalog: Catalog,
    absent: tuple[Problem, ...],
    idle: tuple[str, ...],
) -> Report:
    """A provider that is declared and serves nothing counts 0."""
    providers = {each.name: 0 for each in settings.providers if each.kind != "simulated"}
    for endpoint in catalog.endpoints:
        providers[endpoint.provider] = providers.get(endpoint.provider, 0) + 1
    return Report(
        file=str(path),
        ok=not absent,
        problems=absent,
        warnings=(*settings.warnings, *unserved(catalog), *idle),
        providers=providers,
        endpoints=tuple(endpoint.name for endpoint in catalog.endpoints),
        routes=tuple(catalog.routes),
    )


def idle(settings: Settings, catalog: Catalog, env: Mapping[str, str]) -> tuple[str, ...]:
    """A file that names nobody. What is found on this machine is not known before it is asked."""
    if catalog.endpoints or settings.providers:
        return ()
    found = ", but for model servers found on this machine" if settings.server.discover else ""
    there = [each.name for each in default_settings(env).providers]
    hint = f" (`providers: {{{there[0]}: }}` takes the key in the environment)" if there else ""
    return (f"no provider is named, so nothing is served{found}{hint}",)


def verdict(report: Report) -> list[Text]:
    lines = [line for problem in report.problems for line in (shown(problem), Text())]
    return [*lines, *warned(report), Text(f"{counted(len(report.problems), 'problem')} found")]


def shown(problem: Problem) -> Text:
    """A problem in colour: where in bold, the caret and its hint in red."""
    head, *rest = problem.render().split("\n")
    place = head.removesuffix(problem.message)
    text = Text.assemble((place, "bold"), head[len(place) :])
    for number, line in enumerate(rest):
        text.append("\n").append(line, "red" if number else "dim")
    return text


def summary(report: Report) -> list[Text]:
    providers = ", ".join(f"{name} ({count})" for name, count in report.providers.items())
    return [
        Text.assemble((report.file, "bold"), " is sound"),
        Text(f"  {counted(len(report.providers), 'provider')}: {providers or 'none'}"),
        Text(f"  {counted(len(report.endpoints), 'endpoint')}"),
        Text(f"  {counted(len(report.routes), 'route')}: {', '.join(report.routes)}"),
        *warned(report),
    ]


def warned(report: Report) -> list[Text]:
    return [Text(f"warning: {warning}", "yellow") for warning in report.warnings]


def counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
