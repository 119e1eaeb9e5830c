"""How much a model is to think: an effort by name, or a budget in tokens, and what leads from one
to the other. Knows no dialect."""

from collections.abc import Mapping

from fairlead.types.chat import Effort, Thinking

EFFORT_FROM_TOKENS: tuple[tuple[int, Effort], ...] = ((2_048, "low"), (12_288, "medium"))
"""A budget up to so many tokens is such an effort; anything larger is ``high``."""

TOKENS_FROM_EFFORT: Mapping[Effort, int] = {
    "none": 0,
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 65_536,
}


def effort_of(thinking: Thinking) -> Effort | None:
    """Return the effort that was named, or the nearest to a budget; None when none was said."""
    if thinking.enabled is False:
        return "none"
    if thinking.effort or thinking.budget_tokens is None:
        return thinking.effort
    budget = thinking.budget_tokens
    return next((effort for most, effort in EFFORT_FROM_TOKENS if budget <= most), "high")


def budget_tokens_of(thinking: Thinking) -> int:
    """Return the budget that was said, or that of the effort; of none at all, a medium one."""
    if thinking.enabled is False or thinking.effort == "none":
        return 0
    return thinking.budget_tokens or TOKENS_FROM_EFFORT[thinking.effort or "medium"]
