"""``fairlead keys``: make a key, list them, revoke one. A key itself is printed once, when it is
made; afterwards nobody has it but its holder."""

from collections.abc import Iterable, Mapping
from datetime import UTC, tzinfo
from time import time
from typing import Annotated

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairlead.cli.as_json import print_json
from fairlead.cli.complaint import complaints, understood
from fairlead.cli.figures import dollars, exact_dollars, moment, nano_usd, tokens
from fairlead.cli.plain import PlainCommand, PlainGroup
from fairlead.cli.screen import NARROW, screen
from fairlead.cli.where import ConfigOption, DataOption, folder, listening, records
from fairlead.decide.cost import usd
from fairlead.outside import pepper
from fairlead.outside.config import units
from fairlead.outside.config.problems import printable
from fairlead.outside.folder import Folder
from fairlead.outside.store import Store
from fairlead.state import keys
from fairlead.state.keys import KeyRow
from fairlead.state.windows import windows_at
from fairlead.types.decision import Caller, Limits

SPENT = 'SELECT key_id, nano FROM spend WHERE "window" = ?'
ONCE = "This key is shown once and cannot be shown again. Send it with every request:"
DECIMALS = 4
"""Of dollars, where they are summed."""
HEADER = """\
  curl http://{address}/v1/models -H 'authorization: Bearer {key}'"""
FIRST = "It is the first: from now on every request needs a key."

program = typer.Typer(
    cls=PlainGroup, help="Make, list and revoke the keys of callers.", no_args_is_help=True
)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]


class Shown(Struct, frozen=True):
    """A key as ``--json`` prints it. Amounts are exact decimal strings of dollars."""

    id: str
    name: str
    state: str
    """``in force`` or ``revoked``."""
    created_at: str
    revoked_at: str | None
    routes: tuple[str, ...]
    models: tuple[str, ...]
    zones: tuple[str, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    budget_day_usd: str | None
    budget_month_usd: str | None
    spent_today_usd: str
    spent_this_month_usd: str


class Spent(Struct, frozen=True):
    """In nano-dollars, by the key's id."""

    today: Mapping[str, int]
    this_month: Mapping[str, int]


@program.command(name="create", cls=PlainCommand)
def create_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who will hold it; a name of your choice.")
    ],
    route: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="May ask for this route; several times for several."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="May be answered by this model or endpoint."),
    ] = None,
    zone: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Its data may go to this zone.")
    ] = None,
    requests_per_minute: Annotated[str | None, typer.Option(metavar="N", help="At most.")] = None,
    tokens_per_minute: Annotated[
        str | None, typer.Option(metavar="N", help="At most, such as 400k.")
    ] = None,
    budget_day: Annotated[
        str | None, typer.Option(metavar="USD", help="What it may spend in a UTC day.")
    ] = None,
    budget_month: Annotated[
        str | None, typer.Option(metavar="USD", help="What it may spend in a UTC month.")
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print it: once. What is not limited is allowed."""
    stated = {
        "requests_per_minute": (units.count, requests_per_minute),
        "tokens_per_minute": (units.some_tokens, tokens_per_minute),
        "budget_day_nano_usd": (nano_usd, budget_day),
        "budget_month_nano_usd": (nano_usd, budget_month),
    }
    limits = {
        field: understood(parse, text, "--" + field.removesuffix("_nano_usd").replace("_", "-"))
        for field, (parse, text) in stated.items()
        if text is not None
    }
    may = {"routes": route, "models": model, "zones": zone}
    allowed = {field: tuple(names or ()) for field, names in may.items()}
    asked = Caller("", name, **allowed, limits=Limits(**limits))
    with complaints():
        at, now_ms = folder(config, data), int(time() * 1000)
        address = listening(config, data).written
        raise typer.Exit(create(asked, at, screen(), now_ms, address, as_json=as_json))


@program.command(name="list", cls=PlainCommand)
def list_command(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """All keys ever made, with what they may and what they spent. Never the keys themselves."""
    with complaints():
        at, now_ms = folder(config, data), int(time() * 1000)
        raise typer.Exit(list_keys(at, screen(), now_ms, as_json=as_json))


@program.command(name="revoke", cls=PlainCommand)
def revoke_command(
    id_or_name: Annotated[
        str, typer.Argument(metavar="ID|NAME", help="As `fairlead keys list` shows it.")
    ],
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """End a key, for good. A running gateway refuses it within half a second."""
    with complaints():
        at, now_ms = folder(config, data), int(time() * 1000)
        raise typer.Exit(revoke(id_or_name, at, screen(), now_ms))


def create(
    asked: Caller,
    at: Folder,
    console: Console,
    now_ms: int,
    address: str = "127.0.0.1:4600",
    *,
    as_json: bool = False,
) -> int:
    """``asked``: its name and what it may; the id is made here. Raises BadRequest, and OurError
    when the pepper of the keys in force is gone."""
    store = Store(at.database)
    before = keys.list_keys(store)
    key, row = keys.create(
        store,
        pepper.load(at.pepper, in_use=keys.any_in_force(before)),
        asked.name,
        asked.routes,
        asked.models,
        asked.zones,
        asked.limits,
        now_ms=now_ms,
    )
    if as_json:
        made = {"key": key} | msgspec.structs.asdict(shown(row, Spent({}, {})))
        print_json(console, made)
        return 0
    console.print(Text(key, "bold"), soft_wrap=True)
    console.print()
    console.print(Text(ONCE), soft_wrap=True)
    console.print(Text(HEADER.format(address=address, key=key)), soft_wrap=True)
    console.print()
    who, may, limits = row.caller, _may(row.caller), _limits(row.caller.limits)
    told = f"{who.name} ({who.id}) may use {', '.join(may)}; {', '.join(limits)}."
    console.print(Text(told), soft_wrap=True)
    if not before:
        console.print(Text(FIRST), soft_wrap=True)
    ends = f"`fairlead keys revoke {row.caller.id}` ends it."
    console.print(Text(ends, "dim"), soft_wrap=True)
    return 0


def list_keys(
    at: Folder,
    console: Console,
    now_ms: int,
    *,
    as_json: bool = False,
    timezone: tzinfo | None = None,
) -> int:
    """Raises NotFound when there are no records."""
    store = records(at)
    rows, spent = keys.list_keys(store), _spent(store, now_ms)
    if as_json:
        print_json(console, {"keys": [shown(row, spent) for row in rows]})
    elif rows:
        console.print(_table(rows, spent, timezone, narrow=console.width < NARROW))
    else:
        told = "There are no keys: whoever reaches the gateway may use it, without limits."
        console.print(Text(told), soft_wrap=True)
    return 0


def revoke(id_or_name: str, at: Folder, console: Console, now_ms: int) -> int:
    """Raises NotFound."""
    keys.revoke(records(at), id_or_name, now_ms)
    console.print(Text(f"{printable(id_or_name)} is revoked"), soft_wrap=True)
    return 0


def shown(row: KeyRow, spent: Spent) -> Shown:
    who, limits = row.caller, row.caller.limits
    return Shown(
        id=who.id,
        name=who.name,
        state="in force" if row.revoked_ms is None else "revoked",
        created_at=_iso(row.created_ms),
        revoked_at=None if row.revoked_ms is None else _iso(row.revoked_ms),
        routes=who.routes,
        models=who.models,
        zones=who.zones,
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        budget_day_usd=usd(limits.budget_day_nano_usd),
        budget_month_usd=usd(limits.budget_month_nano_usd),
        spent_today_usd=usd(spent.today.get(who.id, 0)),
        spent_this_month_usd=usd(spent.this_month.get(who.id, 0)),
    )


def _spent(store: Store, now_ms: int) -> Spent:
    """In the UTC day and month that budgets count in."""
    windows = windows_at(now_ms)

    def spent(window: str) -> dict[str, int]:
        return {row["key_id"]: row["nano"] for row in store.read(SPENT, (window,))}

    return Spent(spent(windows.day), spent(windows.month))


def _table(rows: Iterable[KeyRow], spent: Spent, timezone: tzinfo | None, *, narrow: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 1, 0), header_style="dim", pad_edge=False)
    table.add_column("key", no_wrap=True)
    if not narrow:
        table.add_column("state", no_wrap=True)
    table.add_column("may use", overflow="fold")
    table.add_column("limits and spending", overflow="fold")
    for row in rows:
        key = Text.assemble((row.caller.name, "bold"), "\n", (row.caller.id, "dim"))
        state = _state(row, timezone)
        table.add_row(
            *([key.append("\n").append_text(state)] if narrow else [key, state]),
            Text("\n".join(_may(row.caller))),
            Text("\n".join((*_rates(row.caller.limits), *_spending(row.caller, spent)))),
            style="dim" if row.revoked_ms is not None else "",
        )
    return table


def _state(row: KeyRow, timezone: tzinfo | None) -> Text:
    made = f"{moment(row.created_ms, timezone):%Y-%m-%d}"
    if row.revoked_ms is None:
        return Text.assemble(("in force", "green"), f"\nsince {made}")
    ended = f"{moment(row.revoked_ms, timezone):%Y-%m-%d}"
    return Text.assemble((f"revoked {ended}", "red"), f"\nmade {made}")


def _may(who: Caller) -> list[str]:
    stated = {"route": who.routes, "model": who.models, "zone": who.zones}
    told = [
        f"{what}{'s' * (len(names) > 1)} {', '.join(printable(name) for name in names)}"
        for what, names in stated.items()
        if names
    ]
    return told or ["everything"]


def _limits(limits: Limits) -> list[str]:
    day, month = limits.budget_day_nano_usd, limits.budget_month_nano_usd
    told = [
        *_rates(limits),
        *([] if day is None else [f"{exact_dollars(day)} a day"]),
        *([] if month is None else [f"{exact_dollars(month)} a month"]),
    ]
    return told or ["no limits"]


def _rates(limits: Limits) -> list[str]:
    stated = {"requests": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
    return [
        f"{tokens(n)} {what.removesuffix('s') if n == 1 else what} a minute"
        for what, n in stated.items()
        if n is not None
    ]


def _spending(who: Caller, spent: Spent) -> list[str]:
    day, month = who.limits.budget_day_nano_usd, who.limits.budget_month_nano_usd
    return [
        f"today {_part(spent.today.get(who.id, 0), day)}",
        f"month {_part(spent.this_month.get(who.id, 0), month)}",
    ]


def _part(nano: int, budget_nano: int | None) -> str:
    spent = dollars(nano, DECIMALS)
    return spent if budget_nano is None else f"{spent} of {exact_dollars(budget_nano)}"


def _iso(at_ms: int) -> str:
    return moment(at_ms, UTC).isoformat(timespec="seconds")
