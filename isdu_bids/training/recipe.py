"""What the configurations of all networks have in common, and the learning rate of a step."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi
from typing import Any, Protocol


class Recipe(Protocol):
    """Settings of a training run that do not depend on the kind of network."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Values that may not change while a run goes on; dataclasses for sections."""

    @property
    def steps(self) -> int:
        """Adam steps."""

    @property
    def learning_rate(self) -> float:
        """The highest one."""

    @property
    def schedule(self) -> str:
        """``trapezoid`` or ``cosine``."""

    @property
    def warmup_steps(self) -> int:
        """Steps over which the learning rate rises."""

    @property
    def decay_steps(self) -> int:
        """Steps over which it falls, of a trapezoid."""

    @property
    def average_decay(self) -> float:
        """Of the moving average of the weights."""

    @property
    def seed(self) -> int:
        """Of everything."""


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of a step, see `isdu_bids.training.config.TrainingConfig`."""
    rise = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    if recipe.schedule == "cosine":
        return recipe.learning_rate * rise * (1 + cos(pi * step / recipe.steps)) / 2
    fall = (recipe.steps - step) / max(1, recipe.decay_steps)
    return recipe.learning_rate * min(rise, fall)
