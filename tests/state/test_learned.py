"""What the answers teach about tokens."""

import pytest

from fairlead.state.learned import Learned


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param([], {}, id="nothing yet"),
        pytest.param([(400, 100)], {"m": 4.0}, id="the first counts in full"),
        pytest.param([(400, 100), (600, 100)], {"m": 4.1}, id="later ones move it a little"),
        pytest.param([(60, 19)], {}, id="a short prompt is mostly template"),
        pytest.param([(10, 100)], {"m": 1.0}, id="at least 1: images have no characters"),
        pytest.param([(10_000, 100)], {"m": 10.0}, id="at most 10"),
        pytest.param([(400, 0)], {}, id="no usage"),
    ],
)
def test_characters_per_token(seen: list[tuple[int, int]], expected: dict[str, float]) -> None:
    learned = Learned()
    for chars, tokens in seen:
        learned.observe("m", chars, tokens)

    assert learned.chars_per_token() == pytest.approx(expected)


def test_it_settles_near_what_is_reported() -> None:
    learned = Learned()
    for chars in (300, 500) * 100:
        learned.observe("m", chars, 100)

    assert learned.chars_per_token()["m"] == pytest.approx(4, abs=0.1)
