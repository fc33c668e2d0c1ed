"""find: contributions to a frozen detector."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import clone

from hlens.errors import HlensError
from hlens.probe.calibration import Method, calibrate
from hlens.probe.crossval import assign_folds, cross_validate, fold_aurocs
from hlens.probe.estimator import SparseProbe
from hlens.types import Contributions, Detector, RoutedMatrix


def find(
    data: Contributions, probe: SparseProbe | None = None, *, calibration: Method | None = "platt"
) -> Detector:
    """Find the neurons whose contributions tell hallucinations from true answers.

    Everything that is chosen is chosen by group, on examples that the fit did not see: C (where
    the probe asks for it), the threshold and the calibration.

    Args:
        data: Contributions of labelled examples.
        probe: What to fit; it is not changed. ``SparseProbe(C="cv")`` when None.
        calibration: ``"platt"``, ``"isotonic"`` or None.

    Returns:
        The detector. Its ``fit`` holds C, lambda over lambda_max, the duality gap, the numbers of
        examples and selected neurons, and the cross-validated AUROC (at a C chosen by the same
        folds: a little optimistic; `hlens.selection.nested_scores` gives the honest one).

    Raises:
        HlensError: NaN or infinity (which example, which neuron), one class, or fewer groups than
            folds.
        ConvergenceError: No certificate within the probe's limits.
    """
    probe = prepare_probe(probe, data)
    X, labels = matrix_of(data, probe), data.labels.cpu().numpy()
    groups = np.asarray(data.groups, dtype=object).astype(str)
    if len(np.unique(labels)) < 2:
        what = "hallucinations" if labels.any() else "true answers"
        raise HlensError(
            f"all {len(labels)} examples are {what}: a probe needs both; sample more questions"
        )
    fold = assign_folds(labels.astype(float), groups, n_folds=probe.cv, seed=probe.random_state)
    probe.fit(X, labels, groups=groups)
    scores = out_of_fold_scores(probe, X, labels, fold=fold)
    return Detector(
        weights=torch.from_numpy(probe.coef_[0]).float().reshape(data.n_layers, data.d_mlp),
        bias=float(probe.intercept_[0]),
        metric=data.metric,
        region=data.region,
        domains=tuple(sorted(set(data.domains))),
        threshold=best_threshold(scores, labels),
        calibration=None
        if calibration is None
        else calibrate(scores, labels, fold=fold, method=calibration),
        fit=summarise_fit(probe, data, fold_aurocs(scores, labels, fold)),
        provenance=data.provenance,
    )


def prepare_probe(probe: SparseProbe | None, data: Contributions) -> SparseProbe:
    """An unfitted copy of the probe that knows the layers of these contributions."""
    copy = SparseProbe(C="cv") if probe is None else copy_unfitted(probe)
    if copy.scale == "layer" and copy.n_layers is None:
        copy.set_params(n_layers=data.n_layers)
    return copy


def matrix_of(data: Contributions, probe: SparseProbe) -> torch.Tensor | RoutedMatrix:
    """What a probe is fitted to, ``[example, feature]``; of a mixture it is kept by expert."""
    routed = data.provenance.experts and probe.reads_routed
    return data.routed if routed else data.neuron_major.T


def copy_unfitted(probe: SparseProbe) -> SparseProbe:
    """An unfitted copy with the same options."""
    copy = clone(probe)
    if not isinstance(copy, SparseProbe):
        raise HlensError(f"got a {type(probe).__name__}; expected a SparseProbe")
    return copy


def out_of_fold_scores(
    probe: SparseProbe, X: torch.Tensor | RoutedMatrix, labels: np.ndarray, *, fold: np.ndarray
) -> np.ndarray:
    """Score of each example by a probe of the fitted C that did not see its fold."""
    if probe.cv_ is not None and np.array_equal(probe.cv_.fold, fold):
        return probe.cv_.scores[probe.cv_.position(probe.C_)]
    if probe.solver == "exact":
        training = probe.training_set(X, labels)
        return cross_validate(training, fold, np.array([probe.C_]))[0].scores[0]
    assert isinstance(X, torch.Tensor)  # which alone is read by liblinear
    scores = np.empty(len(labels))
    for k in range(int(fold.max()) + 1):
        rest = fold != k
        fitted = copy_unfitted(probe).fit(X[torch.from_numpy(rest)], labels[rest])
        scores[~rest] = fitted.decision_function(X[torch.from_numpy(~rest)])
    return scores


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The threshold of highest balanced accuracy, midway between its two neighbouring scores.

    >>> best_threshold(np.array([-1.0, 0.0, 2.0, 3.0]), np.array([False, False, True, True]))
    1.0
    """
    order = np.argsort(scores, kind="stable")
    s, y = scores[order], labels[order].astype(float)
    cuts = np.flatnonzero(np.r_[np.diff(s) > 0, False])  # between positions cut and cut + 1
    if not len(cuts):
        return float(s[0])
    true_negative = np.cumsum(1 - y)[cuts] / np.sum(1 - y)
    true_positive = 1 - np.cumsum(y)[cuts] / np.sum(y)
    best = cuts[int(np.argmax(true_negative + true_positive))]
    return float((s[best] + s[best + 1]) / 2)


def summarise_fit(probe: SparseProbe, data: Contributions, auroc: np.ndarray) -> dict[str, Any]:
    """How a detector was found, in plain JSON values."""
    fit = {
        "C": probe.C_,
        "lambda_ratio": probe.lambda_ratio_,
        "gap": None if np.isnan(probe.gap_) else probe.gap_,
        "n": len(data),
        "n_groups": len(set(data.groups)),
        "n_selected": probe.n_selected_,
        "n_positive": int((probe.coef_ > 0).sum()),
        "cv_auroc": float(auroc.mean()),
        "cv_auroc_se": float(auroc.std()) / max(1, probe.cv - 1) ** 0.5,
        "folds": probe.cv,
        **{name: getattr(probe, name) for name in ("solver", "penalty", "l1_ratio", "scale")},
        "class_weight": "given" if isinstance(probe.class_weight, Mapping) else probe.class_weight,
        "seed": probe.random_state or 0,
    }
    if probe.cv_ is not None:
        position = probe.cv_.position(probe.C_)
        # Where the grid ended early nothing lies beyond: that edge is no warning.
        last = position == len(probe.cv_.C) - 1 and not probe.cv_.ended
        fit |= {"rule": probe.rule, "C_at_edge_of_grid": position == 0 or last}
    return fit
