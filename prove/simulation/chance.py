"""What a seed decides, asked for by name. One of these a run; whoever draws, draws in order."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

Choice = TypeVar("Choice")


class Chance(Random):
    def happens(self, probability: float) -> bool:
        return self.random() < probability

    def between(self, least: float, most: float) -> float:
        return least + (most - least) * self.random()

    def whole(self, least: int, most: int) -> int:
        """Both included."""
        return least + int((most - least + 1) * self.random())

    def one_of(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(self.random() * len(choices))]

    def some_of(self, choices: Sequence[Choice]) -> tuple[Choice, ...]:
        """At least one."""
        some = tuple(one for one in choices if self.happens(0.5))
        return some or (self.one_of(choices),)
