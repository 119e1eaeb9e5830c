"""The verdicts: each bar is held against its figure, and one that is passed by a little fails."""

import pytest
from bench.__main__ import BARS, verdicts

CASES = ("unary", "stream", "cross_stream")


def results(**changes: float) -> dict[str, object]:
    at_the_bar = BARS | changes
    found: dict[str, object] = {case: {"ratio": at_the_bar[f"{case} ratio"]} for case in CASES}
    return found | {name: at_the_bar[name] for name in ("rss_mb", "start_s")}


def test_what_is_at_its_bar_holds() -> None:
    assert [holds for *_, holds in verdicts(results())] == [True] * len(BARS)


@pytest.mark.parametrize("name", BARS)
def test_what_is_beyond_its_bar_does_not(name: str) -> None:
    failed = [row for row in verdicts(results(**{name: BARS[name] * 1.01})) if not row[3]]

    assert [row[0] for row in failed] == [name]
