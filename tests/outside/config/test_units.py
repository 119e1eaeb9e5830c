"""Quantities as people write them."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.outside.config import units
from fairlead.outside.config.problems import Mistake


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (units.tokens, "8000", 8_000),
        (units.tokens, "400k", 400_000),
        (units.tokens, "1.5M", 1_500_000),
        (units.tokens, "0", 0),
        (units.tokens, "0.5k", 500),
        (units.milliseconds, "250ms", 250),
        (units.milliseconds, "40s", 40_000),
        (units.milliseconds, "1.5s", 1_500),
        (units.milliseconds, "2m", 120_000),
        (units.milliseconds, "1h", 3_600_000),
        (units.milliseconds, "90d", 7_776_000_000),
        (units.seconds, "40s", 40.0),
        (units.seconds, "250ms", 0.25),
        (units.some_bytes, "65536", 65_536),
        (units.some_bytes, "10MB", 10_000_000),
        (units.some_bytes, "32MiB", 33_554_432),
        (units.fraction, "5%", 0.05),
        (units.fraction, "0.45", 0.45),
        (units.fraction, "100%", 1.0),
        (units.some_fraction, "5%", 0.05),
        (units.number, "3", 3.0),
        (units.number, "0.5", 0.5),
        (units.count, "2", 2),
        (units.pico_usd, "$0", 0),
        (units.pico_usd, "$0.60", 600_000),
        (units.pico_usd, "$15", 15_000_000),
        (units.pico_usd, "$0.000001", 1),
        (units.boolean, "true", True),
        (units.boolean, "false", False),
    ],
)
def test_means(parse: Callable[[str], object], text: str, expected: object) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (units.tokens, "400kb", "`400kb` is not a number of tokens, such as 8000, 400k or 1.5M"),
        (units.tokens, "-1", "`-1` is not a number of tokens, such as 8000, 400k or 1.5M"),
        (units.tokens, "1.5", "`1.5` is not a number of tokens, such as 8000, 400k or 1.5M"),
        (units.tokens, "1e3", "`1e3` is not a number of tokens, such as 8000, 400k or 1.5M"),
        (units.tokens, "٣", "`٣` is not a number of tokens, such as 8000, 400k or 1.5M"),
        (units.some_tokens, "0", "must be more than 0"),
        (units.milliseconds, "40", "`40` is not a duration, such as 250ms, 40s or 2m"),
        (units.milliseconds, "40S", "`40S` is not a duration, such as 250ms, 40s or 2m"),
        (units.seconds, "0s", "must be more than 0"),
        (units.some_milliseconds, "0d", "must be more than 0"),
        (units.some_bytes, "32mib", "`32mib` is not a size, such as 32MiB, 10MB or 65536"),
        (units.fraction, "101%", "`101%` is more than 1 (100%)"),
        (units.some_fraction, "0%", "must be more than 0"),
        (units.fraction, "half", "`half` is not a fraction, such as 0.45 or 45%"),
        (units.number, "inf", "`inf` is not a number, such as 3 or 0.5"),
        (units.positive, "0", "must be more than 0"),
        (units.count, "0", "must be more than 0"),
        (units.count, "1.5", "`1.5` is not a whole number"),
        (units.pico_usd, "0.60", "`0.60` is not a price per million tokens, such as $0.60"),
        (units.pico_usd, "$1k", "`$1k` is not a price per million tokens, such as $0.60"),
        (units.pico_usd, "", "`` is not a price per million tokens, such as $0.60"),
        (units.pico_usd, "$0.0000001", "`$0.0000001` is finer than a millionth of a dollar"),
        (units.boolean, "yes", "`yes` is neither true nor false"),
    ],
)
def test_refuses(parse: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(Mistake) as caught:
        parse(text)

    assert caught.value.message == message


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [(units.count, "1.5", ""), (units.some_tokens, "0.5", "it is not a whole number")],
)
def test_nothing_is_said_twice(parse: Callable[[str], object], text: str, hint: str) -> None:
    with pytest.raises(Mistake) as caught:
        parse(text)

    assert caught.value.hint == hint


def test_a_bare_price_is_told_what_to_write() -> None:
    with pytest.raises(Mistake) as caught:
        units.pico_usd("0.60")

    assert caught.value.hint == "write $0.60"


@given(st.integers(0, 10**12))
def test_no_price_is_rounded(pico_usd: int) -> None:
    written = f"${Decimal(pico_usd) / 1_000_000:f}"

    assert units.pico_usd(written) == pico_usd
