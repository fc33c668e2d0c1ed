"""Rivals that are one number of an answer's tokens, their direction fixed by definition."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hlens.baselines._rival import Rival, Score
from hlens.types import Evidence


def of_tokens(reading: str, number: Callable[[np.ndarray], float]) -> Score:
    """Score each row by a number of its token values."""

    def score(train: Evidence, test: Evidence, seed: int) -> Tensor:
        return torch.tensor(
            [number(np.asarray(row)) for row in getattr(test, reading)], dtype=torch.float64
        ).float()

    return score


def token_rival(name: str, reading: str, number: Callable[[np.ndarray], float], says: str) -> Rival:
    """A rival that learns nothing: one number of `logprobs` or `entropies`."""
    return Rival(name, frozenset({reading}), of_tokens(reading, number), False, says)
