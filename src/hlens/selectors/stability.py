"""Stability selection: the neurons that half-samples select most often.

The frequency over complementary halves of the groups (Shah & Samworth 2013), as
`hlens.selection.stability` has it; neurons that no half selects are not ranked.
"""

import numpy as np

from hlens.selection.stability import stability
from hlens.selectors._selector import Selector, largest
from hlens.types import Contributions

PAIRS = 10  # of halves


def _rank(data: Contributions, k: int, seed: int) -> np.ndarray:
    frequency = stability(data, n_pairs=PAIRS, seed=seed).frequency.flatten().numpy()
    return largest(frequency)[: int((frequency > 0).sum())]


selector = Selector("stability", _rank, says="selected by most half-samples")
