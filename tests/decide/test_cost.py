"""Money is integers, rounded up once, and unknown is never free."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.pool import model
from fairlead.decide.cost import (
    affordable_output,
    cost_nano_usd,
    expected_nano_usd,
    price_version,
    rates_on,
    usd,
    worst_nano_usd,
)
from fairlead.types.catalog import Price, Rates, Tier
from fairlead.types.chat import Usage

TODAY = "2026-06-01"
FULL = Rates(
    input=3_000_000,
    output=15_000_000,
    cached_read=300_000,
    cached_write=3_750_000,
    cached_write_1h=6_000_000,
)
DEAR = Rates(input=6_000_000, output=22_500_000)
OLD = Price(rates=Rates(input=1), effective_until="2026-01-01", source="old")
NEW = Price(rates=Rates(input=2), effective_from="2026-01-01", source="new")
PROMOTION = Price(
    rates=Rates(input=3),
    effective_from="2026-05-01",
    effective_until="2026-07-01",
    source="promotion",
)


@pytest.mark.parametrize(
    ("prices", "today", "expected"),
    [
        pytest.param((), TODAY, "unknown", id="no-price"),
        pytest.param((Price(source="ever"),), TODAY, "ever", id="since-ever"),
        pytest.param((OLD, NEW), "2025-12-31", "old", id="last-day-of-the-old"),
        pytest.param((OLD, NEW), "2026-01-01", "new", id="until-is-exclusive"),
        pytest.param((OLD,), TODAY, "unknown", id="expired"),
        pytest.param((NEW,), "2025-12-31", "unknown", id="not-yet"),
        pytest.param((NEW, PROMOTION), TODAY, "promotion", id="the-later-start-wins"),
        pytest.param((PROMOTION, NEW), TODAY, "promotion", id="whatever-the-order"),
        pytest.param((PROMOTION, NEW), "2026-07-01", "new", id="back-after-the-promotion"),
    ],
)
def test_the_price_in_force(prices: tuple[Price, ...], today: str, expected: str) -> None:
    assert price_version(model("m", prices=prices), today) == expected


@pytest.mark.parametrize(
    ("input_tokens", "expected"),
    [(200_000, FULL), (200_001, DEAR), (500_001, Rates(input=9))],
    ids=["at-the-threshold", "above-it", "above-the-next"],
)
def test_tiers_count_for_the_whole_request(input_tokens: int, expected: Rates) -> None:
    tiers = (Tier(200_000, DEAR), Tier(500_000, Rates(input=9)))
    served = model("m", prices=(Price(rates=FULL, tiers=tiers),))

    assert rates_on(served, TODAY, input_tokens) == expected


@pytest.mark.parametrize(
    ("rates", "usage", "expected"),
    [
        pytest.param(FULL, Usage(1_000, 100), 4_500_000, id="plain"),
        pytest.param(FULL, Usage(1_000, 0, cached_read_tokens=900), 570_000, id="cache-read"),
        pytest.param(FULL, Usage(1_000, 0, 0, 1_000), 3_750_000, id="cache-write"),
        pytest.param(FULL, Usage(1_000, 0, 0, 1_000, 400), 4_650_000, id="some-for-an-hour"),
        pytest.param(FULL, Usage(10, 0, 0, 10, 99), 60_000, id="an-hour-is-part-of-the-writes"),
        pytest.param(FULL, Usage(0, 100, reasoning_tokens=40), 1_500_000, id="reasoning-as-output"),
        pytest.param(
            Rates(output=10, reasoning=1_000),
            Usage(0, 100, reasoning_tokens=40),
            41,
            id="reasoning-has-its-rate",
        ),
        pytest.param(Rates(input=1), Usage(1), 1, id="rounded-up"),
        pytest.param(Rates(input=1), Usage(1_000), 1, id="rounded-once"),
        pytest.param(Rates(input=1), Usage(1_001), 2, id="and-up-again"),
        pytest.param(Rates(input=0, output=0), Usage(9, 9), 0, id="free"),
        pytest.param(Rates(input=5), Usage(10, 1), None, id="output-unknown"),
        pytest.param(Rates(input=5_000), Usage(10, 0), 50, id="unknown-but-unused"),
        pytest.param(Rates(input=5_000), Usage(9, 0, 4), 45, id="no-discount-for-cache-reads"),
        pytest.param(Rates(output=5), Usage(9, 9, 9), None, id="neither-rate-known"),
        pytest.param(Rates(input=5), Usage(9, 0, 0, 4), None, id="cache-write-rate-unknown"),
        pytest.param(FULL, Usage(10, 0, 20), 6_000, id="more-cached-than-read"),
    ],
)
def test_what_an_attempt_cost(rates: Rates, usage: Usage, expected: int | None) -> None:
    assert cost_nano_usd(usage, model("m", prices=(Price(rates=rates),)), TODAY) == expected


def test_without_a_price_the_cost_is_unknown() -> None:
    assert cost_nano_usd(Usage(1, 1), model("m", prices=()), TODAY) is None


@pytest.mark.parametrize(
    ("rates", "expected", "worst"),
    [
        pytest.param(None, None, None, id="no-rates"),
        pytest.param(Rates(input=1_000, output=2_000), 20, 30, id="longest-answer"),
        pytest.param(
            Rates(input=1_000, output=2_000, cached_write=3_000), 20, 50, id="all-input-cached"
        ),
        pytest.param(
            Rates(input=1_000, output=2_000, cached_write_1h=4_000), 20, 60, id="for-an-hour"
        ),
        pytest.param(
            Rates(input=1_000, output=2_000, reasoning=5_000), 20, 60, id="all-output-reasoning"
        ),
        pytest.param(Rates(input=1_000), None, None, id="output-unknown"),
        pytest.param(Rates(output=1_000), None, None, id="input-unknown"),
    ],
)
def test_estimates(rates: Rates | None, expected: int | None, worst: int | None) -> None:
    assert expected_nano_usd(rates, 10, 5) == expected
    assert worst_nano_usd(rates, 10, 10) == worst


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        pytest.param(Rates(input=1_000, output=2_000), 45, id="what-is-left-after-the-input"),
        pytest.param(Rates(input=11_000, output=2_000), -5, id="input-alone-is-too-dear"),
        pytest.param(Rates(input=1_000), 0, id="unknown-affords-nothing"),
        pytest.param(Rates(output=1_000), 0, id="unknown-input-neither"),
    ],
)
def test_affordable_output(rates: Rates, expected: int) -> None:
    assert affordable_output(rates, 10, 100) == expected


@pytest.mark.parametrize(
    ("nano_usd", "expected"),
    [
        (None, None),
        (0, "0"),
        (1, "0.000000001"),
        (123_000, "0.000123"),
        (10_000_000_000, "10"),
        (12_345_678_900, "12.3456789"),
        (-1_500_000_000, "-1.5"),
        (9_007_199_254_740_993, "9007199.254740993"),
    ],
)
def test_dollars_are_exact(nano_usd: int | None, expected: str | None) -> None:
    assert usd(nano_usd) == expected


counts = st.integers(0, 10**7)
rate = st.integers(0, 10**9)
usages = st.builds(Usage, counts, counts, counts, counts, counts, counts)
all_rates = st.builds(
    Rates,
    input=rate,
    output=rate,
    cached_read=rate,
    cached_write=rate,
    cached_write_1h=rate,
    reasoning=st.none() | rate,
)


def _cost(usage: Usage, rates: Rates) -> int:
    cost = cost_nano_usd(usage, model("m", prices=(Price(rates=rates),)), TODAY)
    assert isinstance(cost, int)
    return cost


@given(usages, all_rates)
def test_a_cost_is_a_whole_number_and_never_negative(usage: Usage, rates: Rates) -> None:
    assert _cost(usage, rates) >= 0


@given(counts, counts, counts, all_rates)
def test_more_tokens_never_cost_less(more: int, first: int, second: int, rates: Rates) -> None:
    less = _cost(Usage(first, second), rates)

    assert _cost(Usage(first + more, second), rates) >= less
    assert _cost(Usage(first, second + more), rates) >= less


@given(counts, counts, counts, counts, all_rates)
def test_parts_add_up_but_for_rounding(a: int, b: int, c: int, d: int, rates: Rates) -> None:
    apart = _cost(Usage(a, b), rates) + _cost(Usage(c, d), rates)

    assert 0 <= apart - _cost(Usage(a + c, b + d), rates) <= 1


@given(counts, counts, counts, counts, all_rates)
def test_nothing_costs_more_than_the_worst(
    plain: int, cached: int, hour: int, output: int, rates: Rates
) -> None:
    whole = plain + cached + hour
    usage = Usage(whole, output, cached_write_tokens=cached + hour, cached_write_1h_tokens=hour)
    worst = worst_nano_usd(rates, whole, output)

    assert worst is not None
    assert _cost(usage, rates) <= worst


@given(counts, st.integers(0, 10**12), all_rates)
def test_what_is_affordable_can_be_afforded(input_tokens: int, left: int, rates: Rates) -> None:
    most = affordable_output(rates, input_tokens, left)
    worst = worst_nano_usd(rates, input_tokens, max(most, 0))

    assert worst is not None
    assert most < 0 or worst <= left
