"""``fairlead explain``: what would be decided for a request in a file, which calls nobody; or what
was decided for one on record, and what came of it."""

from collections.abc import Callable, Mapping
from datetime import tzinfo
from pathlib import Path
from time import time
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fairlead.cli import explanation
from fairlead.cli.as_json import print_json
from fairlead.cli.complaint import complaints
from fairlead.cli.explanation import INDENT, facts, gap, table
from fairlead.cli.figures import charge, duration, moment, tokens
from fairlead.cli.logs import recorded
from fairlead.cli.screen import screen
from fairlead.cli.where import ConfigOption, DataOption, config_file, folder, records
from fairlead.decide import consider
from fairlead.decide.explain import as_json as explained
from fairlead.decide.refusal import refusal
from fairlead.dialects import DIALECTS
from fairlead.outside.config.problems import one_of, printable
from fairlead.outside.folder import Folder
from fairlead.outside.journal import Entry, Journal
from fairlead.state.keys import LOCAL
from fairlead.state.windows import windows_at
from fairlead.types.catalog import Catalog
from fairlead.types.decision import View
from fairlead.types.errors import Failure, NotFound
from fairlead.types.facts import Attempted

LoadCatalog = Callable[[Path | None], Catalog]
"""The Catalog that a server would start with, of this file or of none."""

ANTHROPIC_FIELDS = {"system", "stop_sequences", "thinking", "anthropic_version", "mcp_servers"}
ANTHROPIC_BLOCKS = {"text", "image", "document", "thinking", "tool_use", "tool_result"}


def command(catalog: LoadCatalog) -> Callable[..., None]:
    """What typer registers."""

    def explain_command(
        request: Annotated[
            str, typer.Argument(metavar="FILE|REQUEST", help="A request's body, or an id's start.")
        ],
        dialect: Annotated[
            str | None,
            typer.Option(metavar="NAME", help="What the file is written in; else it is guessed."),
        ] = None,
        config: ConfigOption = None,
        data: DataOption = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    ) -> None:
        """Who would answer a request, or who did, and why."""
        if dialect is not None and dialect not in DIALECTS:
            raise typer.BadParameter(f"known are {one_of(list(DIALECTS))}", param_hint="--dialect")
        console, file = screen(), Path(request)
        with complaints():
            if not _is_file(file):
                at = folder(config, data)
                raise typer.Exit(record(request, at, console, as_json=as_json))
            found, now_ms = catalog(config_file(config)), int(time() * 1000)
            raise typer.Exit(
                preview(file.read_bytes(), found, console, now_ms, dialect, as_json=as_json)
            )

    return explain_command


def preview(
    body: bytes,
    catalog: Catalog,
    console: Console,
    now_ms: int,
    dialect: str | None = None,
    *,
    as_json: bool = False,
) -> int:
    """The exit status: 1 when nobody would be asked. Raises what the gateway would raise for a
    request that is no request, or asks for what does not exist."""
    request = DIALECTS[dialect or guessed(body)].parse_request(body, {})
    # As everybody sees it who has no key, at a start: nothing measured, nobody down.
    today = windows_at(now_ms).today
    view = View(now_s=0.0, today=today, dice=0.0, catalog=catalog, at_ms=now_ms)
    considered = consider(request, LOCAL, view)
    told = explained(considered)
    if as_json:
        print_json(console, msgspec.Raw(told))
    else:
        explanation.show(console, explanation.read(told))
        if considered.plan is None:
            console.print(Text(refusal(request, considered, view).message))
    return 0 if considered.plan is not None else 1


def record(
    request_id: str,
    at: Folder,
    console: Console,
    *,
    as_json: bool = False,
    timezone: tzinfo | None = None,
) -> int:
    """Raises NotFound and BadRequest when no request or several begin with this."""
    entry = Journal(records(at)).find(request_id)
    if as_json:
        plan = msgspec.Raw(entry.plan.encode()) if entry.plan else None
        print_json(console, {**recorded(entry), "plan": plan})
        return 0
    console.print(facts(_asked(entry, timezone)))
    if entry.plan:
        console.print()
        explanation.show(console, explanation.read(entry.plan.encode()))
    if entry.attempted:
        console.print(Text.assemble(("\nwhat happened", "bold"), (f"  {entry.attempts}", "dim")))
        attempts = _attempts(entry.attempted, gap(console.width))
        console.print(Padding(attempts, (0, 0, 0, INDENT)))
    console.print()
    console.print(_outcome(entry))
    console.print(facts(_came_to(entry)))
    return 0


def guessed(body: bytes) -> str:
    """The dialect of a body that does not say: Anthropic's is told by what only it has."""
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "openai_chat"  # whose parser says what is wrong
    if not isinstance(asked, dict):
        return "openai_chat"
    if "input" in asked and "messages" not in asked:
        return "openai_embeddings"
    if "max_tokens" in asked and (ANTHROPIC_FIELDS & asked.keys() or _in_blocks(asked)):
        return "anthropic_messages"
    return "openai_chat"


def _in_blocks(asked: Mapping[str, Any]) -> bool:
    """Whether contents are lists of blocks as Anthropic has them, and nobody is ``system``."""
    messages = asked.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        return False
    roles = {each.get("role") for each in messages}
    blocks = [
        block
        for message in messages
        if isinstance(content := message.get("content"), list)
        for block in content
    ]
    kinds = {str(block.get("type")) for block in blocks if isinstance(block, dict)}
    return bool(kinds) and kinds <= ANTHROPIC_BLOCKS and roles <= {"user", "assistant"}


def _is_file(path: Path) -> bool:
    """What looks like a file's name and is none, is not looked for in the records."""
    if path.is_file():
        return True
    if path.suffix or len(path.parts) > 1 or path.exists():
        raise NotFound(f"there is no file {printable(str(path))}")
    return False


def _asked(entry: Entry, timezone: tzinfo | None) -> list[tuple[str, str]]:
    streaming = ", streaming" if entry.stream else ""
    return [
        ("request", entry.request_id),
        ("at", f"{moment(entry.at_ms, timezone):%Y-%m-%d %H:%M:%S %Z}"),
        ("key", entry.caller_name),
        ("asked", f"{entry.asked or 'nobody'} in {entry.dialect}{streaming}"),
        ("workflow", entry.workflow),
        ("step", entry.step),
    ]


def _attempts(attempts: tuple[Attempted, ...], gap: int) -> Table:
    made = table(gap, ("", "endpoint"), ("after", "took", "cost"), "result")
    broke = False
    for place, each in enumerate(attempts, 1):
        endpoint = Text(printable(each.endpoint))
        if each.credential:
            endpoint.append(f"\n{printable(each.credential)}", "dim")
        made.add_row(
            Text(str(place), "dim"),
            endpoint,
            Text(duration(each.began_ms)),
            Text(duration(each.total_ms)),
            Text(charge(each.cost_nano_usd)),
            _became(each, "went on with the answer" if broke else "answered"),
        )
        broke |= each.failure == Failure.STREAM_BROKEN and each.first_token_ms is not None
    return made


def _became(attempted: Attempted, done: str) -> Text:
    status = "" if attempted.status is None else f" ({attempted.status})"
    failed = Text(f"{attempted.failure}{status}", "red")
    text = failed if attempted.failure else Text(done, "green")
    return text.append(f": {printable(attempted.message)}" if attempted.message else "", "dim")


def _outcome(entry: Entry) -> Text:
    if entry.outcome == "ok" and not entry.endpoint:
        return Text(printable(entry.reason), "bold green")  # replayed
    if entry.outcome == "ok":
        return Text(f"answered by {printable(entry.endpoint)}", "bold green")
    code = "" if entry.code == entry.outcome else f" {entry.code}"
    text = Text(f"{entry.outcome}: {entry.status}{code}", "bold red")
    if entry.outcome == "refused":
        text.append(f"\n{printable(entry.reason)}", "not bold default")
    return text


def _came_to(entry: Entry) -> list[tuple[str, str]]:
    """A refused request used nothing, and was never sent."""
    first, sent, used = entry.first_token_ms, entry.attempts > 0, entry.input_tokens is not None
    cost = f"{charge(entry.cost_nano)}; expected {charge(entry.expected_nano)}"
    if entry.baseline_nano is not None:
        cost += f"; the baseline {charge(entry.baseline_nano)}"
    before = f", {duration(entry.overhead_ms)} before it was sent" if sent else ""
    came = f"{tokens(entry.input_tokens)} in, {tokens(entry.output_tokens)} out"
    return [
        ("tokens", came if used else ""),
        ("cost", cost if sent else ""),
        ("first token", "" if first is None else f"after {duration(first)}"),
        ("in all", f"{duration(entry.total_ms)}{before}"),
        ("left behind", entry.dropped.replace(",", ", ")),
    ]
