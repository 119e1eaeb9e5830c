"""``fairlead keys``: what is made, and that a key is seen once."""

import io
import json
import re
from datetime import UTC
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.kept import printed, terminal
from facts import DAY_MS, NOON_MS
from fairlead.cli import keys
from fairlead.outside import pepper
from fairlead.outside.folder import Folder
from fairlead.outside.store import Store
from fairlead.state.keys import Keys
from fairlead.state.keys import list_keys as kept_keys
from fairlead.types.decision import Caller, Limits
from fairlead.types.errors import BadRequest, NotFound

KEY = re.compile(r"fl-[\w-]{43}")
USD = 10**9
LIMITS = Limits(60, 400_000, 5 * USD, 100 * USD)
TEAM = Caller("", "team", ("auto", "sum*"), ("gpt-5-mini",), ("local", "eu"), LIMITS)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


def made(folder: Folder, caller: Caller = TEAM, at_ms: int = NOON_MS) -> tuple[str, str]:
    """The key, and all that was printed."""
    stream = io.StringIO()
    assert keys.create(caller, folder, Console(file=stream, width=40), at_ms) == 0
    return KEY.findall(stream.getvalue())[0], stream.getvalue()


def spend(folder: Folder, window: str, nano: int) -> None:
    (row,) = kept_keys(Store(folder.database))
    Store(folder.database).write(
        "INSERT INTO spend VALUES (?, ?, ?)", (row.caller.id, window, nano)
    )


def run(folder: Folder, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(keys.program, [*arguments, "--data", str(folder.path)])
    return result.exit_code, result.output


def test_a_key_that_was_made_is_recognised_with_all_it_may(folder: Folder) -> None:
    key, _ = made(folder)
    known = Keys(pepper.load(folder.pepper), kept_keys(Store(folder.database)))
    caller = known.identify(key)

    assert (caller.name, caller.routes, caller.models) == ("team", TEAM.routes, TEAM.models)
    assert (caller.zones, caller.limits) == (TEAM.zones, LIMITS)


def test_it_is_shown_whole_however_narrow_the_terminal_and_how_to_use_it(folder: Folder) -> None:
    key, text = made(folder)

    assert text.startswith(f"{key}\n\nThis key is shown once")
    assert f"-H 'authorization: Bearer {key}'\n" in text
    assert (
        "may use routes auto, sum*, model gpt-5-mini, zones local, eu; 60 requests a minute" in text
    )
    assert "400k tokens a minute, $5 a day, $100 a month.\n" in text
    assert re.search(r"`fairlead keys revoke key_\w{12}` ends it\.\n$", text)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:4711", "127.0.0.1:4711"),
        ("0.0.0.0:4711", "127.0.0.1:4711"),
        ("'[::1]:4711'", "[::1]:4711"),
    ],
)
def test_how_to_use_it_is_told_for_the_gateway_that_is_configured(
    tmp_path: Path, listen: str, address: str
) -> None:
    config = tmp_path / "f.yaml"
    config.write_text(f"server: {{listen: {listen}, data: {tmp_path / 'data'}}}")

    result = CliRunner().invoke(keys.program, ["create", "a", "--config", str(config)])

    assert f"curl http://{address}/v1/models" in result.output


def test_the_first_one_closes_the_door_and_says_so(folder: Folder) -> None:
    first, second = made(folder)[1], made(folder, Caller("", "other"))[1]

    assert "from now on every request needs a key" in first
    assert "from now on" not in second


def test_what_is_not_limited_is_said_to_be(folder: Folder) -> None:
    assert "may use everything; no limits.\n" in made(folder, Caller("", "all"))[1]


def test_nothing_else_shows_the_key_or_its_digest(folder: Folder) -> None:
    key, _ = made(folder)
    (row,) = kept_keys(Store(folder.database))
    shown = [run(folder, "list"), run(folder, "list", "--json"), run(folder, "revoke", "team")]

    for status, text in shown:
        assert status == 0
        assert key[3:20] not in text
        assert row.digest.hex()[:16] not in text


def test_the_whole_command_line(folder: Folder) -> None:
    status, text = run(
        folder,
        *("create", "team", "--route", "auto", "--route", "sum*", "--model", "gpt-5-mini"),
        *("--zone", "local", "--zone", "eu", "--requests-per-minute", "60"),
        *("--tokens-per-minute", "400k", "--budget-day", "$5", "--budget-month", "100", "--json"),
    )
    told = json.loads(text)

    assert status == 0
    assert KEY.fullmatch(told.pop("key"))
    assert told.pop("id").startswith("key_")
    assert told.pop("created_at").endswith("+00:00")
    assert told == {
        "name": "team",
        "state": "in force",
        "revoked_at": None,
        "routes": ["auto", "sum*"],
        "models": ["gpt-5-mini"],
        "zones": ["local", "eu"],
        "requests_per_minute": 60,
        "tokens_per_minute": 400_000,
        "budget_day_usd": "5",
        "budget_month_usd": "100",
        "spent_today_usd": "0",
        "spent_this_month_usd": "0",
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--budget-day", "00"),
        ("--budget-month", "-1"),
        ("--budget-day", "0.0000000001"),
        ("--tokens-per-minute", "many"),
        ("--tokens-per-minute", "0"),
        ("--requests-per-minute", "0.5"),
        ("--requests-per-minute", "99999999999999999999"),
    ],
)
def test_a_wrong_limit_makes_no_key(folder: Folder, option: str, value: str) -> None:
    status, text = run(folder, "create", "team", option, value)

    assert status == 2
    assert option in text
    assert not folder.path.exists()


def test_a_name_that_is_taken(folder: Folder) -> None:
    made(folder)
    with pytest.raises(BadRequest):
        made(folder)

    assert run(folder, "create", "team") == (
        1,
        "there is a key named 'team': revoke it, or choose another name\n",
    )


@pytest.mark.parametrize("name", ["", "a\nb", "\udcff", "key_1"])
def test_a_name_that_is_none(folder: Folder, name: str) -> None:
    status, text = run(folder, "create", name)

    assert (status, text.count("\n")) == (1, 1)
    assert "a key's name has 1 to 100 characters" in text


def test_no_key_is_made_with_another_pepper_than_those_in_force(folder: Folder) -> None:
    made(folder)
    folder.pepper.unlink()

    status, text = run(folder, "create", "second")

    assert status == 1
    assert text.startswith(f"{folder.pepper} is missing")
    assert not folder.pepper.exists()
    assert len(kept_keys(Store(folder.database))) == 1

    run(folder, "revoke", "team")
    assert run(folder, "create", "second")[0] == 0


def test_the_list(folder: Folder) -> None:
    made(folder)
    spend(folder, "day:2026-11-24", 123_456_789)
    spend(folder, "month:2026-11", 3_400_000_000)
    made(folder, Caller("", "old"), NOON_MS + 1)
    keys.revoke("old", folder, terminal(), NOON_MS + DAY_MS)
    console = terminal(80)

    assert keys.list_keys(folder, console, NOON_MS, timezone=UTC) == 0
    lines = [re.sub(r"key_\w{12}", "key_0123456789ab", line) for line in printed(console)]
    blank = lines.index("", 2)
    assert (
        lines[0] == "key               state               may use            limits and spending"
    )
    assert lines[2:blank] == [
        "team              in force            routes auto, sum*  60 requests a minute",
        "key_0123456789ab  since 2026-11-24    model gpt-5-mini   400k tokens a minute",
        "                                      zones local, eu    today $0.1235 of $5",
        "                                                         month $3.4000 of $100",
    ]
    assert lines[blank + 1 : blank + 3] == [
        "old               revoked 2026-11-25  everything         today $0",
        "key_0123456789ab  made 2026-11-24                        month $0",
    ]


def test_the_list_on_a_narrow_terminal_tears_no_word(folder: Folder) -> None:
    made(folder, Caller("", "two words", limits=Limits(1, None, 10_000, None)))
    keys.revoke("two words", folder, terminal(), NOON_MS + DAY_MS)
    console = terminal(60)

    assert keys.list_keys(folder, console, NOON_MS, timezone=UTC) == 0
    lines = [re.sub(r"key_\w{12}", "key_0123456789ab", line) for line in printed(console)]
    assert lines[0] == "key                 may use     limits and spending"
    assert lines[2:6] == [
        "two words           everything  1 request a minute",
        "key_0123456789ab                today $0 of $0.00001",
        "revoked 2026-11-25              month $0",
        "made 2026-11-24",
    ]


def test_what_was_spent_on_other_days_is_not_told(folder: Folder) -> None:
    made(folder)
    spend(folder, "day:2026-11-23", 7)
    spend(folder, "month:2026-10", 7)
    stream = io.StringIO()
    keys.list_keys(folder, Console(file=stream), NOON_MS, as_json=True)
    (told,) = json.loads(stream.getvalue())["keys"]

    assert (told["spent_today_usd"], told["spent_this_month_usd"]) == ("0", "0")


def test_the_list_as_json_is_exact(folder: Folder) -> None:
    made(folder)
    spend(folder, "day:2026-11-24", 123_456_789)
    stream = io.StringIO()
    keys.list_keys(folder, Console(file=stream, width=20), NOON_MS, as_json=True)
    (told,) = json.loads(stream.getvalue())["keys"]

    assert (told["name"], told["spent_today_usd"]) == ("team", "0.123456789")
    assert told["created_at"] == "2026-11-24T12:00:00+00:00"


def test_without_keys_it_says_who_may_call(folder: Folder) -> None:
    Store(folder.database)

    assert run(folder, "list")[1].startswith("There are no keys: whoever reaches the gateway may")


def test_without_records_only_create_makes_some(folder: Folder) -> None:
    for arguments in (["list"], ["revoke", "team"]):
        status, text = run(folder, *arguments)
        assert (status, text.count("\n")) == (1, 1)
        assert "there are no records in" in text
    assert not folder.path.exists()
    assert run(folder, "create", "team")[0] == 0
    assert folder.pepper.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("by", ["id", "name"])
def test_revoke(folder: Folder, by: str) -> None:
    made(folder)
    (row,) = kept_keys(Store(folder.database))
    wanted = row.caller.id if by == "id" else "team"

    assert run(folder, "revoke", wanted) == (0, f"{wanted} is revoked\n")
    assert kept_keys(Store(folder.database))[0].revoked_ms is not None
    assert run(folder, "revoke", wanted)[0] == 1


@pytest.mark.parametrize("name", ["nobody", "[red]nobody", "\x1b[31m"])
def test_revoke_who_is_not_there(folder: Folder, name: str) -> None:
    made(folder)
    with pytest.raises(NotFound):
        keys.revoke(name, folder, terminal(), NOON_MS)

    status, text = run(folder, "revoke", name)
    assert (status, "\x1b" in text) == (1, False)
    assert text == f"there is no key in force with the id or name {name!r}\n"


def test_bytes_that_are_no_text(folder: Folder) -> None:
    made(folder)

    assert run(folder, "revoke", "\udcff") == (
        1,
        "some of this text cannot be written in the encoding in use\n",
    )
