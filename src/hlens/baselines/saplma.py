"""SAPLMA: a small neural network on the residual stream of one layer.

Azaria and Mitchell 2023, arXiv 2304.13734: layers of 256, 128 and 64 units (ReLU, Adam) and a
logistic one. They read the last token, and report each layer; here the layer, and whether the mean
over the answer's tokens or the last one is read, are chosen as `hlens.baselines.mass_mean` chooses
(AUROC of the difference of means on group folds inside the training part), since a network for
every layer and fold would take hours. States are standardised by the training part, where the paper
takes them as they are. The paper's five epochs of thousands of statements are too few for some
hundred answers, so a number of steps is fixed instead, and the log-odds of three starts are
averaged, since each ends elsewhere. One forward pass. It misleads as every reading
of a whole layer does, where the label goes with topic or format; and beside its linear form
(`hlens.baselines.residual_probe`) it needs many more answers before its bends are more than noise.
"""

from typing import Any, cast

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from hlens.baselines._learning import Labels, Others, States, best_place, folds, states
from hlens.baselines._rival import Rival
from hlens.baselines.mass_mean import along_means
from hlens.types import Evidence

DISPLAY = "SAPLMA"

UNITS = (256, 128, 64)
BATCH = 32
STEPS = 400  # about what five epochs of 2,500 statements are
STARTS = 3


def network_scores(X: States, label: Labels, other: Others, *, seed: int) -> np.ndarray:
    """Log-odds of hallucination in `other`, mean over networks that start differently."""
    scale = StandardScaler().fit(X)
    inside, outside = scale.transform(X), scale.transform(other)
    odds = []
    for start in range(STARTS):
        batch = min(BATCH, len(X))
        draw = np.random.RandomState(seed + start)  # a seed alone would shuffle each epoch alike
        network: Any = MLPClassifier(UNITS, batch_size=cast(Any, batch), random_state=draw)
        for _ in range(max(1, STEPS * batch // len(X))):  # an epoch each
            network.partial_fit(inside, label, classes=[False, True])
        wrong = network.predict_proba(outside)[:, 1].clip(1e-12, 1 - 1e-12)
        odds.append(np.log(wrong) - np.log1p(-wrong))
    return np.mean(odds, axis=0)


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    place = best_place(train, folds(train.labels, train.groups, seed), along_means)
    X, other = states(train, place), states(test, place)
    return torch.from_numpy(network_scores(X, train.labels.numpy(), other, seed=seed)).float()


rival = Rival(
    "saplma",
    frozenset({"residual", "residual_last"}),
    _score,
    learns=True,
    says="what a small network reads in a layer of the residual stream",
)
