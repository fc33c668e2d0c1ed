"""A detector from any linear scikit-learn estimator, and the plain L2 refit of chosen neurons."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.auroc import check_both_classes
from hlens.probe import SparseProbe
from hlens.probe.finding import prepare_probe
from hlens.types import Contributions, Detector


def fit_detector(data: Contributions, probe: BaseEstimator) -> Detector:
    """Fit a fresh copy of `probe` and freeze what it found, without calibration or threshold.

    `hlens.find` adds those; controls, folds and domains need many fits and only their scores.

    Args:
        data: Training contributions.
        probe: A `SparseProbe`, or any scikit-learn estimator that learns ``coef_`` and
            ``intercept_``; it is cloned, never fitted itself.

    Raises:
        HlensError: One class only, or an estimator that is not linear.
    """
    labels = data.labels.numpy()
    check_both_classes(labels, "a probe")
    fitted: Any
    if isinstance(probe, SparseProbe):
        fitted = prepare_probe(probe, data)
        fitted.fit(data.neuron_major.T, labels, groups=np.asarray(data.groups))
    else:
        fitted = clone(probe)
        fitted.fit(data.neuron_major.T.float().numpy(), labels)
    if not hasattr(fitted, "coef_") or not hasattr(fitted, "intercept_"):
        raise HlensError(
            f"{type(probe).__name__} learns no coef_ and intercept_; give a linear estimator, "
            "such as SparseProbe or LogisticRegression"
        )
    weights = torch.from_numpy(np.asarray(fitted.coef_, dtype=np.float32).reshape(-1))
    return Detector(
        weights=weights.reshape(data.n_layers, data.d_mlp),
        bias=float(np.ravel(fitted.intercept_)[0]),
        metric=data.metric,
        region=data.region,
        domains=tuple(sorted(set(data.domains))),
        fit={"C": float(fitted.C_)} if isinstance(fitted, SparseProbe) else {},
        provenance=data.provenance,
    )


def rows_of(data: Contributions, neurons: Sequence[int]) -> Float[np.ndarray, "example chosen"]:
    """Contributions of the neurons of the given flat indices, in float64."""
    rows = torch.as_tensor(list(neurons), dtype=torch.long)
    return data.neuron_major[rows].T.double().numpy()


def refit_scores(
    train: Contributions,
    test: Contributions,
    neurons: Sequence[int],
    labels: Bool[Tensor, " example"] | None = None,
) -> Float[np.ndarray, " example"]:
    """Score `test` by an L2 logistic regression on the given neurons of `train` alone.

    The neurons are standardised by the training part, so that the penalty treats all alike. The
    penalty grows with their number: the prior variance of the log-odds is 10 whatever the number,
    and sets of different sizes compare without a choice for each.

    Args:
        train: Training contributions.
        test: Contributions to score.
        neurons: Flat indices (layer * d_mlp + neuron).
        labels: Labels to train with, in place of those of `train`.
    """
    target = (train.labels if labels is None else labels).numpy()
    inside, outside = rows_of(train, neurons), rows_of(test, neurons)
    centre, spread = inside.mean(axis=0), inside.std(axis=0)
    spread[spread == 0] = 1.0
    ridge = LogisticRegression(C=10 / len(centre), max_iter=2000)
    ridge.fit((inside - centre) / spread, target)
    return ridge.decision_function((outside - centre) / spread)
