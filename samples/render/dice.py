"""Random numbers for streets and plans."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """A generator's numbers, by the names that streets and plans call them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def near(self, middle: float, spread: float) -> float:
        return float(self.rng.normal(middle, spread))

    def chance(self, share: float) -> bool:
        return bool(self.rng.uniform() < share)

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def draw(self, shares: Mapping[T, float]) -> T:
        """One of the keys, as often as its share says (of a sum of 1)."""
        return list(shares)[int(self.rng.choice(len(shares), p=list(shares.values())))]
