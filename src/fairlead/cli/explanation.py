"""A decision as people read it: printed from its JSON, whether it was just made or is on record.
Decides nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fairlead.cli.figures import charge, duration, tokens
from fairlead.cli.screen import NARROW
from fairlead.decide.cost import NANO_PER_USD
from fairlead.decide.plan import HARD, MIDDLING
from fairlead.outside.config.problems import printable
from fairlead.types.decision import Rejected, Score
from fairlead.types.errors import OurError

INDENT = 2
WIDE = 100


class Task(Struct, frozen=True):
    kind: str
    difficulty: float
    input_tokens: int
    output_tokens: int
    needs: tuple[str, ...] = ()
    cues: tuple[str, ...] = ()


class Candidate(Struct, frozen=True):
    endpoint: str
    zone: str
    score: Score
    expected_cost_usd: str | None
    expected_ms: int
    credential: str = ""
    max_output_tokens: int | None = None
    last_resort: str | bool = ""
    """Why; earlier records say only that it is so."""


class Explanation(Struct, frozen=True):
    """What ``decide.explain`` writes, as far as it is printed."""

    route: str
    task: Task
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...]
    reason: str = ""
    expected_cost_usd: str | None = None
    baseline_cost_usd: str | None = None
    max_attempts: int | None = None
    deadline_s: float | None = None


def read(told: bytes) -> Explanation:
    """Raises OurError for a plan that another version put on record in another shape."""
    try:
        return msgspec.json.decode(told, type=Explanation)
    except msgspec.DecodeError:
        raise OurError("the plan on record has a shape that is not known here") from None


def show(console: Console, told: Explanation) -> None:
    for part in parts(told, gap(console.width), narrow=console.width < NARROW):
        console.print(part)


def gap(width: int) -> int:
    """Between columns: long names need the room more."""
    return 2 if width >= WIDE else 1


def parts(told: Explanation, gap: int, *, narrow: bool) -> Iterator[RenderableType]:
    yield _facts(told)
    if told.candidates:
        yield Text()
        yield _heading("candidates, in order", told.candidates)
        yield _candidates(told.candidates, gap, narrow=narrow)
    if told.rejected:
        yield Text()
        yield _heading("left out", told.rejected)
        yield _rejected(told.rejected, gap)
    yield Text()
    yield _verdict(told)


def table(gap: int, left: Sequence[str], right: Sequence[str] = (), last: str = "") -> Table:
    """Headings of columns of words, of numbers, and of one more column of words."""
    made = Table(box=None, padding=(0, gap, 0, 0), header_style="dim", pad_edge=False)
    for heading in left:
        made.add_column(heading, overflow="fold")
    for heading in right:
        made.add_column(heading, justify="right", no_wrap=True)
    if last:
        made.add_column(last, overflow="fold")
    return made


def facts(rows: Sequence[tuple[str, str]]) -> Table:
    """What is known, a line each, behind what it is; without those of which nothing is."""
    grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for what, text in rows:
        if text:
            grid.add_row(what, Text(printable(text)))
    return grid


def _facts(told: Explanation) -> Table:
    task = told.task
    grade = "hard" if task.difficulty >= HARD else "easy"
    if MIDDLING <= task.difficulty < HARD:
        grade = "medium"
    attempts, deadline = told.max_attempts, told.deadline_s
    bounds = f", {attempts} attempts at most" if attempts is not None else ""
    bounds += f", within {duration(deadline * 1000)}" if deadline is not None else ""
    return facts(
        [
            ("task", f"{task.kind}, {grade} (difficulty {task.difficulty:.2f})"),
            (
                "tokens",
                f"about {tokens(task.input_tokens)} in, {tokens(task.output_tokens)} out",
            ),
            ("needs", ", ".join(task.needs)),
            ("cues", ", ".join(task.cues)),
            ("route", f"{told.route}{bounds}"),
        ]
    )


def _heading(text: str, of: Sequence[object]) -> Text:
    return Text.assemble((text, "bold"), (f"  {len(of)}", "dim"))


def _candidates(candidates: Sequence[Candidate], gap: int, *, narrow: bool) -> RenderableType:
    # Two lines of headings: the scores' parts, and what is expected.
    parts = ("\nquality", "\ncost", "\nspeed")[: 0 if narrow else 3]
    numbers = ("score\ntotal", *parts, "expected\ncost", "\ntime")
    made = table(gap, ("", "\nendpoint", "\nzone"), numbers)
    times = Counter(each.endpoint for each in candidates)
    for place, each in enumerate(candidates, 1):
        first = "bold green" if place == 1 else ""
        score = each.score
        shown = () if narrow else (score.quality, score.cost, score.speed)
        made.add_row(
            Text(str(place), "dim"),
            _endpoint(each, first, several=times[each.endpoint] > 1),
            Text(each.zone),
            Text(f"{score.total:.3f}", first or "bold"),
            *(Text(f"{part:.2f}", "dim") for part in shown),
            Text(charge(_nano_usd(each.expected_cost_usd))),
            Text(duration(each.expected_ms)),
        )
    return Padding(made, (0, 0, 0, INDENT))


def _endpoint(candidate: Candidate, style: str, *, several: bool) -> Text:
    """Under its name what tells it from others of this name, the cap that a budget sets, and why
    it is to be asked last."""
    text = Text(printable(candidate.endpoint), style)
    if several and candidate.credential:
        text.append(f"\n{printable(candidate.credential)}", "dim not bold")
    if candidate.max_output_tokens is not None:
        cap = f"\nat most {tokens(candidate.max_output_tokens)} tokens, by its budget"
        text.append(cap, "yellow not bold")
    if candidate.last_resort:
        why = f": {candidate.last_resort}" if isinstance(candidate.last_resort, str) else ""
        text.append(f"\nlast resort{printable(why)}", "yellow not bold")
    return text


def _rejected(rejected: Sequence[Rejected], gap: int) -> RenderableType:
    made = table(gap, ("endpoint", "rule"), last="because")
    for each in rejected:
        made.add_row(
            Text(printable(each.endpoint)),
            Text(each.rule, "yellow"),
            Text(printable(each.reason), "dim"),
        )
    return Padding(made, (0, 0, 0, INDENT))


def _verdict(told: Explanation) -> Text:
    if not told.candidates:
        return Text("Nobody is left.", "bold red")
    text = Text(printable(told.reason), "bold")
    baseline = _nano_usd(told.baseline_cost_usd)
    if baseline is not None:
        expected = charge(_nano_usd(told.expected_cost_usd))
        text.append(f"\n{expected} expected; the baseline: {charge(baseline)}", "not bold dim")
    return text


def _nano_usd(usd: str | None) -> int | None:
    """Exact: what was printed has nine decimals at most."""
    return None if usd is None else int(Decimal(usd) * NANO_PER_USD)
