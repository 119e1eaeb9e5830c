"""From a budget to an effort, from an effort to a budget, and what stands when nothing was said."""

import pytest

from fairlead.dialects.thinking import TOKENS_FROM_EFFORT, budget_tokens_of, effort_of
from fairlead.types.chat import Effort, Thinking


@pytest.mark.parametrize(
    ("thinking", "effort", "tokens"),
    [
        (Thinking(), None, 8192),
        (Thinking(enabled=True), None, 8192),
        (Thinking(enabled=False), "none", 0),
        (Thinking("high", enabled=False), "none", 0),
        (Thinking("none"), "none", 0),
        (Thinking("low"), "low", 2048),
        (Thinking("high"), "high", 16_384),
        (Thinking("xhigh"), "xhigh", 32_768),
        (Thinking("max"), "max", 65_536),
        (Thinking("low", budget_tokens=9000), "low", 9000),
        (Thinking(budget_tokens=1024), "low", 1024),
        (Thinking(budget_tokens=2048), "low", 2048),
        (Thinking(budget_tokens=2049), "medium", 2049),
        (Thinking(budget_tokens=12_288), "medium", 12_288),
        (Thinking(budget_tokens=12_289), "high", 12_289),
    ],
)
def test_effort_and_budget(thinking: Thinking, effort: Effort | None, tokens: int) -> None:
    assert (effort_of(thinking), budget_tokens_of(thinking)) == (effort, tokens)


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_there_and_back_it_is_the_same(effort: Effort) -> None:
    assert effort_of(Thinking(budget_tokens=TOKENS_FROM_EFFORT[effort])) == effort
