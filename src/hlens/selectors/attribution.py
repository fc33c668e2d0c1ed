"""Attribution: gradient times activation, where it differs most between the labels.

Reads `hlens.metrics.gradient_x_activation`: what zeroing a neuron would take away from the answer's
log-probability, to first order. It says what the model used, not what tells the labels apart.
"""

import numpy as np

from hlens.selectors._selector import Selector, difference_of_means, largest
from hlens.types import Contributions


def _rank(data: Contributions, k: int, seed: int) -> np.ndarray:
    return largest(np.abs(difference_of_means(data)))


selector = Selector(
    "attribution", _rank, says="gradient times activation", metric="gradient_x_activation"
)
