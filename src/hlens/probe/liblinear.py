"""The estimator of the paper (arXiv 2512.01797), for comparison: scikit-learn's liblinear."""

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

from hlens.probe.solution import Solution
from hlens.probe.training import TrainingSet


def solve(training: TrainingSet, C: float, *, seed: int) -> Solution:
    """Solve with a float64 copy and a penalised intercept; there is no certificate.

    `seed` is that of the order in which liblinear visits the coordinates.
    """
    training.design.check_finite()
    factors = training.penalty_factors(training.everyone)
    shrink = np.ones(training.design.n_features)
    if factors is not None:
        shrink = 1.0 / factors[0].double().cpu().numpy()
    intercept = training.options.fit_intercept
    model = LogisticRegression(
        C=C, solver="liblinear", max_iter=1000, fit_intercept=intercept, random_state=seed
    )
    if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 8):
        model.set_params(penalty=training.penalty)
    else:
        model.set_params(l1_ratio=float(training.penalty == "l1"))
    X = training.design.matrix.cpu().double().numpy().T * shrink
    model.fit(X, training.y, sample_weight=training.weights(training.everyone)[0])
    w = model.coef_[0] * shrink
    chosen = np.flatnonzero(w)
    penalty_max, total = training.penalty_max()[0]
    bias, unknown = float(np.ravel(model.intercept_)[0]), float("nan")
    return Solution(1.0 / (C * total), penalty_max, chosen, w[chosen], bias, unknown, unknown)
