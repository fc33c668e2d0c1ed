"""Matched random: for each neuron of the L1 probe one of its layer that contributes about as much.

What a set must beat to be more than a set of strong neurons in the right layers.
"""

import numpy as np

from hlens.selectors import l1
from hlens.selectors._selector import Selector
from hlens.types import Contributions


def _rank(data: Contributions, k: int, seed: int) -> np.ndarray:
    like = l1.selector(data, k)
    drawn = like.random_like(seed, match="contribution", contribution=data.size())
    return np.array(drawn.flat_indices)


selector = Selector("matched_random", _rank, says="as strong and of the same layers as L1's")
