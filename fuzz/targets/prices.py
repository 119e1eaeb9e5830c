"""Tokens times prices, beside the same sum in fractions: whole, never negative, never above the
worst, and what is unknown stays unknown. Sixteen numbers, nine bytes each: one of flags, a number.
"""

from fractions import Fraction

from fairlead.decide.cost import affordable_output, cost_nano_usd, usd, worst_nano_usd
from fairlead.types.catalog import Model, Price, Rates
from fairlead.types.chat import Usage

SEEDS = [bytes(range(144)), b"\x01" * 144, b"", b"\x00\xff\xff" * 48]
MAX_BYTES = 144


def check(data: bytes) -> None:
    numbers = [_number(data[at : at + 9]) for at in range(0, 16 * 9, 9)]
    rates = Rates(*numbers[:6])
    counts = [(number or 0) % (1 << 31) for number in numbers[8:14]]
    usage = Usage(*counts)
    cost = cost_nano_usd(usage, Model("m", prices=(Price(rates),)), "2026-01-01")
    exact = _exact(usage, rates)
    if exact is None:
        assert cost is None, "an unknown price became an amount"
        return
    assert cost is not None
    assert 0 <= cost - exact < 1, "not the sum, rounded up once"
    assert Fraction(usd(cost)) == Fraction(cost, 10**9), "shown otherwise than counted"
    worst = worst_nano_usd(rates, usage.input_tokens, usage.output_tokens)
    whole = usage.cached_read_tokens + usage.cached_write_tokens <= usage.input_tokens
    if whole and worst is not None and (rates.cached_read or 0) <= (rates.input or 0):
        assert cost <= worst, "worse than the worst"
        most = affordable_output(rates, usage.input_tokens, worst)
        if rates.input is not None and rates.output:
            assert most >= usage.output_tokens, "what can be paid cannot be afforded"


def _number(piece: bytes) -> int | None:
    if not piece or piece[0] % 8 == 7:
        return None
    return int.from_bytes(piece[1:], "big") >> (piece[0] % 8 * 8)


def _exact(usage: Usage, rates: Rates) -> Fraction | None:
    hour = min(usage.cached_write_1h_tokens, usage.cached_write_tokens)
    reasoning = 0 if rates.reasoning is None else min(usage.reasoning_tokens, usage.output_tokens)
    read = rates.input if rates.cached_read is None else rates.cached_read
    items = [
        (usage.input_tokens - usage.cached_read_tokens - usage.cached_write_tokens, rates.input),
        (usage.cached_read_tokens, read),
        (usage.cached_write_tokens - hour, rates.cached_write),
        (hour, rates.cached_write_1h),
        (usage.output_tokens - reasoning, rates.output),
        (reasoning, rates.reasoning),
    ]
    used = [(tokens, rate) for tokens, rate in items if tokens > 0]
    if any(rate is None for _, rate in used):
        return None
    return sum((Fraction(tokens * (rate or 0), 1000) for tokens, rate in used), Fraction(0))
