"""How good an answer to expect from a model: the one place where a trained model comes in later.

Today it is a prior: a logistic curve of the model's strength against the task's difficulty.
"""

from math import exp

from fairlead.types.catalog import Model
from fairlead.types.decision import Task

STEEPNESS = 10.0
"""A model answers well every second task that is as difficult as it is strong, and three in four
that are 0.11 easier."""


def expected_quality(task: Task, model: Model) -> float:
    """From 0 to 1; rises with strength and falls with difficulty. Neither cost nor health is in
    it."""
    return 1.0 / (1.0 + exp(STEEPNESS * (task.difficulty - model.strength)))
