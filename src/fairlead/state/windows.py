"""The day and the month that a budget counts in, in UTC. Knows no budget."""

from datetime import UTC, datetime, timedelta

from msgspec import Struct


class Windows(Struct, frozen=True):
    """The windows of every instant from ``from_ms`` until ``until_ms``, Unix milliseconds."""

    today: str
    """ISO date."""
    day: str
    """``day:2026-11-24``, as in the ledger."""
    month: str
    """``month:2026-11``"""
    from_ms: int
    until_ms: int
    month_until_ms: int


def windows_at(now_ms: int) -> Windows:
    midnight = datetime.fromtimestamp(now_ms / 1000, UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    today = midnight.date().isoformat()
    next_month = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    return Windows(
        today=today,
        day=f"day:{today}",
        month=f"month:{today[:7]}",
        from_ms=_ms(midnight),
        until_ms=_ms(midnight + timedelta(days=1)),
        month_until_ms=_ms(next_month),
    )


def clock_text(at_ms: int) -> str:
    """For people: ``2026-11-25 00:00 UTC``."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
