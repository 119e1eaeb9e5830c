"""Money, tokens and times as people write and read them. What is read in is read exactly; what is
shown may be rounded, and never to nothing."""

import re
from datetime import UTC, datetime, tzinfo
from decimal import Decimal

from fairlead.decide.cost import NANO_PER_USD, usd
from fairlead.outside.config.problems import Mistake, quoted
from fairlead.outside.config.units import more_than_none, whole

DOLLARS = re.compile(r"\$?((?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9})?)", re.ASCII)
AGES = {"s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
UNKNOWN = "unknown"


def nano_usd(text: str) -> int:
    """``5``, ``$0.50`` or ``$1000000``, exactly. Raises Mistake, for nothing at all too: in most
    shells ``$100`` unquoted is ``00``."""
    found = DOLLARS.fullmatch(text)
    if found is None or not any(digit in "123456789" for digit in text):
        raise Mistake(
            f"{quoted(text)} is not an amount of dollars, such as 5 or 0.50",
            "a shell takes $5 for a variable of its own: write 5 or '$5'",
        )
    return int(Decimal(found[1]) * NANO_PER_USD)


def age_ms(text: str) -> int:
    """``30m``, ``1h`` or ``2d``. Raises Mistake."""
    return more_than_none(whole(text, AGES, "an age, such as 30m, 1h or 2d"))


def dollars(amount_nano_usd: int | None, decimals: int = 6) -> str:
    """Rounded, but never to nothing."""
    if amount_nano_usd is None:
        return UNKNOWN
    if amount_nano_usd == 0:
        return "$0"
    step_nano_usd = NANO_PER_USD // 10**decimals
    steps = max(1, (abs(amount_nano_usd) + step_nano_usd // 2) // step_nano_usd)
    whole_usd, rest = divmod(steps, 10**decimals)
    sign = "-" if amount_nano_usd < 0 else ""
    return f"{sign}${whole_usd}.{rest:0{decimals}d}"


def charge(amount_nano_usd: int | None) -> str:
    """What a request costs, to a millionth of a dollar."""
    return "free" if amount_nano_usd == 0 else dollars(amount_nano_usd)


def exact_dollars(amount_nano_usd: int) -> str:
    """``$5``, ``$0.50``, ``$0.000000001``."""
    whole_usd, point, rest = usd(amount_nano_usd).partition(".")
    return f"${whole_usd}{point}{rest:0<2}" if rest else f"${whole_usd}"


def tokens(count: int | None) -> str:
    """``950``, ``1.2k``, ``15k``, ``3.4M``."""
    if count is None:
        return "?"
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 10 * size:
            return f"{count // size}{unit}"
        if count >= size:
            return f"{count // size}.{count % size * 10 // size}{unit}"
    return str(count)


def duration(milliseconds: float) -> str:
    """Five characters at most, as long as it is less than three hours."""
    if milliseconds < 9.95:
        return f"{milliseconds:.1f}ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f}ms"
    if milliseconds < 99_950:
        return f"{milliseconds / 1_000:.1f}s"
    if milliseconds < 599_500:
        return f"{milliseconds / 1_000:.0f}s"
    return f"{milliseconds / 60_000:.0f}m"


def moment(at_ms: int, zone: tzinfo | None) -> datetime:
    """``zone`` None: this machine's."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(zone)
