"""The prior: rises with strength, falls with difficulty, knows nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decide.pool import model
from fairlead.decide.quality import expected_quality
from fairlead.types.decision import Task

unit = st.floats(0.0, 1.0)


def quality(strength: float, difficulty: float) -> float:
    return expected_quality(Task("chat", difficulty, 1, 1), model("m", strength=strength))


@pytest.mark.parametrize(
    ("strength", "difficulty", "expected"),
    [(0.5, 0.5, 0.5), (0.61, 0.5, 0.75), (0.9, 0.1, 1.0), (0.1, 0.9, 0.0)],
    ids=["as-hard-as-strong", "a-little-stronger", "far-stronger", "far-weaker"],
)
def test_anchors(strength: float, difficulty: float, expected: float) -> None:
    assert quality(strength, difficulty) == pytest.approx(expected, abs=0.001)


@given(unit, unit, unit)
def test_monotone(strength: float, difficulty: float, more: float) -> None:
    assert 0.0 < quality(strength, difficulty) < 1.0
    assert quality(strength + more, difficulty) >= quality(strength, difficulty)
    assert quality(strength, difficulty + more) <= quality(strength, difficulty)
