"""Which day and month an instant is in, in UTC, and until when."""

from datetime import UTC, datetime

import pytest

from fairlead.state.windows import clock_text, windows_at


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("at", "today", "until", "month_until"),
    [
        ("2026-11-24T12:00:00", "2026-11-24", "2026-11-25", "2026-12-01"),
        ("2026-11-24T00:00:00", "2026-11-24", "2026-11-25", "2026-12-01"),
        ("2026-11-24T23:59:59.999", "2026-11-24", "2026-11-25", "2026-12-01"),
        ("2026-11-30T23:59:59.999", "2026-11-30", "2026-12-01", "2026-12-01"),
        ("2026-12-31T12:00:00", "2026-12-31", "2027-01-01", "2027-01-01"),
        ("2027-01-31T12:00:00", "2027-01-31", "2027-02-01", "2027-02-01"),
        ("2028-02-28T12:00:00", "2028-02-28", "2028-02-29", "2028-03-01"),
    ],
)
def test_windows(at: str, today: str, until: str, month_until: str) -> None:
    windows = windows_at(ms(at))

    assert windows.today == today
    assert (windows.day, windows.month) == (f"day:{today}", f"month:{today[:7]}")
    assert (windows.from_ms, windows.until_ms) == (ms(today), ms(until))
    assert windows.month_until_ms == ms(month_until)


def test_an_instant_as_people_read_it() -> None:
    assert clock_text(ms("2026-11-25T00:00:59.999")) == "2026-11-25 00:00 UTC"
