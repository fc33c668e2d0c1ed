"""Mass-mean direction: the residual stream along the difference of the class means.

``x . (mean of hallucinated - mean of true)`` in training (Marks and Tegmark 2023, arXiv
2310.06824). The layer, and whether the mean over the answer's tokens or the last one is read, are
chosen by AUROC on group folds inside the training part. One forward pass. It has no weight to fit,
hence little to overfit. It misleads where the classes differ in domain or format: the difference of
means is that difference.
"""

import numpy as np
import torch
from torch import Tensor

from hlens.baselines._learning import Labels, Others, States, best_place, folds, states
from hlens.baselines._rival import Rival
from hlens.types import Evidence

DISPLAY = "mass-mean direction"


def along_means(X: States, label: Labels, other: Others) -> np.ndarray:
    """Scores of `other` along the difference of the class means of `X`."""
    return other @ (X[label].mean(axis=0) - X[~label].mean(axis=0))


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    place = best_place(train, folds(train.labels, train.groups, seed), along_means)
    scores = along_means(states(train, place), train.labels.numpy(), states(test, place))
    return torch.from_numpy(scores).float()


rival = Rival(
    "mass_mean",
    frozenset({"residual", "residual_last"}),
    _score,
    learns=True,
    says="the difference of the class means in the residual stream",
)
