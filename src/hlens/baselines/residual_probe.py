"""Residual probe: logistic regression on the residual stream of one layer.

The linear form of SAPLMA (Azaria and Mitchell 2023, arXiv 2304.13734), which reads hidden states at
the end of a statement. States are standardised by the training part; the layer, and whether the
mean over the answer's tokens or the last one is read, are chosen by AUROC on group folds inside the
training part, at one penalty (prior variance of the log-odds 10); then C is chosen on the same
folds. One forward pass. It reads everything that a layer knows, so it is the dense rival that a
sparse set of neurons must be weighed against. It misleads where the label goes with topic or
format, which a layer knows too.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from hlens.baselines._learning import Labels, Others, States, best_place, folds, states
from hlens.baselines._rival import Rival
from hlens.probe.stacking import l2_logistic, splits_of
from hlens.types import Evidence


def _quick(X: States, label: Labels, other: Others) -> np.ndarray:
    plain = LogisticRegression(C=10 / X.shape[1], class_weight="balanced", max_iter=1000)
    return make_pipeline(StandardScaler(), plain).fit(X, label).decision_function(other)


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    fold = folds(train.labels, train.groups, seed)
    place = best_place(train, fold, _quick)
    model = make_pipeline(StandardScaler(), l2_logistic(splits_of(fold)))
    model.fit(states(train, place), train.labels.numpy())
    return torch.from_numpy(model.decision_function(states(test, place))).float()


rival = Rival(
    "residual_probe",
    frozenset({"residual", "residual_last"}),
    _score,
    learns=True,
    says="a direction of the residual stream",
)
