"""Quantities as people write them, to integers: ``400k``, ``40s``, ``5%``, ``$0.60``.

All arithmetic is decimal: a price never passes through a float.
"""

import re
from collections.abc import Mapping
from decimal import Decimal

from fairlead.outside.config.problems import Mistake, quoted

NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?) ?([A-Za-z%]*)", re.ASCII)

TOKENS: Mapping[str, int] = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000}
MILLISECONDS: Mapping[str, int] = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}
BYTES: Mapping[str, int] = {
    "": 1,
    "B": 1,
    "kB": 1_000,
    "MB": 1_000_000,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
PICO_USD_PER_TOKEN = 1_000_000
"""One dollar per million tokens, in pico-dollars per token: 1e12 / 1e6."""


def whole(text: str, units: Mapping[str, int], meant: str) -> int:
    """``text`` as a whole number of the smallest unit. Raises Mistake."""
    found = NUMBER.fullmatch(text)
    scale = units.get(found[2]) if found else None
    if found is None or scale is None:
        raise Mistake(f"{quoted(text)} is not {meant}")
    exact = Decimal(found[1]) * scale
    if exact != exact.to_integral_value():
        whole = "a whole number"
        raise Mistake(
            f"{quoted(text)} is not {meant}", "" if meant == whole else f"it is not {whole}"
        )
    return int(exact)


def tokens(text: str) -> int:
    return whole(text, TOKENS, "a number of tokens, such as 8000, 400k or 1.5M")


def some_tokens(text: str) -> int:
    return more_than_none(tokens(text))


def milliseconds(text: str) -> int:
    return whole(text, MILLISECONDS, "a duration, such as 250ms, 40s or 2m")


def some_milliseconds(text: str) -> int:
    return more_than_none(milliseconds(text))


def seconds(text: str) -> float:
    return some_milliseconds(text) / 1000


def any_seconds(text: str) -> float:
    return milliseconds(text) / 1000


def some_bytes(text: str) -> int:
    return more_than_none(whole(text, BYTES, "a size, such as 32MiB, 10MB or 65536"))


def count(text: str) -> int:
    return more_than_none(whole(text, {"": 1}, "a whole number"))


def more_than_none(amount: int) -> int:
    """Nothing at all would refuse every request."""
    if amount == 0:
        raise Mistake("must be more than 0")
    return amount


def number(text: str) -> float:
    """A plain number that is not negative, such as a weight. Never money."""
    found = NUMBER.fullmatch(text)
    if found is None or found[2]:
        raise Mistake(f"{quoted(text)} is not a number, such as 3 or 0.5")
    return float(found[1])


def positive(text: str) -> float:
    value = number(text)
    if value == 0:
        raise Mistake("must be more than 0")
    return value


def fraction(text: str) -> float:
    """``0.45`` or ``45%``."""
    found = NUMBER.fullmatch(text)
    if found is None or found[2] not in ("", "%"):
        raise Mistake(f"{quoted(text)} is not a fraction, such as 0.45 or 45%")
    share = float(Decimal(found[1]) / (100 if found[2] else 1))
    if share > 1:
        raise Mistake(f"{quoted(text)} is more than 1 (100%)")
    return share


def some_fraction(text: str) -> float:
    share = fraction(text)
    if share == 0:
        raise Mistake("must be more than 0")
    return share


def pico_usd(text: str) -> int:
    """Dollars per million tokens, such as ``$0.60``, to pico-dollars per token."""
    sign, amount = text[:1], text[1:]
    found = NUMBER.fullmatch(amount)
    if sign != "$" or found is None or found[2]:
        bare = NUMBER.fullmatch(text)
        hint = f"write ${text}" if bare and not bare[2] else ""
        raise Mistake(f"{quoted(text)} is not a price per million tokens, such as $0.60", hint)
    exact = Decimal(found[1]) * PICO_USD_PER_TOKEN
    if exact != exact.to_integral_value():
        raise Mistake(f"{quoted(text)} is finer than a millionth of a dollar")
    return int(exact)


def boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise Mistake(f"{quoted(text)} is neither true nor false")
    return text == "true"
