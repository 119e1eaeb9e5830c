"""Ranking: what moves an offer up, what sinks it, and that nothing else does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from decide.pool import FLAGSHIP, LOCAL, MID, SMALL, keyed
from fairlead.decide.eligible import Offer
from fairlead.decide.score import rank
from fairlead.types.catalog import Endpoint, Rule, Weights
from fairlead.types.decision import Attempt, Task, Vitals

EASY, HARD = Task("extract", 0.1, 100, 100), Task("reason", 0.8, 100, 800)
QUALITY, COST, SPEED = (
    Rule(weights=Weights(quality=1, cost=0, speed=0)),
    Rule(weights=Weights(quality=0, cost=1, speed=0)),
    Rule(weights=Weights(quality=0, cost=0, speed=1)),
)


def offer(endpoint: Endpoint = MID, **facts: Any) -> Offer:
    usual: dict[str, Any] = {
        "secret": None,
        "vitals": Vitals(),
        "expected_nano_usd": 1_000,
        "worst_nano_usd": 2_000,
        "max_output_tokens": None,
        "expected_ms": 1_000.0,
    }
    return Offer(endpoint=endpoint, **(usual | facts))


def names(attempts: tuple[Attempt, ...]) -> list[str]:
    return [one.endpoint.name for one in attempts]


def order(
    *offers: Offer, task: Task = EASY, rule: Rule | None = None, dice: float = 0.0
) -> list[str]:
    return names(rank(offers, task, rule or Rule(), dice))


def test_nobody_to_rank() -> None:
    assert rank((), EASY, Rule(), 0.0) == ()


@pytest.mark.parametrize(
    ("better", "worse", "rule"),
    [
        pytest.param(offer(FLAGSHIP), offer(MID), QUALITY, id="stronger"),
        pytest.param(
            offer(MID), offer(SMALL, vitals=Vitals(success=0.5)), QUALITY, id="more-reliable"
        ),
        pytest.param(
            offer(SMALL, expected_nano_usd=999), offer(expected_nano_usd=1_000), COST, id="cheaper"
        ),
        pytest.param(offer(SMALL), offer(expected_nano_usd=None), COST, id="known-price"),
        pytest.param(
            offer(SMALL, expected_nano_usd=0), offer(expected_nano_usd=None), COST, id="free"
        ),
        pytest.param(
            offer(SMALL, expected_ms=999.0), offer(expected_ms=1_000.0), SPEED, id="faster"
        ),
    ],
)
def test_one_fact_decides(better: Offer, worse: Offer, rule: Rule) -> None:
    expected = [better.endpoint.name, worse.endpoint.name]

    assert order(better, worse, rule=rule) == expected
    assert order(worse, better, rule=rule) == expected


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        pytest.param(EASY, ["house/tiny", "acme/mid"], id="good-enough-is-cheap-enough"),
        pytest.param(HARD, ["acme/mid", "house/tiny"], id="hopeless-is-never-cheap"),
    ],
)
def test_the_floor(task: Task, expected: list[str]) -> None:
    assert order(offer(MID), offer(LOCAL, expected_nano_usd=0), task=task, rule=COST) == expected


def test_an_attempt_carries_what_was_offered() -> None:
    two = keyed(MID, "key-1")
    made = offer(two, secret=two.secrets[0], max_output_tokens=300, worst_nano_usd=7)

    (attempt,) = rank([made], EASY, Rule(), 0.0)

    assert attempt.key == ("acme/mid", "key-1")
    assert attempt.max_output_tokens == 300
    assert attempt.worst_cost_nano_usd == 7
    assert attempt.expected_cost_nano_usd == 1_000
    assert attempt.expected_ms == 1_000.0


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        pytest.param((1_000, 10_000), [1.0, 0.0], id="a-factor-of-ten-spans-the-scale"),
        pytest.param((1_000, 1_000), [1.0, 1.0], id="equal"),
        pytest.param((1_000, 1_100), [1.0, 0.959], id="a-tenth-more-is-a-small-step"),
        pytest.param((0, 1_000), [1.0, 0.0], id="free-against-priced"),
        pytest.param((0, 10_000, 100_000), [1.0, 0.5, 0.0], id="free-is-100-times-cheaper"),
        pytest.param((0, 0), [1.0, 1.0], id="all-free"),
        pytest.param((1_000, None, 10_000), [1.0, 0.0, 0.0], id="unknown-as-the-dearest"),
        pytest.param((0, None), [1.0, 0.0], id="unknown-is-not-free"),
        pytest.param((None, None), [1.0, 1.0], id="all-unknown"),
    ],
)
def test_cost_scale(costs: tuple[int | None, ...], expected: list[float]) -> None:
    offers = [
        offer(replace(MID, name=str(index)), expected_nano_usd=cost)
        for index, cost in enumerate(costs)
    ]
    attempts = sorted(rank(offers, EASY, Rule(), 0.0), key=lambda one: one.endpoint.name)

    assert [one.score.cost for one in attempts] == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param((500.0, 2_000.0), [1.0, 0.0], id="a-factor-of-four-spans-the-scale"),
        pytest.param((500.0, 1_000.0), [1.0, 0.5], id="twice-as-long-is-half-way"),
        pytest.param((500.0, 500.0), [1.0, 1.0], id="equal"),
    ],
)
def test_speed_scale(times: tuple[float, ...], expected: list[float]) -> None:
    offers = [offer(one, expected_ms=time) for one, time in zip((MID, SMALL), times, strict=True)]

    assert [one.score.speed for one in rank(offers, EASY, SPEED, 0.0)] == pytest.approx(expected)


def test_the_total_is_the_weighted_mean() -> None:
    dear, _ = rank(
        [offer(FLAGSHIP, expected_nano_usd=2_000), offer(SMALL, expected_ms=1_500.0)],
        HARD,
        Rule(weights=Weights(quality=6, cost=3, speed=1)),
        0.0,
    )
    score = dear.score

    assert dear.endpoint is FLAGSHIP
    assert score.total == pytest.approx(0.6 * score.quality + 0.3 * score.cost + 0.1 * score.speed)


def test_without_weights_quality_decides() -> None:
    weightless = Rule(weights=Weights(quality=0, cost=0, speed=0))

    assert order(offer(SMALL), offer(FLAGSHIP), rule=weightless)[0] == "acme/flagship"


BACK = {("acme/flagship", ""): 0.1, ("bolt/small", ""): 0.1}
"""Both are just back from an outage."""
NOT_OF_THE_SHARE = 0.75 / 4_096


def test_sunk_totals_explain_the_order() -> None:
    attempts = rank([offer(FLAGSHIP), offer(MID), offer(LOCAL)], HARD, COST, NOT_OF_THE_SHARE, BACK)
    totals = [one.score.total for one in attempts]

    assert names(attempts)[0] == "acme/mid"
    assert totals == sorted(totals, reverse=True)
    assert totals[1] <= totals[0] / 2


def test_on_trial_it_stands_where_it_stood() -> None:
    half_open = offer(FLAGSHIP, vitals=Vitals(state="half_open"))

    assert order(half_open, offer(MID), rule=QUALITY) == ["acme/flagship", "acme/mid"]


@pytest.mark.parametrize("rule", [QUALITY, Rule(ordered=True, models=("flagship", "mid"))])
@pytest.mark.parametrize(
    ("share", "asked_first"),
    [(0.1, 100), (0.5, 500), (1.0, 1_000)],
    ids=["at-once", "half-way", "in-the-end"],
)
def test_after_an_outage_it_gets_its_share(rule: Rule, share: float, asked_first: int) -> None:
    offers = [offer(FLAGSHIP), offer(MID)]
    shares = {("acme/flagship", ""): share}
    drawn = [rank(offers, EASY, rule, turn / 1_000, shares) for turn in range(1_000)]
    first = [names(attempts)[0] for attempts in drawn]

    assert first.count("acme/flagship") == pytest.approx(asked_first, abs=10)


def test_just_back_it_is_asked_when_nobody_else_is_left() -> None:
    assert names(rank([offer(FLAGSHIP)], EASY, Rule(), NOT_OF_THE_SHARE, BACK)) == ["acme/flagship"]


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        pytest.param(
            [offer(FLAGSHIP, expected_nano_usd=5), offer(MID, expected_nano_usd=4)],
            ["acme/mid", "acme/flagship"],
            id="by-cost",
        ),
        pytest.param(
            [offer(FLAGSHIP, expected_nano_usd=None), offer(MID, expected_nano_usd=4)],
            ["acme/mid", "acme/flagship"],
            id="unknown-cost-last",
        ),
        pytest.param([offer(MID), offer(FLAGSHIP)], ["acme/flagship", "acme/mid"], id="by-name"),
    ],
)
def test_ties(offers: list[Offer], expected: list[str]) -> None:
    assert order(*offers, rule=SPEED) == expected


TWINS = [offer(replace(MID, name=f"{provider}/mid")) for provider in ("a", "b", "c")]


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        (0.0, ["a/mid", "b/mid", "c/mid"]),
        (0.34, ["b/mid", "c/mid", "a/mid"]),
        (0.99, ["c/mid", "a/mid", "b/mid"]),
    ],
)
def test_the_dice_spread_load_over_twins(dice: float, expected: list[str]) -> None:
    assert order(*TWINS, dice=dice) == expected


def test_the_dice_decide_nothing_else() -> None:
    offers = [offer(FLAGSHIP), offer(MID), offer(SMALL)]

    assert order(*offers, rule=SPEED, dice=0.0) == order(*offers, rule=SPEED, dice=0.99)


def test_credentials_of_one_endpoint_stay_in_order() -> None:
    two = keyed(MID, "b", "a")
    offers = [offer(two, secret=secret) for secret in two.secrets]

    attempts = rank(offers, EASY, Rule(), 0.99)

    assert [one.secret and one.secret.id for one in attempts] == ["b", "a"]


@pytest.mark.parametrize(
    ("models", "shares", "expected"),
    [
        pytest.param(("small", "mid"), {}, ["bolt/small", "acme/mid"], id="as-listed"),
        pytest.param(("mid", "*"), {}, ["acme/mid", "bolt/small"], id="patterns-too"),
        pytest.param(("small", "mid"), BACK, ["acme/mid", "bolt/small"], id="but-just-back-last"),
        pytest.param((), {}, ["acme/mid", "bolt/small"], id="no-list-by-score"),
    ],
)
def test_ordered_routes(
    models: tuple[str, ...], shares: dict[tuple[str, str], float], expected: list[str]
) -> None:
    by_quality = Rule(ordered=True, models=models, weights=QUALITY.weights)
    attempts = rank([offer(SMALL), offer(MID)], EASY, by_quality, NOT_OF_THE_SHARE, shares)

    assert names(attempts) == expected


def test_an_ordered_route_spreads_twins_too() -> None:
    assert order(*TWINS, rule=Rule(ordered=True, models=("mid",)), dice=0.5)[0] == "b/mid"


offers_made = st.lists(
    st.builds(
        offer,
        st.sampled_from([FLAGSHIP, MID, SMALL, LOCAL]),
        vitals=st.builds(
            Vitals,
            state=st.sampled_from(["closed", "half_open"]),
            success=st.floats(0.0, 1.0),
        ),
        expected_nano_usd=st.none() | st.integers(0, 10**12),
        expected_ms=st.floats(1.0, 10**7),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one.endpoint.name,
)


@given(offers_made, st.sampled_from([EASY, HARD]), st.floats(0.0, 0.999))
def test_any_market_is_ranked_whole(offers: list[Offer], task: Task, dice: float) -> None:
    attempts = rank(offers, task, Rule(), dice)
    totals = [one.score.total for one in attempts]

    assert sorted(names(attempts)) == sorted(one.endpoint.name for one in offers)
    assert totals == sorted(totals, reverse=True)
    assert all(0.0 <= total <= 1.0 for total in totals)
    assert attempts == rank(list(reversed(offers)), task, Rule(), dice)
