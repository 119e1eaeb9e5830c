"""The journal: what is on record of a request, and what can be asked."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from facts import DAY_MS, NOON_MS, attempted, exchanged, refused
from fairlead.outside.journal import ADD, Entry, Filter, Journal, UsageBy, UsageRow
from fairlead.outside.store import Store
from fairlead.types.chat import Usage
from fairlead.types.errors import BadRequest, NotFound
from fairlead.types.facts import Fact


@pytest.fixture
def journal(store: Store) -> Journal:
    return Journal(store)


async def record(journal: Journal, store: Store, *facts: Fact) -> None:
    for fact in facts:
        journal(fact)
    await store.flush()


def test_an_entry_has_the_tables_columns(tmp_path: Path) -> None:
    rows = Store(tmp_path / "fairlead.db").read("PRAGMA table_info (exchange)")
    columns = [row["name"] for row in rows]

    assert columns == list(Entry.__struct_fields__[1:])
    assert ADD.count("?") == len(columns)


async def test_what_is_on_record_of_an_answer(journal: Journal, store: Store) -> None:
    tries = (attempted(id="r1.1", failure="silent", model="other"), attempted(id="r1.2"))
    fact = exchanged(
        attempts=tries, dropped=("user", "seed"), workflow="w", step="s", plan=b'{"route":"auto"}'
    )
    await record(journal, store, fact)
    entry = journal.find("r1")

    assert entry == Entry(
        rowid=1,
        request_id="r1",
        at_ms=NOON_MS,
        caller="k1",
        caller_name="team",
        dialect="openai_chat",
        operation="chat",
        asked="auto",
        route="auto",
        task="chat",
        difficulty=0.25,
        stream=True,
        outcome="ok",
        status=200,
        code="",
        finish="stop",
        model="small",
        endpoint="acme/small",
        zone="cloud",
        attempts=2,
        input_tokens=10,
        output_tokens=50,
        cached_read_tokens=0,
        reasoning_tokens=0,
        cost_nano=60,
        expected_nano=50,
        baseline_nano=600,
        first_token_ms=101.0,
        total_ms=1101.0,
        overhead_ms=0.5,
        reason="cheapest that can",
        dropped="user,seed",
        workflow="w",
        step="s",
        tries=msgspec.json.encode(tries).decode(),
        plan='{"route":"auto"}',
    )
    assert entry.attempted == tries


async def test_what_is_on_record_of_a_refusal(journal: Journal, store: Store) -> None:
    await record(journal, store, refused())
    entry = journal.find("r2")

    assert (entry.outcome, entry.status, entry.code) == ("refused", 402, "budget_exhausted")
    assert (entry.reason, entry.attempts, entry.cost_nano) == ("nothing left", 0, 0)


async def test_unknown_stays_unknown(journal: Journal, store: Store) -> None:
    await record(
        journal,
        store,
        exchanged(attempts=(), usage=None, cost_nano_usd=None, baseline_nano_usd=None, finish=None),
    )
    entry = journal.find("r1")

    assert (entry.input_tokens, entry.cost_nano, entry.baseline_nano) == (None, None, None)
    assert (entry.model, entry.finish) == ("", "")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"asked": "caf\u00e9 \udcff", "workflow": "\udcff"}, id="no text"),
        pytest.param({"usage": Usage(10**30, 10**30), "cost_nano_usd": 10**40}, id="too large"),
        pytest.param({"asked": "a\x00b\n\x1b[31m"}, id="control characters"),
    ],
)
async def test_hostile_words_and_figures_are_recorded(
    journal: Journal, store: Store, changes: dict[str, object]
) -> None:
    await record(journal, store, exchanged(**changes))

    assert journal.find("r1").outcome == "ok"


async def test_a_full_store_loses_the_entry_and_counts_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "fairlead.db", asyncio.get_running_loop(), max_rows=0)
    journal = Journal(store)
    journal(exchanged())
    await store.close()

    assert journal.lost == 1


async def test_attempts_alone_are_not_entries(journal: Journal, store: Store) -> None:
    await record(journal, store, attempted())

    assert journal.recent(10) == []


# Questions.


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("ab1", "ab1", id="the whole id"),
        pytest.param("ab2", "ab22", id="the beginning of one"),
        pytest.param("ab", BadRequest, id="the beginning of several"),
        pytest.param("b", NotFound, id="of none"),
        pytest.param("%", NotFound, id="not a pattern"),
    ],
)
async def test_find_by_id_or_its_beginning(
    journal: Journal, store: Store, text: str, found: str | type[Exception]
) -> None:
    ids = ("ab1", "ab11", "ab22")
    await record(journal, store, *(exchanged(request_id=request_id) for request_id in ids))
    if isinstance(found, str):
        assert journal.find(text).request_id == found
    else:
        with pytest.raises(found):
            journal.find(text)


@pytest.fixture
def mixed() -> list[Fact]:
    return [
        exchanged(request_id="a", at_ms=NOON_MS - DAY_MS, task="code"),
        exchanged(request_id="b", outcome="failed", status=502, caller="k2", caller_name="other"),
        exchanged(request_id="c", attempts=(attempted(model="large", endpoint="acme/large"),)),
        refused(request_id="d"),
        exchanged(request_id="e", cost_nano_usd=None),
    ]


@pytest.mark.parametrize(
    ("wanted", "limit", "ids"),
    [
        pytest.param(Filter(), 10, "edcba", id="all, the latest first"),
        pytest.param(Filter(), 2, "ed", id="the last two"),
        pytest.param(Filter(caller="k2"), 10, "b", id="a key's id"),
        pytest.param(Filter(caller="team"), 10, "edca", id="a key's name"),
        pytest.param(Filter(model="large"), 10, "c", id="a model"),
        pytest.param(Filter(task="code"), 10, "a", id="a task"),
        pytest.param(Filter(outcome="refused"), 10, "d", id="an outcome"),
        pytest.param(Filter(since_ms=NOON_MS), 10, "edcb", id="since a time"),
        pytest.param(Filter(task="code", since_ms=NOON_MS), 10, "", id="all of them at once"),
    ],
)
async def test_recent(
    journal: Journal, store: Store, mixed: list[Fact], wanted: Filter, limit: int, ids: str
) -> None:
    await record(journal, store, *mixed)

    assert "".join(entry.request_id for entry in journal.recent(limit, wanted)) == ids


async def test_follow_begins_where_one_left_off(journal: Journal, store: Store) -> None:
    assert journal.last_rowid() == 0
    await record(journal, store, exchanged(request_id="a"), exchanged(request_id="b"))
    first = journal.follow(0, limit=1)
    await record(journal, store, exchanged(request_id="c"))

    assert [entry.request_id for entry in first] == ["a"]
    assert [entry.request_id for entry in journal.follow(first[-1].rowid)] == ["b", "c"]
    assert journal.last_rowid() == 3


async def test_usage_sums_what_is_known_and_counts_what_is_not(
    journal: Journal, store: Store, mixed: list[Fact]
) -> None:
    await record(journal, store, *mixed)

    assert journal.usage("model") == [
        UsageRow("small", 3, 1, 0, 30, 150, 120, 1, 1200, 1080),
        UsageRow("large", 1, 0, 0, 10, 50, 60, 0, 600, 540),
        UsageRow("", 1, 0, 1, 0, 0, 0, 0, 0, 0),
    ]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("model", ["small", "large", ""]),
        ("key", ["team", "other"]),
        ("task", ["chat", "code", ""]),
        ("endpoint", ["acme/small", "acme/large", ""]),
        ("day", ["2026-11-24", "2026-11-23"]),
    ],
)
async def test_usage_by(
    journal: Journal, store: Store, mixed: list[Fact], by: UsageBy, names: list[str]
) -> None:
    await record(journal, store, *mixed)

    assert [row.name for row in journal.usage(by)] == names
    assert sum(row.requests for row in journal.usage(by, NOON_MS)) == 4
