"""When an endpoint counts as fallen silent: many wait, for long, and nothing is heard."""

import pytest

from fairlead.state.silence import Silence

NOW_S = 1000.0


def noticed_at(
    *answers_s: float, every_s: float = 0.05, attempts: int = 400, first_at_s: float = NOW_S
) -> float | None:
    """How long after the first of them it is noticed that attempts go unheard, after answers that
    took so long to begin; None: it is not."""
    silence = Silence()
    for answer_s in answers_s:
        silence.answered(answer_s)
    for number in range(attempts):
        if silence.begins(first_at_s + number * every_s):
            return number * every_s
    return None


@pytest.mark.parametrize(
    ("answers_s", "every_s", "noticed_s"),
    [
        pytest.param([0.05], 0.05, 0.55, id="quick ones: after half a second"),
        pytest.param([0.41], 0.05, 1.25, id="slower ones: three times as long"),
        pytest.param([0.05, 2.0], 0.05, 6.05, id="the slowest counts"),
        pytest.param([2.0] + [0.05] * 100, 0.05, 0.95, id="of late"),
        pytest.param([0.05], 1.0, 8.0, id="a few that wait are no crowd"),
        pytest.param([], 0.05, None, id="never heard of: who knows how long it takes"),
    ],
)
def test_when_silence_is_noticed(
    answers_s: list[float], every_s: float, noticed_s: float | None
) -> None:
    assert noticed_at(*answers_s, every_s=every_s) == pytest.approx(noticed_s, abs=0.001)


def test_many_at_once_are_not_silence() -> None:
    assert noticed_at(0.05, every_s=0.0) is None


@pytest.mark.parametrize("sign", ["heard", "answered"])
def test_a_sign_of_life_begins_it_anew(sign: str) -> None:
    silence = Silence()
    silence.answered(0.05)
    for number in range(200):
        assert not silence.begins(NOW_S + number * 0.05)
        if number % 8 == 7:
            silence.heard() if sign == "heard" else silence.answered(0.05)
