"""The estimator of the paper (arXiv 2512.01797), for comparison: scikit-learn's liblinear."""

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

from hlens.probe.solver import Solution
from hlens.probe.task import Task


def fit(task: Task, C: float, intercept: bool, seed: int) -> Solution:
    """Fit with a float64 copy and a penalised intercept; there is no certificate.

    Args:
        task: The problem.
        C: Inverse penalty.
        intercept: Whether there is an intercept.
        seed: Seed of the order in which liblinear visits the coordinates.
    """
    task.design.check_finite()
    factors = task.factors(task.everyone())
    shrink = np.ones(task.design.n_features)
    if factors is not None:
        shrink = 1.0 / factors[0].double().cpu().numpy()
    model = LogisticRegression(
        C=C, solver="liblinear", max_iter=1000, fit_intercept=intercept, random_state=seed
    )
    if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 8):
        model.set_params(penalty=task.penalty)
    else:
        model.set_params(l1_ratio=float(task.penalty == "l1"))
    X = task.design.matrix.cpu().double().numpy().T * shrink
    model.fit(X, task.y, sample_weight=task.weights(task.everyone())[0])
    w = model.coef_[0] * shrink
    chosen = np.flatnonzero(w)
    top, total = task.penalty_max()[0]
    bias, unknown = float(np.ravel(model.intercept_)[0]), float("nan")
    return Solution(1.0 / (C * total), top, chosen, w[chosen], bias, unknown, unknown)
