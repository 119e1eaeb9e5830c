"""``fairlead logs``: a line a request, the newest last, and what follows."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from cli.kept import kept, printed, terminal
from facts import DAY_MS, NOON_MS, attempted, exchanged, refused
from fairlead.cli.logs import Outcome, fits, logs, logs_command
from fairlead.outside.folder import Folder
from fairlead.outside.journal import ADD, Entry, Filter, Journal
from fairlead.outside.store import Store
from fairlead.types.chat import Usage
from fairlead.types.errors import NotFound
from fairlead.types.facts import Fact

FLAGSHIP = attempted(model="claude-opus-5", endpoint="anthropic/claude-opus-5")
FACTS: tuple[Fact, ...] = (
    exchanged(request_id="019abc45de01aaaaaaaaaaaa", at_ms=NOON_MS - DAY_MS),
    exchanged(
        request_id="019abc45de02aaaaaaaaaaaa",
        at_ms=NOON_MS + 1000,
        asked="careful",
        task="mathematics",
        attempts=(attempted(failure="silent"), FLAGSHIP),
        usage=Usage(150_000, 1_234),
        cost_nano_usd=1_234_567_890,
        total_ms=62_345.0,
    ),
    exchanged(
        request_id="019abc45de03aaaaaaaaaaaa",
        at_ms=NOON_MS + 2000,
        asked="small",
        caller="k2",
        caller_name="nightly-batch",
        outcome="failed",
        status=502,
        code="upstream_error",
        cost_nano_usd=None,
        usage=None,
    ),
    refused(request_id="019abc45de04aaaaaaaaaaaa", at_ms=NOON_MS + 3000),
    exchanged(
        request_id="019abc45de05aaaaaaaaaaaa",
        at_ms=NOON_MS + 4000,
        outcome="cancelled",
        status=499,
        cost_nano_usd=0,
    ),
)
TABLE = """\
time     request      key      task      asked→model      outcome     try    tokens      cost   took
2026-11-23
12:00:00 019abc45de01 team     chat      auto→small       ok            1     10→50 $0.000001   1.1s
2026-11-24
12:00:01 019abc45de02 team     mathemat… careful→claude-… ok            2 150k→1.2k $1.234568  62.3s
12:00:02 019abc45de03 nightly… chat      small            failed 502    1             unknown   1.1s
12:00:03 019abc45de04 team               auto             refused 402                          0.3ms
12:00:04 019abc45de05 team     chat      auto→small       cancelled     1     10→50      free   1.1s
"""
LINES = TABLE.splitlines()
ANY = Filter()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return kept(tmp_path / "data", *FACTS)


def read(folder: Folder, wanted: Filter = ANY, number: int = 20, width: int = 100) -> list[str]:
    console = terminal(width)
    assert logs(folder, console, wanted, number, timezone=UTC) == 0
    return printed(console)


def ids(lines: list[str]) -> str:
    """The last digit of each request's short id."""
    return "".join(line[20] for line in lines[1:] if line[9:12] == "019")


def test_the_table_fits_a_hundred_columns(folder: Folder) -> None:
    assert read(folder) == LINES
    assert max(map(len, LINES)) == 100


def test_a_wider_terminal_has_room_for_names(folder: Folder) -> None:
    assert "careful→claude-opus-5 " in read(folder, width=120)[4]


def test_a_narrow_terminal_gets_fewer_columns(folder: Folder) -> None:
    lines = read(folder, width=80)

    assert max(map(len, lines)) <= 80
    assert lines[4] == (
        "12:00:01 019abc45de02 mathemat… careful→claude-opu… ok          $1.234568  62.3s"
    )


def test_on_a_very_narrow_one_no_id_and_no_outcome_is_cut(folder: Folder) -> None:
    lines = read(folder, width=60)

    assert max(map(len, lines)) <= 60
    assert lines[4] == "12:00:01 019abc45de02 careful→claude-… ok          $1.234568"


def test_times_are_local(folder: Folder) -> None:
    console = terminal()
    logs(folder, console, ANY, 1, timezone=timezone(timedelta(hours=13)))

    assert printed(console)[1:3] == ["2026-11-25", LINES[-1].replace("12:00:04", "01:00:04")]


def test_failures_are_red(folder: Folder) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True, color_system="standard")
    logs(folder, console, ANY, 20, timezone=UTC)
    tints = {
        line.split("019abc45de0")[1][0]: "\x1b[31m" in line
        for line in stream.getvalue().splitlines()
        if "019abc45de0" in line
    }

    assert tints == {"1": False, "2": False, "3": True, "4": True, "5": False}


@pytest.mark.parametrize(
    ("wanted", "number", "found"),
    [
        (ANY, 20, "12345"),
        (ANY, 2, "45"),
        (ANY, 0, ""),
        (Filter(caller="k2"), 20, "3"),
        (Filter(caller="nightly-batch"), 20, "3"),
        (Filter(model="claude-opus-5"), 20, "2"),
        (Filter(task="chat"), 20, "135"),
        (Filter(outcome="refused"), 20, "4"),
        (Filter(since_ms=NOON_MS + 2000), 20, "345"),
        (Filter(task="chat", outcome="ok"), 20, "1"),
    ],
)
def test_which_are_shown(folder: Folder, wanted: Filter, number: int, found: str) -> None:
    assert ids(read(folder, wanted, number)) == found


@pytest.mark.parametrize(
    "wanted",
    [
        ANY,
        Filter(caller="k2"),
        Filter(caller="nightly-batch"),
        Filter(model="small"),
        Filter(task="chat"),
        Filter(outcome="ok"),
        Filter(since_ms=NOON_MS + 1000),
    ],
)
def test_what_follows_is_chosen_as_what_is_there(folder: Folder, wanted: Filter) -> None:
    journal = Journal(Store(folder.database))
    chosen = [entry for entry in journal.follow(0) if fits(entry, wanted)]

    assert chosen == journal.recent(20, wanted)[::-1]


def test_nothing_fits(folder: Folder) -> None:
    assert read(folder, Filter(model="none")) == ["No request on record fits."]


def copy(folder: Folder, request_id: str) -> None:
    """Record a request as another process would: once more, under another id."""
    store = Store(folder.database)
    (row,) = store.read("SELECT * FROM exchange WHERE request_id LIKE '019abc45de03%'")
    store.write(ADD, (request_id, *tuple(row)[1:]))


def test_follow_shows_what_comes_until_interrupted(folder: Folder) -> None:
    def coming() -> Iterator[None]:
        copy(folder, "019abc45de06")
        yield
        yield
        copy(folder, "019abc45de07")
        copy(folder, "019abc45de08")
        yield
        raise KeyboardInterrupt

    console, steps = terminal(), coming()

    assert logs(folder, console, ANY, 1, lambda: next(steps), timezone=UTC) == 0
    assert ids(printed(console)) == "5678"


def test_follow_shows_only_what_is_wanted(folder: Folder) -> None:
    def coming() -> Iterator[None]:
        copy(folder, "019abc45de06")
        yield
        raise KeyboardInterrupt

    console, steps = terminal(), coming()
    logs(folder, console, Filter(outcome="ok"), 20, lambda: next(steps), timezone=UTC)

    assert ids(printed(console)) == "12"


def test_as_json_a_line_is_a_request(folder: Folder) -> None:
    stream = io.StringIO()
    logs(folder, Console(file=stream, width=20), ANY, 20, as_json=True)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    second = told[1]

    assert [each["request_id"][11] for each in told] == list("12345")
    assert second["at"] == "2026-11-24T12:00:01.000+00:00"
    assert (second["cost_usd"], second["expected_cost_usd"]) == ("1.23456789", "0.00000005")
    assert [each["failure"] for each in second["tries"]] == ["silent", ""]
    assert (told[2]["cost_usd"], told[2]["input_tokens"]) == (None, None)
    assert second.keys() == told[3].keys()
    assert not {"rowid", "plan", "cost_nano"} & second.keys()


def test_as_json_nothing_is_nothing(folder: Folder) -> None:
    stream = io.StringIO()
    logs(folder, Console(file=stream), Filter(model="none"), 20, as_json=True)

    assert stream.getvalue() == ""


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_callers_words_cannot_steer_the_terminal(tmp_path: Path, as_json: bool) -> None:
    hostile = "a\x1b[31m\x9b1m\n[red]b"
    folder = kept(tmp_path / "data", exchanged(asked=hostile, attempts=()))
    stream = io.StringIO()
    logs(folder, Console(file=stream, width=200), ANY, 20, as_json=as_json)

    assert not {"\x1b", "\x9b"} & set(stream.getvalue())
    assert "[red]b" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == (1 if as_json else 3)


def test_no_records(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there are no records"):
        logs(Folder(tmp_path / "none"), terminal(), ANY, 20)


APP = typer.Typer()
APP.command()(logs_command)


def run(folder: Folder, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(APP, [*arguments, "--data", str(folder.path)])
    return result.exit_code, result.output


def test_as_a_command(folder: Folder) -> None:
    wanted = ("--key", "team", "--model", "small", "--task", "chat", "--outcome", "ok")
    status, text = run(folder, "-n", "3", *wanted, "--json")

    assert (status, json.loads(text)["request_id"][11]) == (0, "1")
    assert run(folder, "--since", "1s")[0] == 0


def test_a_file_has_all_columns(folder: Folder) -> None:
    """Times are this machine's."""
    lines = [line.rstrip() for line in run(folder)[1].splitlines()]

    assert lines[0] == LINES[0]
    assert [line[8:] for line in lines if "019abc" in line] == [
        line[8:] for line in LINES if "019abc" in line
    ]


@pytest.mark.parametrize("option", ["--since=soon", "--outcome=good", "--task=fun", "-n=-1"])
def test_options_that_make_no_sense(folder: Folder, option: str) -> None:
    assert run(folder, option)[0] == 2


def test_no_records_as_a_command(tmp_path: Path) -> None:
    status, text = run(Folder(tmp_path / "none"))

    assert (status, text.count("\n")) == (1, 1)
    assert text.startswith(f"there are no records in {tmp_path}/none yet")


def test_a_database_that_is_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.database.write_bytes(b"not a database at all, but text\n" * 100)

    told = f"the records cannot be used: {folder.database}: file is not a database\n"
    assert run(folder) == (1, told)


def test_every_outcome_can_be_asked_for() -> None:
    (recorded,) = (each for each in msgspec.structs.fields(Entry) if each.name == "outcome")

    assert recorded.type == Outcome
