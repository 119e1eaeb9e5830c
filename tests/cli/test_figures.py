"""Figures are read exactly, and shown short."""

from collections.abc import Callable
from datetime import UTC

import pytest

from fairlead.cli import figures
from fairlead.cli.figures import age_ms, nano_usd
from fairlead.outside.config.problems import Mistake

USD = 10**9


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("5", 5 * USD),
        ("$5", 5 * USD),
        ("$0.50", USD // 2),
        ("0.1", USD // 10),
        ("$1000000", 1_000_000 * USD),
        ("$999999999.999999999", 999_999_999_999_999_999),
        ("0.000000001", 1),
        ("123456.789012345", 123_456_789_012_345),
    ],
)
def test_dollars_are_read_to_the_last_nano_dollar(text: str, amount: int) -> None:
    assert nano_usd(text) == amount
    assert type(nano_usd(text)) is int


@pytest.mark.parametrize(
    "text",
    [
        *("", "$", "five", "5 USD", "-5", "+5", "1e3", "nan", "inf", "1,000", "5.", ".5", " 5"),
        *("$$5", "0.0000000001", "1000000000", "5\n", "\u0665", "\udcff"),
        # What a shell makes of $0.00, $100 and $105 without quotes.
        *("0", "0.00", "00", "05"),
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(Mistake, match="is not an amount of dollars") as mistake:
        nano_usd(text)

    assert mistake.value.hint == "a shell takes $5 for a variable of its own: write 5 or '$5'"


@pytest.mark.parametrize(
    ("text", "ms"), [("90s", 90_000), ("30m", 1_800_000), ("1.5h", 5_400_000), ("2d", 172_800_000)]
)
def test_ages(text: str, ms: int) -> None:
    assert age_ms(text) == ms


@pytest.mark.parametrize("text", ["", "2", "2w", "yesterday", "0h", "-1h"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(Mistake):
        age_ms(text)


@pytest.mark.parametrize(
    ("show", "amount", "text"),
    [
        (figures.charge, None, "unknown"),
        (figures.charge, 0, "free"),
        (figures.charge, 1, "$0.000001"),
        (figures.charge, 82_250, "$0.000082"),
        (figures.charge, 1_234_567_890, "$1.234568"),
        (figures.dollars, 0, "$0"),
        (figures.dollars, -1_500_000, "-$0.001500"),
        (figures.exact_dollars, 5 * USD, "$5"),
        (figures.exact_dollars, USD // 2, "$0.50"),
        (figures.exact_dollars, 1, "$0.000000001"),
        (figures.tokens, None, "?"),
        (figures.tokens, 999, "999"),
        (figures.tokens, 1_000, "1.0k"),
        (figures.tokens, 12_345, "12k"),
        (figures.tokens, 3_456_789, "3.4M"),
        (figures.tokens, 98_765_432_100, "98G"),
        (figures.duration, 0.25, "0.2ms"),
        (figures.duration, 9.96, "10ms"),
        (figures.duration, 999.6, "1.0s"),
        (figures.duration, 62_345.0, "62.3s"),
        (figures.duration, 599_400.0, "599s"),
        (figures.duration, 600_000.0, "10m"),
    ],
)
def test_what_is_shown(show: Callable[[object], str], amount: object, text: str) -> None:
    assert show(amount) == text


def test_moments_are_told_in_the_zone_asked_for() -> None:
    assert f"{figures.moment(1_795_521_600_000, UTC):%Y-%m-%d %H:%M %Z}" == "2026-11-24 12:00 UTC"
