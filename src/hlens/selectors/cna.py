"""Contrastive attribution: the largest difference of means, less what fires everywhere.

After CNA (arXiv 2605.12290): the neurons whose mean differs most between the two kinds, of which
those are left out that are among the strongest 1 % of the model in at least 80 % of the answers of
both kinds. There the top .1 % are taken; here k.
"""

import numpy as np
import torch

from hlens.selectors._selector import Selector, blocks_of, difference_of_means, largest
from hlens.types import Contributions

DISPLAY = "CNA"

STRONGEST = 0.01  # of the model's neurons
EVERYWHERE = 0.8  # of the answers


def _rank(data: Contributions, k: int, seed: int) -> np.ndarray:
    ranked = largest(np.abs(difference_of_means(data)))
    return ranked[~fires_everywhere(data)[ranked]]


def fires_everywhere(data: Contributions) -> np.ndarray:
    """Whether each neuron is among the strongest of nearly every answer."""
    n_strongest = max(1, int(STRONGEST * data.n_neurons))
    # The least of the strongest of each answer: in one pass over blocks, so that a store stays on
    # disk; then how often each neuron reaches it.
    top = torch.zeros(0, len(data))
    for rows in blocks_of(data):
        both = torch.cat([top, data.rows(rows).float().abs().cpu()])
        top = torch.topk(both, min(n_strongest, len(both)), dim=0).values
    least = top.amin(dim=0)
    reached = [
        (data.rows(rows).float().abs().cpu() >= least).float().mean(dim=1)
        for rows in blocks_of(data)
    ]
    return (torch.cat(reached) >= EVERYWHERE).numpy()


selector = Selector("cna", _rank, says="difference of means, less what fires everywhere")
