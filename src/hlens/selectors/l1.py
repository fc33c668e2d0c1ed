"""L1: the sparse probe of the paper (arXiv 2512.01797), at the penalty that selects k neurons.

Neurons are ranked by their weight times their standard deviation. It chooses jointly: of several
neurons that say the same it takes one, which another half of the data may exchange for its twin.
"""

import numpy as np
import torch

from hlens.evaluation.sparsity import order_selected
from hlens.probe.estimator import SparseProbe
from hlens.probe.prepared import matrix_of, prepare_probe
from hlens.probe.ways import probe_of
from hlens.selectors._selector import Selector
from hlens.types import Contributions

DISPLAY = "L1"


def selector_of(probe: SparseProbe) -> Selector:
    """L1 with the options of a probe, its penalty apart: that is where k neurons are selected."""

    def rank(data: Contributions, k: int, seed: int) -> np.ndarray:
        options = {**probe.get_params(), "C": 1.0, "n_neurons": k, "solver": "exact"}
        fitted = prepare_probe(SparseProbe(**options).set_params(random_state=seed), data)
        weights = fitted.fit(matrix_of(data, fitted), data.labels.numpy()).coef_[0]
        return np.array(order_selected(data, torch.from_numpy(weights)))

    return Selector("l1", rank, says="the sparse probe, fitted jointly")


selector = selector_of(probe_of("hlens"))
