"""Prints the demo as it goes: two lines a step, what goes wrong, and the bill at the end."""

import re
from io import StringIO
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fairlead.cli.demo.result import Done, Totals
from fairlead.cli.demo.story import STEPS, Step, Twist

WIDTH = 80
BAR_WIDTH = 46
COLUMNS = (2, 20, 11, 12, 9, 3, 9, 6)
RIGHT = (0, 5, 6, 7)
"""Columns whose content is aligned to the right."""
HEADINGS = ("", "step", "task", "model", "provider", "try", "cost", "time")
SIMULATED = "A real gateway and the official SDKs; the models and their prices are simulated."
NEXT = "Now with models of your own: `make serve`, or `fairlead serve` once installed."
TINTS = {"sim-large": "magenta", "sim-mid": "cyan", "sim-local": "yellow"}
TINT = "green"
"""Of the small and cheap models."""

# The template of rich without its fonts from a content network: a picture loads nothing.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Screen:
    """Use as ``with``: the line of the running step is drawn while inside. ``picture`` records
    what stays on the screen."""

    def __init__(self, console: Console, picture: Console | None = None) -> None:
        self._consoles = (console,) if picture is None else (console, picture)
        self._live = Live(console=console, transient=True, refresh_per_second=12)

    def __enter__(self) -> "Screen":
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def opening(self, address: str) -> None:
        told = f": an incident in {len(STEPS)} steps, through {address}"
        self._print(Text.assemble(("Fairlead demo", "bold"), told))
        self._print(Text(SIMULATED, style="dim"))
        self._print(Text())
        self._print(_row(*(Text(heading, style="dim") for heading in HEADINGS)))

    def began(self, number: int, step: Step) -> None:
        running = Spinner("dots", text=Text(step.title, style="dim"))
        self._live.update(_indented(running, Text(str(number))), refresh=True)

    def twist(self, twist: Twist) -> None:
        good = twist.fault is None
        sign, tint = ("▲", "green") if good else ("▼", "red")
        self._print(Text(f"\n{sign} {twist.title}\n", style=f"bold {tint}"))

    def done(self, done: Done) -> None:
        self._live.update(Text(), refresh=True)
        self._print(Group(_result(done), _indented(_why(done))))

    def closing(self, total: Totals, elapsed_s: float, speed: float) -> None:
        self._print(Text())
        self._print(_bill(total))
        self._print(Text())
        self._print(_verdict(total, elapsed_s, speed))
        self._print(Text(NEXT, style="dim"))

    def _print(self, what: RenderableType) -> None:
        for console in self._consoles:
            console.print(what, width=WIDTH)


def recorder() -> Console:
    return Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, highlight=False)


def export_svg(picture: Console) -> str:
    """What was printed on a recorder, as a picture that fetches nothing."""
    drawn = picture.export_svg(title="fairlead demo", code_format=SVG, unique_id="fairlead")
    return re.sub(r"[ \t]+\n", "\n", drawn)


def _row(*cells: RenderableType) -> Table:
    grid = Table.grid(padding=(0, 1))
    for at, width in enumerate(COLUMNS):
        grid.add_column(width=width, justify="right" if at in RIGHT else "left", no_wrap=True)
    grid.add_row(*cells)
    return grid


def _result(done: Done) -> Table:
    if done.error:
        return _row(Text(str(done.step)), Text(done.title), Text("failed", style="bold red"))
    provider = done.endpoint.split("/", 1)[0]
    zone = Text(provider, style="bold yellow" if done.home else "dim")
    tries = Text(str(done.attempts), style="bold red" if done.failed else "dim")
    return _row(
        Text(str(done.step), style="dim"),
        Text(done.title, style="bold"),
        Text(done.task),
        Text(done.model, style=TINTS.get(done.model, TINT)),
        zone,
        tries,
        Text(_dollars(done.cost_nano_usd)),
        Text(_duration(done.latency_ms), style="dim"),
    )


def _why(done: Done) -> Text:
    # Who answered stands in the line above, unless it is not who was chosen.
    told = done.explained.removeprefix(f"{done.model}: ")
    why = Text(told, style="red" if done.error else "dim")
    if done.home:
        why = Text.assemble((f"must stay in zone {done.home}; ", "yellow"), why)
    why.highlight_regex(r"\S+ failed \(\w+\)", "not dim red")
    return why


def _indented(what: RenderableType, number: RenderableType = "") -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=COLUMNS[0], justify="right")
    grid.add_column(width=WIDTH - COLUMNS[0] - 2)
    grid.add_row(number, what)
    return grid


def _bill(total: Totals) -> Table:
    """Two bars: what was paid, and what the flagship would have cost for every step."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=20)
    grid.add_column(width=10, justify="right")
    grid.add_column()
    cost, flagship = total.cost_nano_usd, total.flagship_nano_usd
    longest = max(cost or 0, flagship or 0, 1)
    for title, amount, tint in (
        ("routed", cost, "green"),
        ("all to the flagship", flagship, "magenta"),
    ):
        cells = max(1, (amount or 0) * BAR_WIDTH // longest)
        grid.add_row(title, Text(_dollars(amount), style="bold"), Text("━" * cells, style=tint))
    return grid


def _verdict(total: Totals, elapsed_s: float, speed: float) -> Text:
    cost, flagship = total.cost_nano_usd, total.flagship_nano_usd
    text = Text(
        f"{_counted(total.steps, 'step')}, {_counted(total.models_used, 'model')}, "
        f"{_counted(total.failovers, 'failover')}"
    )
    if cost is not None and flagship:
        text.append(", ")
        text.append(f"{100 - 100 * cost // flagship}% saved", style="bold green")
    text.append(f", {elapsed_s:.1f} s (models at {speed:g}x speed).\n")
    if total.failed:
        text.append(f"{_counted(total.failed, 'step')} failed.\n", style="bold red")
    if total.left_zone:
        told = f"{_counted(total.left_zone, 'sensitive request')} left their zone"
        text.append(f"{told}, by the providers' own logs.", style="bold red")
    else:
        text.append("Personal data left its zone 0 times, by the providers' own logs.", "green")
    return text


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _dollars(nano_usd: int | None) -> str:
    """Rounded to a millionth of a dollar; what is nothing, is free."""
    if nano_usd is None:
        return "unknown"
    if nano_usd == 0:
        return "free"
    millionths = max(1, (nano_usd + 500) // 1000)
    return f"${millionths // 1_000_000}.{millionths % 1_000_000:06}"


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
