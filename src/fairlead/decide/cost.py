"""Tokens times prices. Integers only: pico-dollars per token, nano-dollars per amount.

Amounts are rounded up once, at the end. An unknown rate that is in use makes the amount unknown
(None), which is never the same as free. Knows no endpoint and no budget.
"""

from typing import overload

from fairlead.types.catalog import Model, Price, Rates
from fairlead.types.chat import Usage

PICO_PER_NANO = 1_000
NANO_PER_USD = 1_000_000_000


def price_on(model: Model, today: str) -> Price | None:
    """The price in force on an ISO date: the one that began last, or None."""
    found: Price | None = None
    for price in model.prices:
        begun = price.effective_from <= today
        over = price.effective_until and price.effective_until <= today
        if begun and not over and (found is None or price.effective_from > found.effective_from):
            found = price
    return found


def rates_on(model: Model, today: str, input_tokens: int) -> Rates | None:
    """Rates in force for a request of this size; None when no price is known."""
    price = price_on(model, today)
    if price is None:
        return None
    rates = price.rates
    for tier in price.tiers:
        if input_tokens > tier.above_input_tokens:
            rates = tier.rates
    return rates


def price_version(model: Model, today: str) -> str:
    """Where the price in force comes from, for the record."""
    price = price_on(model, today)
    return "unknown" if price is None else price.source


def cost_nano_usd(usage: Usage, model: Model, today: str) -> int | None:
    """What an attempt cost, or None when a rate that it needs is unknown."""
    rates = rates_on(model, today, usage.input_tokens)
    if rates is None:
        return None
    write_1h = min(usage.cached_write_1h_tokens, usage.cached_write_tokens)
    plain = usage.input_tokens - usage.cached_read_tokens - usage.cached_write_tokens
    reasoning = (
        min(usage.reasoning_tokens, usage.output_tokens) if rates.reasoning is not None else 0
    )
    return _nano_usd(
        (plain, rates.input),
        # No rate listed for them means no discount: they cost what input costs.
        (usage.cached_read_tokens, rates.input if rates.cached_read is None else rates.cached_read),
        (usage.cached_write_tokens - write_1h, rates.cached_write),
        (write_1h, rates.cached_write_1h),
        (usage.output_tokens - reasoning, rates.output),
        (reasoning, rates.reasoning),
    )


def expected_nano_usd(rates: Rates | None, input_tokens: int, output_tokens: int) -> int | None:
    """Before anything is known of caches: every input token at the full rate."""
    if rates is None:
        return None
    return _pair_nano_usd(input_tokens, rates.input, output_tokens, rates.output)


def worst_nano_usd(rates: Rates | None, input_tokens: int, max_output: int) -> int | None:
    """No answer of at most ``max_output`` tokens can cost more: all of the input is written to the
    dearest cache, all of the output is charged at the dearer of its two rates."""
    if rates is None:
        return None
    return _pair_nano_usd(input_tokens, _dearest_input(rates), max_output, _dearest_output(rates))


def affordable_output(rates: Rates, input_tokens: int, nano_usd: int) -> int:
    """The most output tokens whose worst cost still fits, negative when the input alone does not;
    0 when a rate is unknown."""
    input_rate, output_rate = _dearest_input(rates), _dearest_output(rates)
    if input_rate is None or output_rate is None:
        return 0
    return (nano_usd * PICO_PER_NANO - input_tokens * input_rate) // max(output_rate, 1)


@overload
def usd(nano_usd: int) -> str: ...
@overload
def usd(nano_usd: None) -> None: ...
@overload
def usd(nano_usd: int | None) -> str | None: ...
def usd(nano_usd: int | None) -> str | None:
    """Exact decimal dollars, such as ``0.000123``; no float on the way."""
    if nano_usd is None:
        return None
    if 0 < nano_usd < NANO_PER_USD:
        return f"0.{nano_usd:09d}".rstrip("0")
    sign = "-" if nano_usd < 0 else ""
    whole, rest = divmod(abs(nano_usd), NANO_PER_USD)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")


def _dearest_input(rates: Rates) -> int | None:
    if rates.input is None:
        return None
    if rates.cached_write is None and rates.cached_write_1h is None:
        return rates.input
    return max(rates.input, rates.cached_write or 0, rates.cached_write_1h or 0)


def _dearest_output(rates: Rates) -> int | None:
    if rates.output is None or rates.reasoning is None:
        return rates.output
    return max(rates.output, rates.reasoning)


def _pair_nano_usd(
    input_tokens: int, input_rate: int | None, output_tokens: int, output_rate: int | None
) -> int | None:
    # As _nano_usd, for the two items that every candidate of every request is priced by.
    if (input_rate is None and input_tokens) or (output_rate is None and output_tokens):
        return None
    pico_usd = input_tokens * (input_rate or 0) + output_tokens * (output_rate or 0)
    return -(-pico_usd // PICO_PER_NANO)


def _nano_usd(*items: tuple[int, int | None]) -> int | None:
    pico_usd = 0
    for tokens, rate in items:
        if tokens <= 0:
            continue
        if rate is None:
            return None
        pico_usd += tokens * rate
    return -(-pico_usd // PICO_PER_NANO)
