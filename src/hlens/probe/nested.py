"""Nested cross-validation: scores that no choice of C has seen."""

from dataclasses import dataclass

import numpy as np

from hlens.probe.crossval import assign_folds, cross_validate_many, fold_aurocs
from hlens.probe.estimator import SparseProbe
from hlens.probe.prepared import copy_unfitted, matrix_of, prepare_probe
from hlens.probe.solution import Solution
from hlens.probe.training import decision_scores
from hlens.types import Contributions


@dataclass(frozen=True, eq=False)
class NestedScores:
    """Out-of-fold scores; everything that was chosen was chosen inside the training part.

    Attributes:
        scores: Log-odds of each example by a probe that saw neither it nor its group.
        fold: Outer fold of each example. Scores of different folds come from different probes.
        auroc: AUROC on each outer fold.
        C: C that was chosen inside each outer fold.
        lambda_ratio: lambda over lambda_max there.
        n_selected: Neurons that were selected there.
    """

    scores: np.ndarray
    fold: np.ndarray
    auroc: np.ndarray
    C: np.ndarray
    lambda_ratio: np.ndarray
    n_selected: np.ndarray


def nested_scores(
    data: Contributions, probe: SparseProbe | None = None, *, folds: int = 5
) -> NestedScores:
    """Score every example by a probe whose fit, C included, did not see its group.

    All outer and inner folds (`folds` and ``probe.cv``) are solved in lockstep over the one matrix;
    nothing is copied. The probe is that of `hlens.find` when None.

    Raises:
        HlensError: Input that cannot be fitted, as in `hlens.find`; fewer groups than folds.
    """
    probe = prepare_probe(probe, data)
    X, labels, groups = matrix_of(data, probe), data.labels.cpu().numpy(), np.asarray(data.groups)
    training = probe.training_set(X, labels)
    y = training.y
    fold = assign_folds(y, groups, n_folds=folds, seed=probe.random_state)
    masks = np.stack([fold != k for k in range(folds)])
    solutions, C = list[Solution](), list[float]()
    if probe.C == "cv" and probe.n_neurons is None:
        # C by inner folds of each outer training part, all in lockstep.
        inner = np.full(masks.shape, -1)
        for own, mask in zip(inner, masks, strict=True):
            own[mask] = assign_folds(
                y[mask], groups[mask], n_folds=probe.cv, seed=probe.random_state
            )
        grids = training.grid(int(probe.n_points), float(probe.path_ratio), masks=masks)
        for validation, path in cross_validate_many(training, list(inner), list(grids)):
            chosen = validation.choose(probe.rule)
            solutions.append(path[chosen])
            C.append(float(validation.C[chosen]))
    else:  # no C to choose by folds: weight 0 holds an example out
        for mask in masks:
            fitted = copy_unfitted(probe).fit(X, labels, sample_weight=mask.astype(float))
            solutions.append(fitted.solution_)
            C.append(fitted.C_)
    scores = np.empty(len(y))
    for k, solution in enumerate(solutions):
        held_out = np.flatnonzero(fold == k)
        scores[held_out] = decision_scores(training.design, [solution], held_out)[0]
    return NestedScores(
        scores=scores,
        fold=fold,
        auroc=fold_aurocs(scores, y, fold),
        C=np.array(C),
        lambda_ratio=np.array([s.ratio for s in solutions]),
        n_selected=np.array([len(s.features) for s in solutions]),
    )
