"""Rivals that fit a probe of hlens to all neurons, in another way than the H-neuron detector."""

import numpy as np
import torch
from torch import Tensor

from hlens.baselines._learning import folds
from hlens.probe import SparseProbe
from hlens.types import Contributions, Evidence


def probe_scores(
    probe: SparseProbe, train: Evidence, inside: Contributions, outside: Contributions
) -> Tensor:
    """Log-odds of each row of `outside`; C by group inside the training part.

    Args:
        probe: What to fit; its number of folds becomes as many as the groups allow.
        train: The training part, for its labels and groups.
        inside: What the probe reads of the training part.
        outside: The same of the test part.
    """
    fold = folds(train.labels, train.groups, probe.random_state or 0)
    probe.set_params(cv=len(np.unique(fold)))
    probe.fit(inside.neuron_major.T, train.labels.numpy(), groups=np.asarray(train.groups))
    return torch.from_numpy(probe.decision_function(outside.neuron_major.T)).float()
