"""The allowance of retries: a tenth of what was asked, and a few."""

import pytest

from fairlead.state.retries import Retries

NOW_S = 1000.0


def granted(asked_first: int, wanted: int, now_s: float = NOW_S) -> int:
    """How many of ``wanted`` retries are allowed after so many first attempts."""
    retries, made = Retries(), 0
    for _ in range(wanted):
        if not retries.are_spent(asked_first + made, now_s):
            retries.add(now_s)
            made += 1
    return made


@pytest.mark.parametrize(
    ("asked_first", "wanted", "allowed"),
    [
        pytest.param(0, 50, 3, id="nothing asked yet"),
        pytest.param(1, 2, 2, id="who asks rarely may ask again"),
        pytest.param(10, 50, 4, id="a tenth and three"),
        pytest.param(100, 200, 13, id="of a hundred"),
        pytest.param(600, 600, 63, id="of thirty seconds at twenty a second"),
        pytest.param(600, 20, 20, id="no more than wanted"),
    ],
)
def test_a_tenth_and_a_few(asked_first: int, wanted: int, allowed: int) -> None:
    assert granted(asked_first, wanted) == allowed


def test_they_come_back_with_time() -> None:
    retries = Retries()
    for second in range(3):
        retries.add(NOW_S + second)

    assert retries.are_spent(0, NOW_S + 29.9)
    assert not retries.are_spent(0, NOW_S + 30)
    retries.add(NOW_S + 30)
    assert retries.are_spent(0, NOW_S + 30.9)
