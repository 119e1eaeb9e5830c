"""Metrics: what is counted, under which labels, and that each is described."""

from pathlib import Path

import pytest

from facts import attempted, exchanged, refused
from fairlead.outside import metrics
from fairlead.outside.metrics import Live, Metrics
from fairlead.types.chat import Usage
from fairlead.types.decision import Vitals
from fairlead.types.facts import Attempted, Fact

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def rendered(*facts: Fact, live: Live | None = None) -> dict[str, float]:
    """Value by name and labels, as a scraper sees them."""
    counted = Metrics(live or Live())
    for fact in facts:
        counted(fact)
    return samples(counted)


def samples(counted: Metrics) -> dict[str, float]:
    lines = counted.render().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


FAILED_OVER = exchanged(
    attempts=(
        attempted(endpoint="o/o", failure="silent", usage=None, cost_nano_usd=0),
        attempted(usage=Usage(10, 50, 4, 3, 0, 20), cost_nano_usd=1_500_000_001),
    )
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(
            'fairlead_requests_total{code="",dialect="openai_chat",outcome="ok",route="auto",'
            'task="chat"}',
            1,
            id="the request",
        ),
        pytest.param(
            'fairlead_attempts_total{credential="env:A",endpoint="o/o",failure="silent"}',
            1,
            id="the attempt that failed",
        ),
        pytest.param(
            'fairlead_attempts_total{credential="env:A",endpoint="acme/small",failure=""}',
            1,
            id="the attempt that answered",
        ),
        pytest.param("fairlead_failovers_total", 1, id="the failover"),
        pytest.param('fairlead_tokens_total{kind="input",model="small"}', 10, id="input"),
        pytest.param('fairlead_tokens_total{kind="output",model="small"}', 50, id="output"),
        pytest.param('fairlead_tokens_total{kind="cached_read",model="small"}', 4, id="read"),
        pytest.param('fairlead_tokens_total{kind="cached_write",model="small"}', 3, id="write"),
        pytest.param('fairlead_tokens_total{kind="reasoning",model="small"}', 20, id="thought"),
        pytest.param('fairlead_cost_usd_total{model="small"}', 1.500000001, id="the cost"),
        pytest.param("fairlead_baseline_usd_total", 6e-7, id="the baseline's cost"),
        pytest.param(
            'fairlead_first_token_seconds_bucket{le="0.1",model="small"}', 0, id="not within 0.1 s"
        ),
        pytest.param(
            'fairlead_first_token_seconds_bucket{le="0.25",model="small"}', 1, id="within 0.25 s"
        ),
        pytest.param('fairlead_first_token_seconds_sum{model="small"}', 0.101, id="the sum"),
        pytest.param('fairlead_request_seconds_count{outcome="ok"}', 1, id="the whole"),
        pytest.param('fairlead_overhead_seconds_bucket{le="0.0005"}', 1, id="a bound is within"),
        pytest.param('fairlead_overhead_seconds_bucket{le="0.00025"}', 0, id="not below it"),
    ],
)
def test_what_one_request_counts(name: str, value: float) -> None:
    assert rendered(FAILED_OVER)[name] == pytest.approx(value)


BROKE = attempted(failure="stream_broken", first_token_ms=9.0)
GOOD, GAVE_UP = attempted(), attempted(failure="cancelled")
NEVER_BEGAN = attempted(failure="stream_broken", first_token_ms=None)


@pytest.mark.parametrize(
    ("attempts", "outcome", "result"),
    [
        ((BROKE, GOOD), "ok", "whole"),
        ((BROKE,), "ok", "whole"),
        ((NEVER_BEGAN, BROKE, GOOD), "ok", "whole"),
        ((BROKE, GAVE_UP), "failed", "broken"),
        ((BROKE,), "failed", "left"),
        ((BROKE, GOOD), "cancelled", ""),
        ((NEVER_BEGAN, GOOD), "ok", ""),
        ((GOOD,), "ok", ""),
    ],
)
def test_streams_that_broke_are_counted_by_what_became_of_them(
    attempts: tuple[Attempted, ...], outcome: str, result: str
) -> None:
    counted = rendered(exchanged(attempts=attempts, outcome=outcome, stream=True))

    results = {name: value for name, value in counted.items() if "_rescues_total{" in name}
    assert results == ({f'fairlead_rescues_total{{result="{result}"}}': 1} if result else {})


def test_money_is_summed_as_integers() -> None:
    fact = exchanged(attempts=(attempted(cost_nano_usd=100_000_000),))
    seen = rendered(*[fact] * 3)

    assert seen['fairlead_cost_usd_total{model="small"}'] == 0.3


def test_an_unknown_price_is_counted_apart() -> None:
    seen = rendered(exchanged(attempts=(attempted(cost_nano_usd=None),), baseline_nano_usd=None))

    assert seen['fairlead_unpriced_attempts_total{model="small"}'] == 1
    assert 'fairlead_cost_usd_total{model="small"}' not in seen


def test_a_refusal() -> None:
    assert rendered(refused())['fairlead_refused_total{code="budget_exhausted"}'] == 1


def test_nothing_is_asked_under_a_callers_words() -> None:
    hostile = 'x"} 1\nfairlead_in_flight 99'
    seen = rendered(
        exchanged(asked=hostile, workflow=hostile, step=hostile, caller_name=hostile, attempts=()),
        refused(asked=hostile, message=hostile),
    )

    assert not [name for name in seen if hostile[0:3] in name]
    assert seen["fairlead_in_flight"] == 0


def test_an_attempt_counts_once_with_its_request() -> None:
    seen = rendered(attempted(), exchanged())

    assert seen['fairlead_tokens_total{kind="input",model="small"}'] == 10


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_SERIES", 2)
    facts = [exchanged(attempts=(attempted(model=f"m{number}"),)) for number in range(5)]
    seen = rendered(*facts)

    assert [name for name in seen if name.startswith("fairlead_cost_usd_total")] == [
        'fairlead_cost_usd_total{model="m0"}',
        'fairlead_cost_usd_total{model="m1"}',
        'fairlead_cost_usd_total{model="other"}',
    ]
    assert seen['fairlead_cost_usd_total{model="other"}'] == pytest.approx(180e-9)
    assert seen['fairlead_first_token_seconds_count{model="other"}'] == 3


def test_lies_about_tokens_can_be_shown() -> None:
    seen = rendered(exchanged(attempts=(attempted(usage=Usage(10**400, 1)),)))

    assert seen['fairlead_tokens_total{kind="input",model="small"}'] == 2**53


def test_commits() -> None:
    counted = Metrics()
    counted.committed(0.0003, 20, True)
    counted.committed(0.2, 5, False)
    seen = samples(counted)

    assert seen["fairlead_ledger_commit_seconds_count"] == 2
    assert seen["fairlead_ledger_rows_total"] == 20
    assert seen["fairlead_ledger_commit_failures_total"] == 1


@pytest.mark.parametrize(("state", "value"), [("closed", 0), ("half_open", 1), ("open", 2)])
def test_gauges_are_read_when_asked(state: str, value: int) -> None:
    vitals = Vitals(state=state, retired=True)  # type: ignore[arg-type]
    seen = rendered(live=Live(vitals=lambda: {("o/o", "env:A"): vitals}, in_flight=lambda: 7))

    assert seen["fairlead_in_flight"] == 7
    assert seen['fairlead_breaker_state{credential="env:A",endpoint="o/o"}'] == value
    assert seen['fairlead_retired{credential="env:A",endpoint="o/o"}'] == 1


def test_every_metric_is_documented_and_no_other() -> None:
    lines = Metrics().render().decode().splitlines()
    shown = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    rows = (line.split("|") for line in DOCUMENT.read_text().splitlines())
    described = {
        row[1].strip().strip("`").partition("{")[0]
        for row in rows
        if len(row) > 2 and "`" in row[1]
    }

    assert described == shown
