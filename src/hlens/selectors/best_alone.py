"""Best alone: the neurons whose own contribution tells the labels apart best, in either direction.

Ranked by the distance of each neuron's AUROC from one half. k neurons may all say the same thing.
"""

import numpy as np

from hlens.evaluation.univariate import separation_alone
from hlens.selectors._selector import Selector, largest
from hlens.types import Contributions


def _rank(data: Contributions, k: int, seed: int) -> np.ndarray:
    separation = separation_alone(data)
    return largest(separation)[: data.n_neurons]  # what is no neuron comes last


selector = Selector("best_alone", _rank, says="each neuron's own AUROC")
