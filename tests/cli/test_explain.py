"""``fairlead explain``: one picture of a decision, made just now or on record."""

import io
import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from cli.kept import kept, printed, terminal
from decide.pool import (
    ANYONE,
    FLAGSHIP,
    LOCAL,
    MARKET,
    MID,
    SMALL,
    ask,
    catalog,
    changed,
    keyed,
    view,
)
from facts import attempted, exchanged, refused
from fairlead.cli.explain import LoadCatalog, command, guessed, preview, record
from fairlead.cli.explanation import read, show
from fairlead.decide import consider, decide
from fairlead.decide.explain import as_json as explained
from fairlead.dialects import DIALECTS
from fairlead.outside.config import ConfigError
from fairlead.outside.config.problems import Problem
from fairlead.outside.folder import Folder
from fairlead.types.catalog import Catalog, Shift
from fairlead.types.chat import Narrowing
from fairlead.types.decision import Vitals
from fairlead.types.errors import BadRequest, NotFound, OurError, UnknownModel

NOW_MS = 1_795_521_600_000
"""2026-11-24, noon in UTC."""
HELLO = {"role": "user", "content": "Extract the date"}
BODY: dict[str, Any] = {"model": "auto", "messages": [HELLO]}
AT_HOME = BODY | {"metadata": {"fairlead.zone": "local"}}
EXTRACT = ask("Extract the date", narrowing=Narrowing(zones=("cloud",)))
DECIDED = """\
task    extract, easy (difficulty 0.12)
tokens  about 9 in, 40 out
cues    extract
route   auto, 3 attempts at most, within 10m

candidates, in order  2
                           score                         expected
     endpoint       zone   total  quality  cost  speed       cost   time
  1  bolt/small     cloud  0.995     0.99  1.00   1.00  $0.000082  572ms
  2  acme/flagship  cloud  0.750     1.00  0.00   0.00  $0.001045   2.6s

left out  1
  endpoint    rule  because
  house/tiny  zone  zone 'local' is not among those of the request: cloud

small: extract, easy; good enough (0.99) at 1/12 of the cost of flagship
$0.000082 expected; the baseline: $0.001045
""".splitlines()
HAPPENED = """\
what happened  2
     endpoint       after  took       cost  result
  1  acme/flagship  0.5ms  80ms       free  rate_limit (429): slow down
     env:A
  2  bolt/small      95ms  1.1s  $0.000079  answered

answered by bolt/small
tokens       10 in, 50 out
cost         $0.000079; expected $0.000082; the baseline $0.001045
first token  after 101ms
in all       1.1s, 0.5ms before it was sent
left behind  user, seed
""".splitlines()
PLAN = explained(decide(EXTRACT, ANYONE, view(SMALL, LOCAL, FLAGSHIP)))
ENTRY = exchanged(
    request_id="019abc45de01f3a9c0b1d2e3",
    plan=PLAN,
    attempts=(
        attempted(
            endpoint="acme/flagship",
            began_ms=0.5,
            total_ms=80.0,
            failure="rate_limit",
            status=429,
            message="slow down",
            cost_nano_usd=0,
        ),
        attempted(endpoint="bolt/small", began_ms=95.0, credential="", cost_nano_usd=79_000),
    ),
    cost_nano_usd=79_000,
    expected_cost_nano_usd=82_250,
    baseline_nano_usd=1_045_000,
    dropped=("user", "seed"),
    workflow="nightly",
)
REFUSED = refused(request_id="019abc45de02f3a9c0b1d2e3", message="budget used up")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return kept(tmp_path / "data", ENTRY, REFUSED)


def drawn(told: bytes, width: int = 100) -> list[str]:
    console = terminal(width)
    show(console, read(told))
    return printed(console)


def previewed(body: dict[str, Any], market: Catalog | None = None) -> tuple[int, list[str]]:
    console = terminal()
    status = preview(json.dumps(body).encode(), market or catalog(*MARKET), console, NOW_MS)
    return status, printed(console)


def looked_up(folder: Folder, request_id: str = "019abc45de01", width: int = 100) -> list[str]:
    console = terminal(width)
    assert record(request_id, folder, console, timezone=UTC) == 0
    return printed(console)


def test_the_whole_picture() -> None:
    assert drawn(explained(consider(EXTRACT, ANYONE, view(SMALL, LOCAL, FLAGSHIP)))) == DECIDED


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_too_long_and_no_word_is_lost(width: int) -> None:
    request = ask("Prove that it halts.", narrowing=Narrowing(zones=("local",)))
    told = explained(consider(request, ANYONE, view()))
    lines = drawn(told, width)
    words = " ".join(lines)

    assert max(map(len, lines)) <= width
    for endpoint in MARKET:
        assert endpoint.name in words
    for each in json.loads(told)["rejected"]:
        assert all(word in words for word in each["reason"].split())


def test_needs_are_told() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

    assert "needs   tools" in previewed(BODY | {"tools": tools})[1]


def test_credentials_where_they_tell_candidates_apart() -> None:
    both = drawn(explained(decide(ask(), ANYONE, view(keyed(MID, "env:A", "env:B"), SMALL))))
    one = drawn(explained(decide(ask(), ANYONE, view(keyed(MID, "env:A"), SMALL))))

    assert [line.strip() for line in both if "env:" in line] == ["env:A", "env:B"]
    assert not any("env:" in line for line in one)


def test_a_cap_that_the_budget_sets_is_told() -> None:
    capped = decide(ask(), ANYONE, view(MID, affordable_nano_usd=10_022_000))

    assert any("at most 1.0k tokens, by its budget" in line for line in drawn(explained(capped)))


@pytest.mark.parametrize("earlier", [False, True], ids=["with its reason", "of an earlier record"])
def test_who_is_to_be_asked_last_and_why(earlier: bool) -> None:
    down = {("bolt/small", ""): Vitals(state="open")}
    told = explained(decide(EXTRACT, ANYONE, view(MID, SMALL, vitals=down)))
    reason = b'"breaker is open"'
    assert reason in told
    lines = [line.strip() for line in drawn(told.replace(reason, b"true") if earlier else told)]

    place = next(number for number, line in enumerate(lines) if line.startswith("2  bolt/small"))
    assert lines[place + 1] == ("last resort" if earlier else "last resort: breaker is open")
    assert not any(line.startswith("left out") for line in lines)


def test_a_plan_of_another_shape() -> None:
    with pytest.raises(OurError, match="shape that is not known"):
        read(b'{"route": 1}')


def test_a_preview_says_who_would_be_asked() -> None:
    status, lines = previewed(BODY)

    assert status == 0
    assert "  1  bolt/small     cloud  0.920     0.99  0.55   1.00  $0.000082  572ms" in lines
    assert "  bolt/vectors  dialect  only embeds" in lines


def test_a_preview_as_json_is_the_decision_itself() -> None:
    stream = io.StringIO()
    status = preview(
        json.dumps(BODY).encode(),
        catalog(*MARKET),
        Console(file=stream, width=20),
        NOW_MS,
        as_json=True,
    )
    request = DIALECTS["openai_chat"].parse_request(json.dumps(BODY).encode(), {})

    assert status == 0
    assert stream.getvalue() == explained(consider(request, ANYONE, view())).decode() + "\n"


def test_what_a_body_asks_of_its_route_counts() -> None:
    assert "candidates, in order  1" in previewed(AT_HOME)[1]


def test_when_nobody_is_left_it_says_what_the_caller_would_be_told() -> None:
    status, lines = previewed(AT_HOME, catalog(SMALL))

    assert status == 1
    assert "Nobody is left." in lines
    assert "no endpoint of 'auto' is permitted: zone removed 1: zone 'cloud' is not" in " ".join(
        lines
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", BadRequest),
        (b"[]", BadRequest),
        (b'"\xff"', BadRequest),
        (b'{"model": "smal", "messages": [{"role": "user", "content": "x"}]}', UnknownModel),
    ],
    ids=["cut short", "no object", "no UTF-8", "unknown model"],
)
def test_what_no_gateway_would_take(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        preview(body, catalog(*MARKET), terminal(), NOW_MS)


TEXT = [{"type": "text", "text": "Hello"}]
PICTURE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}]


@pytest.mark.parametrize(
    ("fields", "dialect"),
    [
        ({}, "openai_chat"),
        ({"max_tokens": 9}, "openai_chat"),
        ({"max_tokens": 9, "system": "Be brief."}, "anthropic_messages"),
        ({"max_tokens": 9, "stop_sequences": ["."]}, "anthropic_messages"),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": TEXT}]}, "anthropic_messages"),
        ({"messages": [{"role": "user", "content": TEXT}]}, "openai_chat"),
        ({"max_tokens": 9, "messages": [{"role": "user", "content": PICTURE}]}, "openai_chat"),
        ({"max_tokens": 9, "messages": [{"role": "system", "content": TEXT}]}, "openai_chat"),
        ({"max_tokens": 9, "messages": "Hello"}, "openai_chat"),
        ({"max_tokens": 9, "messages": [1, {"content": [1]}]}, "openai_chat"),
        ({"input": "Hello"}, "openai_chat"),
    ],
)
def test_the_dialect_is_guessed(fields: dict[str, Any], dialect: str) -> None:
    assert guessed(json.dumps(BODY | fields).encode()) == dialect


def test_what_has_input_and_no_messages_is_to_be_embedded() -> None:
    body = b'{"model": "vectors", "input": "Hello"}'
    console = terminal()

    assert guessed(body) == "openai_embeddings"
    assert preview(body, catalog(*MARKET), console, NOW_MS) == 0
    assert any("bolt/vectors" in line for line in printed(console))


def test_a_preview_knows_the_hour_at_which_requests_move_to_a_successor() -> None:
    moving = {"retires": "2026-11-25", "successor": "mid", "shift": Shift(0.1, 2 * 86_400.0)}
    market = catalog(changed(SMALL, **moving), MID)
    status, lines = previewed(BODY | {"model": "small"}, market)

    assert status == 0
    assert any("  1  acme/mid" in line for line in lines)
    told = " ".join(" ".join(lines).split())
    assert "mid succeeds small, which retires on 2026-11-25; 70% of its requests go to mid" in told


def test_a_body_in_anthropics_dialect() -> None:
    status, lines = previewed(BODY | {"max_tokens": 9, "system": "Be brief."})

    assert status == 0
    assert any("  1  bolt/small" in line for line in lines)


def test_a_request_on_record_is_told_from_its_arrival_to_its_end(folder: Folder) -> None:
    lines = looked_up(folder)

    assert lines[:6] == [
        "request   019abc45de01f3a9c0b1d2e3",
        "at        2026-11-24 12:00:00 UTC",
        "key       team",
        "asked     auto in openai_chat, streaming",
        "workflow  nightly",
        "",
    ]
    assert lines[6:-12] == [*DECIDED, ""]
    assert lines[-12:] == HAPPENED


def test_a_refusal_on_record_is_told_with_its_reason(folder: Folder) -> None:
    assert looked_up(folder, "019abc45de02")[-4:] == [
        "",
        "refused: 402 budget_exhausted",
        "budget used up",
        "in all  0.3ms",
    ]


def test_a_caller_who_left(tmp_path: Path) -> None:
    gone = exchanged(outcome="cancelled", status=499, code="cancelled", usage=None)

    assert "cancelled: 499" in looked_up(kept(tmp_path / "data", gone), "r1")


@pytest.mark.parametrize(
    ("first_token_ms", "done"), [(9.0, "went on with the answer"), (None, "answered")]
)
def test_who_went_on_with_an_answer_that_broke_is_told(
    tmp_path: Path, first_token_ms: float | None, done: str
) -> None:
    broke = attempted(failure="stream_broken", message="it broke", first_token_ms=first_token_ms)
    other = attempted(failure="cancelled", message="said something else than was said before")
    attempts = (broke, other, attempted(endpoint="acme/flagship"))

    lines = looked_up(kept(tmp_path / "data", exchanged(attempts=attempts)), "r1", 160)

    told = "\n".join(lines)
    assert "stream_broken (200): it broke" in told
    assert "cancelled (200): said something else than was said before" in told
    [last] = [line for line in lines if line.endswith(done)]
    assert "acme/flagship" in last


def test_what_an_answer_lacked_is_told(tmp_path: Path) -> None:
    fact = exchanged(attempts=(attempted(message="it had no end"),))
    told = "\n".join(looked_up(kept(tmp_path / "data", fact), "r1", 160))

    assert "answered: it had no end" in told


def test_a_record_as_json_has_the_plan_and_the_attempts(folder: Folder) -> None:
    stream = io.StringIO()
    for request_id in ("019abc45de01", "019abc45de02"):
        record(request_id, folder, Console(file=stream, width=20), as_json=True)
    answered, turned_away = map(json.loads, stream.getvalue().splitlines())

    assert answered["plan"] == json.loads(PLAN)
    assert [each["failure"] for each in answered["tries"]] == ["rate_limit", ""]
    assert (answered["cost_usd"], turned_away["plan"]) == ("0.000079", None)


def test_words_of_others_cannot_steer_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[31m\x9b1m\n[red]x"
    failed = attempted(failure="transient", message=hostile, endpoint=hostile, credential=hostile)
    entry = exchanged(
        asked=hostile,
        workflow=hostile,
        step=hostile,
        attempts=(failed,),
        plan=PLAN.replace(b"bolt/small", b"\\u009b1m").replace(b": cloud", b": \\u009b1m"),
    )
    text = "".join(looked_up(kept(tmp_path / "data", entry, refused(message=hostile)), "r1"))
    text += "".join(looked_up(Folder(tmp_path / "data"), "r2"))

    assert not {"\x1b", "\x9b"} & set(text)


@pytest.mark.parametrize(
    ("request_id", "error"), [("ffff", NotFound), ("019abc", BadRequest)], ids=["none", "several"]
)
def test_an_id_that_leads_to_no_single_request(
    folder: Folder, request_id: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        record(request_id, folder, terminal())


def run(
    folder: Folder, *arguments: str, load: LoadCatalog = lambda config: catalog(*MARKET)
) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command(load))
    result = CliRunner().invoke(app, [*arguments, "--data", str(folder.path)])
    return result.exit_code, result.output


def test_a_file_is_previewed_with_the_catalogue_of_the_configuration(
    folder: Folder, tmp_path: Path
) -> None:
    asked: list[Path | None] = []

    def load(config: Path | None) -> Catalog:
        asked.append(config)
        return catalog(SMALL)

    body, config = tmp_path / "request.json", tmp_path / "f.yaml"
    body.write_text(json.dumps(BODY))
    status, text = run(folder, str(body), "--json", "--config", str(config), load=load)

    assert (status, asked) == (0, [config])
    assert [each["endpoint"] for each in json.loads(text)["candidates"]] == ["bolt/small"]


def test_the_usual_configuration_where_there_is_one(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []

    def load(config: Path | None) -> Catalog:
        asked.append(config)
        return catalog(SMALL)

    monkeypatch.chdir(tmp_path)
    Path("request.json").write_text(json.dumps(BODY))
    run(folder, "request.json", load=load)
    Path("fairlead.yaml").touch()
    run(folder, "request.json", load=load)

    assert asked == [None, Path("fairlead.yaml")]


def test_a_dialect_that_is_said_is_not_guessed(folder: Folder, tmp_path: Path) -> None:
    body = tmp_path / "request.json"
    body.write_text(json.dumps(BODY))

    status, text = run(folder, str(body), "--dialect", "anthropic_messages")
    assert (status, text.count("\n")) == (1, 1)
    assert "max_tokens" in text
    assert run(folder, str(body), "--dialect", "klingon")[0] == 2


def test_an_id_is_looked_up(folder: Folder) -> None:
    status, text = run(folder, "019abc45de01")

    assert status == 0
    assert "answered by bolt/small" in text


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("request.json", "there is no file request.json"),
        ("some/where", "there is no file some/where"),
        ("/", "there is no file /"),
        ("019abc45de09", "there is no request '019abc45de09' on record"),
        ("\udcff", "some of this text cannot be written in the encoding in use"),
    ],
)
def test_what_leads_nowhere(folder: Folder, argument: str, told: str) -> None:
    assert run(folder, argument) == (1, f"{told}\n")


def test_a_configuration_that_is_wrong(folder: Folder, tmp_path: Path) -> None:
    def load(config: Path | None) -> Catalog:
        raise ConfigError((Problem("f.yaml", 3, 1, 1, "unknown key"),))

    body = tmp_path / "request.json"
    body.write_text(json.dumps(BODY))

    assert run(folder, str(body), load=load) == (1, "f.yaml:3:1: unknown key\n")


def test_no_records(tmp_path: Path) -> None:
    status, text = run(Folder(tmp_path / "none"), "019abc")

    assert (status, text.count("\n")) == (1, 1)
    assert "there are no records in" in text
