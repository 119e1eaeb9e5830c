"""``fairlead logs``: the latest requests on record, one line each, and those that follow."""

from collections.abc import Callable, Iterable
from datetime import UTC, tzinfo
from time import sleep, time
from typing import Annotated, Any, Literal

import msgspec
import typer
from msgspec import Struct
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from fairlead.cli.as_json import print_json
from fairlead.cli.complaint import complaints, understood
from fairlead.cli.figures import age_ms, charge, duration, moment, tokens
from fairlead.cli.screen import NARROW, screen
from fairlead.cli.where import ConfigOption, DataOption, folder, records
from fairlead.decide.cost import usd
from fairlead.outside.config.problems import printable
from fairlead.outside.folder import Folder
from fairlead.outside.journal import Entry, Filter, Journal
from fairlead.types.decision import TaskKind

POLL_S = 0.5
ID_LENGTH = 12
"""The milliseconds of arrival: enough for ``fairlead explain``, unless two came in the same."""

Outcome = Literal["ok", "failed", "cancelled", "refused"]
TINTS = {"failed": "red", "refused": "red", "cancelled": "yellow"}


class Column(Struct, frozen=True):
    heading: str
    show: Callable[[Entry, tzinfo | None], str]
    width: int
    """0: whatever is left."""
    justify: JustifyMethod = "left"
    from_width: int = 0
    """Left out where less is to be had."""


class Viewer:
    """Prints entries as they come, and a line whenever another day begins."""

    def __init__(self, console: Console, zone: tzinfo | None) -> None:
        self._console = console
        self._zone = zone
        self._width = console.width
        self._columns = [each for each in COLUMNS if self._width >= each.from_width]
        self._day = ""

    def show(self, entry: Entry) -> None:
        day = f"{moment(entry.at_ms, self._zone):%Y-%m-%d}"
        if not self._day:
            self._print([Text(each.heading, "dim") for each in self._columns])
        if day != self._day:
            self._console.print(Text(day, "dim"))
        self._day = day
        tint = TINTS.get(entry.outcome, "")
        self._print([Text(each.show(entry, self._zone), tint) for each in self._columns])

    def _print(self, cells: Iterable[Text]) -> None:
        fixed = sum(each.width + 1 for each in self._columns if each.width)
        row = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
        for each in self._columns:
            width = each.width or max(self._width - fixed, 8)
            row.add_column(width=width, justify=each.justify, no_wrap=True)
        row.add_row(*cells)
        self._console.print(row)


def logs_command(
    number: Annotated[int, typer.Option("-n", metavar="N", min=0, help="How many.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    key: Annotated[str | None, typer.Option(metavar="ID|NAME", help="A key's id or name.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who answered, or was asked last.")
    ] = None,
    task: Annotated[
        TaskKind | None, typer.Option(metavar="TASK", help="What it was about, such as code.")
    ] = None,
    outcome: Annotated[
        Outcome | None, typer.Option(metavar="OUTCOME", help="ok, failed, cancelled or refused.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Not older, such as 30m, 1h or 2d.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The latest requests, the newest last."""
    age = 0 if since is None else understood(age_ms, since, "--since")
    since_ms = int(time() * 1000) - age if age else 0
    wanted = Filter(key, model, task, outcome, since_ms)
    pause = _pause if follow else None
    with complaints():
        at, console = folder(config, data), screen()
        raise typer.Exit(logs(at, console, wanted, number, pause, as_json=as_json))


def logs(
    at: Folder,
    console: Console,
    wanted: Filter,
    number: int,
    pause: Callable[[], None] | None = None,
    *,
    as_json: bool = False,
    timezone: tzinfo | None = None,
) -> int:
    """``pause``: waits until it is time to look again, for ever on; None ends with what is there.
    Raises NotFound when there are no records."""
    journal = Journal(records(at))
    show = _as_json(console) if as_json else Viewer(console, timezone).show
    # Asked first: what is recorded in between is then shown by one of the two.
    last = journal.last_rowid()
    found = [entry for entry in journal.recent(number, wanted) if entry.rowid <= last]
    for entry in reversed(found):
        show(entry)
    if pause is not None:
        _follow(journal, last, wanted, show, pause)
    elif not found and not as_json:
        console.print(Text("No request on record fits."), soft_wrap=True)
    return 0


def fits(entry: Entry, wanted: Filter) -> bool:
    """As ``Journal.recent`` has it."""
    return (
        entry.at_ms >= wanted.since_ms
        and wanted.caller in (None, entry.caller, entry.caller_name)
        and wanted.model in (None, entry.model)
        and wanted.task in (None, entry.task)
        and wanted.outcome in (None, entry.outcome)
    )


def recorded(entry: Entry) -> dict[str, Any]:
    """An entry for machines: amounts are exact decimal strings of dollars; null is unknown."""
    fields = msgspec.structs.asdict(entry) | {
        "dropped": entry.dropped.split(",") if entry.dropped else [],
        "tries": msgspec.Raw(entry.tries.encode()),
        "cost_usd": usd(entry.cost_nano),
        "expected_cost_usd": usd(entry.expected_nano),
        "baseline_cost_usd": usd(entry.baseline_nano),
    }
    for name in ("rowid", "plan", "cost_nano", "expected_nano", "baseline_nano"):
        del fields[name]
    return {"at": moment(entry.at_ms, UTC).isoformat(timespec="milliseconds"), **fields}


def _follow(
    journal: Journal,
    after: int,
    wanted: Filter,
    show: Callable[[Entry], None],
    pause: Callable[[], None],
) -> None:
    try:
        while True:
            pause()
            for entry in journal.follow(after):
                after = entry.rowid
                if fits(entry, wanted):
                    show(entry)
    except KeyboardInterrupt:
        return


def _pause() -> None:
    sleep(POLL_S)


def _as_json(console: Console) -> Callable[[Entry], None]:
    def show(entry: Entry) -> None:
        print_json(console, recorded(entry))

    return show


def _who(entry: Entry, zone: tzinfo | None) -> str:
    asked, model = printable(entry.asked), printable(entry.model)
    return f"{asked}→{model}" if model and model != asked else asked


def _outcome(entry: Entry, zone: tzinfo | None) -> str:
    told = entry.outcome in ("failed", "refused")
    return f"{entry.outcome} {entry.status}" if told else entry.outcome


def _tokens(entry: Entry, zone: tzinfo | None) -> str:
    if entry.input_tokens is None:
        return ""
    return f"{tokens(entry.input_tokens)}→{tokens(entry.output_tokens)}"


def _cost(entry: Entry, zone: tzinfo | None) -> str:
    """Nothing was spent on who never got through, which is not the same as free."""
    return charge(entry.cost_nano) if entry.attempts or entry.cost_nano else ""


COLUMNS = (
    Column("time", lambda entry, zone: f"{moment(entry.at_ms, zone):%H:%M:%S}", 8),
    Column("request", lambda entry, zone: entry.request_id[:ID_LENGTH], ID_LENGTH),
    Column("key", lambda entry, zone: printable(entry.caller_name), 8, from_width=90),
    Column("task", lambda entry, zone: entry.task, 9, from_width=NARROW),
    Column("asked→model", _who, 0),
    Column("outcome", _outcome, 11),
    Column("try", lambda entry, zone: str(entry.attempts or ""), 3, "right", from_width=90),
    Column("tokens", _tokens, 9, "right", from_width=90),
    Column("cost", _cost, 9, "right"),
    Column("took", lambda entry, zone: duration(entry.total_ms), 6, "right", from_width=NARROW),
)
