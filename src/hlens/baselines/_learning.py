"""What rivals learn with: a direction, and logistic regression whose C is chosen by group."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from hlens.baselines._rival import NotAvailableError
from hlens.errors import HlensError
from hlens.probe.crossval import assign_folds

CS = tuple(10.0**power for power in range(-4, 3))
FOLDS = 5


def direction(values: Float[Tensor, " example"], labels: Bool[Tensor, " example"]) -> int:
    """1 where larger values go with hallucination in training, else -1.

    >>> direction(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, False]))
    -1
    """
    ranks = rankdata(values.numpy())
    label = labels.numpy()
    return 1 if ranks[label].mean() >= ranks[~label].mean() else -1


def folds(labels: Bool[Tensor, " example"], groups: Sequence[str], seed: int) -> np.ndarray:
    """Fold of each training example, by group: five, or as many fewer as its groups allow.

    Raises:
        NotAvailableError: Not even two folds have both labels.
    """
    reason = ""
    for count in range(FOLDS, 1, -1):
        try:
            return assign_folds(labels.numpy().astype(int), groups, n_folds=count, seed=seed)
        except HlensError as error:
            reason = str(error)
    raise NotAvailableError(f"nothing can be chosen inside the training part: {reason}")


def splits(fold: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds as scikit-learn takes them: (training rows, held-out rows)."""
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]


def logistic(fold: np.ndarray) -> GridSearchCV:
    """L2 logistic regression, classes balanced, its C by AUROC on these held-out folds."""
    plain = LogisticRegression(class_weight="balanced", max_iter=5000, tol=1e-6)
    return GridSearchCV(plain, {"C": CS}, scoring="roc_auc", cv=splits(fold))


def logistic_scores(
    train: Float[np.ndarray, "example feature"],
    labels: Bool[Tensor, " example"],
    groups: Sequence[str],
    test: Float[np.ndarray, "row feature"],
    seed: int,
) -> Float[Tensor, " row"]:
    """Log-odds of each test row by logistic regression on standardised features."""
    model = make_pipeline(StandardScaler(), logistic(folds(labels, groups, seed)))
    model.fit(train, labels.numpy())
    return torch.from_numpy(model.decision_function(test)).float()
