"""``fairlead usage``: what models, keys, tasks, endpoints or days came to, and what routing saved
against the baseline model."""

from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from time import time
from typing import Annotated

import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairlead.cli.as_json import print_json
from fairlead.cli.complaint import complaints, understood
from fairlead.cli.figures import age_ms, dollars, moment, tokens
from fairlead.cli.screen import screen
from fairlead.cli.where import ConfigOption, DataOption, folder, records
from fairlead.decide.cost import usd
from fairlead.outside.config.problems import printable
from fairlead.outside.folder import Folder
from fairlead.outside.journal import Journal, UsageBy, UsageRow

WIDE = 96
DECIMALS = 4
"""Of dollars, where they are summed."""
BASELINE = "saved: against the baseline (server.baseline, else the strongest model)"
UNKNOWN_COSTS = "unknown: requests whose cost nobody knows; they are in no amount"
NOBODY = {"model": "(no model)", "endpoint": "(no endpoint)", "task": "(no task)"}
"""Of requests that were refused before that was known."""


class Row(Struct, frozen=True):
    """As ``--json`` prints it. Amounts are exact decimal strings of dollars."""

    name: str
    requests: int
    failures: int
    refused: int
    input_tokens: int
    output_tokens: int
    cost_usd: str
    unknown_costs: int
    baseline_usd: str
    saved_usd: str
    saved_percent: int | None
    """Null where there is nothing to compare with."""


class Column(Struct, frozen=True):
    heading: str
    show: Callable[[UsageRow], Text]
    from_width: int = 0
    """Left out where less is to be had."""


class Report(Struct, frozen=True):
    by: UsageBy
    since: str
    rows: Sequence[Row]
    total: Row


def usage_command(
    by: Annotated[
        UsageBy, typer.Option(metavar="WHAT", help="model, key, task, endpoint or day (UTC).")
    ] = "model",
    since: Annotated[str, typer.Option(metavar="AGE", help="Not older, such as 12h.")] = "30d",
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Requests, tokens and money, and what was saved against the baseline model."""
    since_ms = int(time() * 1000) - understood(age_ms, since, "--since")
    with complaints():
        at, console = folder(config, data), screen()
        raise typer.Exit(usage(at, console, by, since_ms, as_json=as_json))


def usage(
    at: Folder,
    console: Console,
    by: UsageBy,
    since_ms: int,
    *,
    as_json: bool = False,
    timezone: tzinfo | None = None,
) -> int:
    """Raises NotFound when there are no records."""
    rows = Journal(records(at)).usage(by, since_ms)
    if by == "day":
        rows.sort(key=lambda row: row.name)
    total = summed(rows)
    if as_json:
        since = moment(since_ms, UTC).isoformat(timespec="seconds")
        report = Report(by, since, [_row(row) for row in rows], _row(total))
        print_json(console, report)
        return 0
    begin = f"{moment(since_ms, timezone):%Y-%m-%d %H:%M}"
    if not rows:
        console.print(Text(f"No request on record since {begin}."), soft_wrap=True)
        return 0
    console.print(_table(by, rows, total, console.width))
    console.print()
    for line in (f"since {begin}", BASELINE, *([UNKNOWN_COSTS] if total.unknown_costs else [])):
        console.print(Text(line, "dim"), soft_wrap=True)
    return 0


def summed(rows: Sequence[UsageRow]) -> UsageRow:
    figures = UsageRow.__struct_fields__[1:]
    return UsageRow("total", *(sum(getattr(row, name) for row in rows) for name in figures))


def saved_percent(row: UsageRow) -> int | None:
    """To the nearest percent; negative where the baseline would have been cheaper."""
    if row.baseline_nano == 0:
        return None
    return (200 * row.saved_nano + row.baseline_nano) // (2 * row.baseline_nano)


def _row(row: UsageRow) -> Row:
    return Row(
        name=row.name,
        requests=row.requests,
        failures=row.failures,
        refused=row.refused,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=usd(row.cost_nano),
        unknown_costs=row.unknown_costs,
        baseline_usd=usd(row.baseline_nano),
        saved_usd=usd(row.saved_nano),
        saved_percent=saved_percent(row),
    )


def _table(by: UsageBy, rows: Sequence[UsageRow], total: UsageRow, width: int) -> Table:
    gap = 2 if width >= WIDE else 1
    table = Table(box=None, padding=(0, gap, 0, 0), header_style="dim", pad_edge=False)
    columns = [
        each
        for each in COLUMNS
        if width >= each.from_width and (each.heading != "unknown" or total.unknown_costs)
    ]
    table.add_column(by, overflow="fold")
    for each in columns:
        table.add_column(each.heading, justify="right", no_wrap=True)
    for row in rows:
        name = printable(row.name) or NOBODY.get(by, "(nobody)")
        table.add_row(Text(name), *(each.show(row) for each in columns))
    table.add_row(Text(total.name), *(each.show(total) for each in columns), style="bold")
    return table


def _percent(row: UsageRow) -> Text:
    percent = saved_percent(row)
    return Text("" if percent is None else f"{percent}%", _tint(row))


def _saved(row: UsageRow) -> Text:
    known = row.baseline_nano or row.saved_nano
    return Text(dollars(row.saved_nano, DECIMALS) if known else "", _tint(row))


def _tint(row: UsageRow) -> str:
    return "green" if row.saved_nano > 0 else ""


def _count(number: int, tint: str) -> Text:
    return Text(f"{number:,}", tint if number else "dim")


COLUMNS = (
    Column("requests", lambda row: Text(f"{row.requests:,}")),
    Column("failed", lambda row: _count(row.failures, "red")),
    Column("refused", lambda row: _count(row.refused, "yellow")),
    Column("in", lambda row: Text(tokens(row.input_tokens))),
    Column("out", lambda row: Text(tokens(row.output_tokens))),
    Column("cost", lambda row: Text(dollars(row.cost_nano, DECIMALS))),
    Column("unknown", lambda row: _count(row.unknown_costs, "yellow")),
    Column("saved", _percent),
    Column("", _saved, from_width=WIDE),
)
