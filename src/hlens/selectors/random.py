"""Random: neurons of the whole model, drawn by the seed. What any selector must beat."""

import numpy as np

from hlens.selectors._selector import Selector
from hlens.types import Contributions
from hlens.types.experts import widths_of


def _rank(data: Contributions, k: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    widths = widths_of(data.provenance.experts, data.n_layers, data.d_mlp)
    places = [layer * data.d_mlp + np.arange(width) for layer, width in enumerate(widths)]
    return draw.choice(np.concatenate(places), size=k, replace=False)


selector = Selector("random", _rank, says="drawn from the whole model")
