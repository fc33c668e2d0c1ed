"""find: contributions to a frozen detector, or evidence to a detector beside output numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
import torch
from jaxtyping import Float, Int

from hlens.errors import HlensError
from hlens.kinds import describe
from hlens.probe.calibration import Method, calibrate
from hlens.probe.crossval import assign_folds, cross_validate, fold_aurocs
from hlens.probe.estimator import SparseProbe
from hlens.probe.frozen import freeze_weights
from hlens.probe.nested import nested_scores
from hlens.probe.prepared import copy_unfitted, matrix_of, prepare_probe
from hlens.probe.stacking import combine
from hlens.probe.ways import READS, probe_of
from hlens.types import Combined, Contributions, Detector, Evidence, RoutedMatrix


@overload
def find(
    data: Contributions,
    probe: SparseProbe | None = None,
    *,
    way: str = "",
    calibration: Method | None = "platt",
) -> Detector: ...


@overload
def find(
    data: Evidence,
    probe: SparseProbe | None = None,
    *,
    way: str = "",
    calibration: Method | None = "platt",
    beside: Literal["output"],
) -> Combined: ...


def find(
    data: Contributions | Evidence,
    probe: SparseProbe | None = None,
    *,
    way: str = "",
    calibration: Method | None = "platt",
    beside: str = "",
) -> Detector | Combined:
    """Find the neurons whose contributions tell hallucinations from true answers.

    Everything that is chosen is chosen by group, on examples that the fit did not see: C (where
    the probe asks for it), the threshold and the calibration.

    Args:
        data: Contributions of labelled examples; with `beside` the evidence of these
            (`hlens.baselines.gather`).
        probe: What to fit; it is not changed. That of `way` when None.
        way: ``"hlens"``, or ``"paper"``: liblinear on CETT as it was published, with nothing
            scaled, weighted or chosen. In place of a probe.
        calibration: ``"platt"``, ``"isotonic"`` or None.
        beside: ``"output"`` also stacks the detector with the model's own output numbers
            (log-probabilities, entropies, length), inside these examples.

    Returns:
        The detector. Its ``fit`` holds C, lambda over lambda_max, the duality gap, the numbers of
        examples and selected neurons, and the cross-validated AUROC (at a C chosen by the same
        folds: a little optimistic; `hlens.selection.nested_scores` gives the honest one).
        With `beside` a `Combined`, which holds the detector.

    Raises:
        HlensError: NaN or infinity (which example, which neuron), one class, fewer groups than
            folds, an unknown way, or data without output numbers beside which to find.
        ConvergenceError: No certificate within the probe's limits.
    """
    if probe is not None and way:
        raise HlensError(f"a probe and way={way!r}; give one of them")
    probe = probe_of(way or "hlens") if probe is None else probe
    if way == "paper":
        _check_reads(way, data)
    if not beside:
        if not isinstance(data, Contributions):
            raise HlensError(
                f"data: {describe(data)}; give Contributions, or Evidence with beside='output'"
            )
        return _find_detector(data, probe, calibration)
    if beside != "output":
        raise HlensError(f"beside={beside!r:.60}; expected 'output', or nothing")
    if not isinstance(data, Evidence):
        raise HlensError(
            f"data: {describe(data)}; what is found beside the output needs Evidence "
            "(hlens.baselines.gather), whose contributions are read"
        )
    detector = _find_detector(data.contributions, probe, calibration)
    own = nested_scores(data.contributions, probe)
    return combine(data, detector, own.scores, fold=own.fold, calibration=calibration)


def _check_reads(way: str, data: Contributions | Evidence) -> None:
    """Raise `HlensError` where contributions are of another metric than a way reads."""
    metric = (data.contributions if isinstance(data, Evidence) else data).metric
    if metric != READS[way]:
        raise HlensError(
            f"way={way!r} reads {READS[way]}, the contributions are {metric}; measure with "
            f"metric=hlens.metrics.{READS[way]}, or give a probe of your own"
        )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A probe fitted to contributions, and what it says of those that it did not see.

    Attributes:
        probe: The fitted copy.
        scores: Score of each example by a probe of the same C that did not see its fold.
        fold: Fold of each example; no group is in two.
    """

    probe: SparseProbe
    scores: Float[np.ndarray, " example"]
    fold: Int[np.ndarray, " example"]

    def freeze(self, data: Contributions, **further: Any) -> Detector:
        """The detector of the whole fit; `data` is what it was fitted to."""
        bias = float(self.probe.intercept_[0])
        return freeze_weights(data, self.probe.coef_[0], bias, **further)


def fit_out_of_fold(data: Contributions, probe: SparseProbe) -> Fitted:
    """Fit a copy of the probe; C, where it is chosen, is chosen on the same folds.

    Raises:
        HlensError: As `find`.
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
    return Fitted(probe, out_of_fold_scores(probe, X, labels, fold=fold), fold)


def _find_detector(data: Contributions, probe: SparseProbe, calibration: Method | None) -> Detector:
    found = fit_out_of_fold(data, probe)
    probe, scores, fold, labels = found.probe, found.scores, found.fold, data.labels.cpu().numpy()
    detector = found.freeze(
        data,
        threshold=best_threshold(scores, labels),
        calibration=None
        if calibration is None
        else calibrate(scores, labels, fold=fold, method=calibration),
    )
    return replace(
        detector, fit=summarise_fit(probe, detector, data, fold_aurocs(scores, labels, fold))
    )


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


def summarise_fit(
    probe: SparseProbe, detector: Detector, data: Contributions, auroc: np.ndarray
) -> dict[str, Any]:
    """How a detector was found, in plain JSON values."""
    fit = {
        "C": probe.C_,
        "lambda_ratio": probe.lambda_ratio_,
        "gap": None if np.isnan(probe.gap_) else probe.gap_,
        "n": len(data),
        "n_groups": len(set(data.groups)),
        "n_selected": probe.n_selected_,
        "n_positive": len(detector.neurons),
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
