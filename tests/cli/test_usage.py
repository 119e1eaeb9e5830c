"""``fairlead usage``: sums, what is unknown beside them, and savings."""

import io
import json
from datetime import UTC
from pathlib import Path
from typing import get_args

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from cli.kept import kept, printed, terminal
from facts import DAY_MS, NOON_MS, attempted, exchanged, refused
from fairlead.cli.usage import saved_percent, usage, usage_command
from fairlead.outside.folder import Folder
from fairlead.outside.journal import UsageBy, UsageRow
from fairlead.types.chat import Usage
from fairlead.types.errors import NotFound
from fairlead.types.facts import Fact

USD = 10**9
FLAGSHIP = attempted(model="flagship", endpoint="acme/flagship")
FACTS: tuple[Fact, ...] = (
    exchanged(
        request_id="a",
        attempts=(FLAGSHIP,),
        usage=Usage(150_000, 1_200),
        cost_nano_usd=2 * USD,
        baseline_nano_usd=2 * USD,
    ),
    exchanged(request_id="b", cost_nano_usd=USD // 2, baseline_nano_usd=2 * USD),
    exchanged(request_id="c", outcome="failed", cost_nano_usd=None, task="code"),
    exchanged(request_id="d", at_ms=NOON_MS - DAY_MS, cost_nano_usd=0, baseline_nano_usd=USD),
    refused(request_id="e", caller="", caller_name=""),
)
FOOT = ["", "since 2026-11-01 00:00"]
NOVEMBER_MS = NOON_MS - 23 * DAY_MS - DAY_MS // 2
BASELINE = "saved: against the baseline (server.baseline, else the strongest model)"
UNKNOWN = "unknown: requests whose cost nobody knows; they are in no amount"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return kept(tmp_path / "data", *FACTS)


def read(
    folder: Folder, by: UsageBy = "model", since_ms: int = NOVEMBER_MS, width: int = 100
) -> list[str]:
    console = terminal(width)
    assert usage(folder, console, by, since_ms, timezone=UTC) == 0
    return printed(console)


def as_json(folder: Folder, by: UsageBy = "model", since_ms: int = 0) -> dict[str, object]:
    stream = io.StringIO()
    assert usage(folder, Console(file=stream, width=20), by, since_ms, as_json=True) == 0
    told: dict[str, object] = json.loads(stream.getvalue())
    return told


def test_the_table(folder: Folder) -> None:
    assert read(folder) == [
        "model       requests  failed  refused    in   out     cost  unknown  saved",
        "flagship           1       0        0  150k  1.2k  $2.0000        0     0%       $0",
        "small              3       1        0    30   150  $0.5000        1    83%  $2.5000",
        "(no model)         1       0        1     0     0       $0        0",
        "total              5       1        1  150k  1.3k  $2.5000        1    50%  $2.5000",
        *FOOT,
        BASELINE,
        UNKNOWN,
    ]


def test_a_narrow_terminal_leaves_out_the_amount_saved(folder: Folder) -> None:
    lines = read(folder, width=80)

    assert lines[0] == "model      requests failed refused   in  out    cost unknown saved"
    assert lines[2] == "small             3      1       0   30  150 $0.5000       1   83%"


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("model", ["flagship", "small", "(no model)"]),
        ("endpoint", ["acme/flagship", "acme/small", "(no endpoint)"]),
        ("key", ["team", "(nobody)"]),
        ("task", ["chat", "(no task)", "code"]),
        ("day", ["2026-11-23", "2026-11-24"]),
    ],
)
def test_by(folder: Folder, by: UsageBy, names: list[str]) -> None:
    """The dearest first; days in their order."""
    lines = read(folder, by)
    end = lines.index("")

    assert lines[0].startswith(by)
    assert [line.split("  ")[0] for line in lines[1:end]] == [*names, "total"]


def test_where_every_cost_is_known_nothing_is_said_of_it(tmp_path: Path) -> None:
    lines = read(kept(tmp_path / "data", FACTS[0]))

    assert "unknown" not in " ".join(lines)


def test_since(folder: Folder) -> None:
    assert read(folder, since_ms=NOON_MS)[-5].split()[:2] == ["total", "4"]
    assert read(folder, since_ms=NOON_MS + 1) == ["No request on record since 2026-11-24 12:00."]


@pytest.mark.parametrize(
    ("saved", "baseline", "percent"),
    [(0, 0, None), (500, 1000, 50), (995, 1000, 100), (994, 1000, 99), (-1500, 1000, -150)],
)
def test_percent(saved: int, baseline: int, percent: int | None) -> None:
    row = UsageRow("x", 1, 0, 0, 0, 0, 0, 0, baseline, saved)

    assert saved_percent(row) == percent


def test_what_routing_cost_more_than_the_baseline_is_told_too(tmp_path: Path) -> None:
    dear = exchanged(cost_nano_usd=2 * USD, baseline_nano_usd=USD)

    assert read(kept(tmp_path / "data", dear))[1].endswith("-100%  -$1.0000")


def test_as_json_amounts_are_exact(folder: Folder) -> None:
    told = as_json(folder)

    assert (told["by"], told["since"]) == ("model", "1970-01-01T00:00:00+00:00")
    assert told["total"] == {
        "name": "total",
        "requests": 5,
        "failures": 1,
        "refused": 1,
        "input_tokens": 150_030,
        "output_tokens": 1_350,
        "cost_usd": "2.5",
        "unknown_costs": 1,
        "baseline_usd": "5",
        "saved_usd": "2.5",
        "saved_percent": 50,
    }
    rows = told["rows"]
    assert isinstance(rows, list)
    assert [row["name"] for row in rows] == ["flagship", "small", ""]


def test_as_json_nothing_is_an_empty_list(folder: Folder) -> None:
    assert as_json(folder, since_ms=NOON_MS + 1)["rows"] == []


def test_no_records(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        usage(Folder(tmp_path / "none"), terminal(), "model", 0)


def test_as_a_command(folder: Folder) -> None:
    app = typer.Typer()
    app.command()(usage_command)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--data", str(folder.path)])
        return result.exit_code, result.output

    for by in get_args(UsageBy):
        status, text = run("--by", by, "--since", "20000d", "--json")
        assert (status, json.loads(text)["total"]["requests"]) == (0, 5)
    assert run("--by", "mood")[0] == 2
    assert run("--since", "soon")[0] == 2
