"""What the answers teach: how many characters a token of each model holds. Knows no text."""

from collections.abc import Mapping

WEIGHT = 0.05
"""Of one answer in the moving average: a few dozen make it settle."""
LEAST, MOST = 1.0, 10.0
"""Characters per token; beyond these the usage was not of the text that was counted."""
NOTHING_NEW = 0.01
"""An answer that differs so little from what is known teaches nothing."""
ENOUGH_TOKENS = 20
"""Shorter prompts are mostly the chat template."""


class Learned:
    def __init__(self) -> None:
        self._chars_per_token: Mapping[str, float] = {}

    def observe(self, model: str, chars: int, tokens: int) -> None:
        """A request of so many characters was reported as so many input tokens."""
        if tokens < ENOUGH_TOKENS:
            return
        seen = min(max(chars / tokens, LEAST), MOST)
        known = self._chars_per_token.get(model)
        if known is None:
            learned = seen
        elif abs(seen - known) < NOTHING_NEW * known:
            return
        else:
            learned = known + WEIGHT * (seen - known)
        # Replaced, never changed: a View may hold the old one.
        self._chars_per_token = {**self._chars_per_token, model: learned}

    def chars_per_token(self) -> Mapping[str, float]:
        """By model name; a model that was not asked yet is absent."""
        return self._chars_per_token
