"""A detector from any linear scikit-learn estimator, and the plain L2 refit of chosen neurons."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression

from hlens.errors import HlensError
from hlens.evaluation.auroc import auroc, check_both_classes
from hlens.evaluation.split import folds_by_group
from hlens.probe import SparseProbe
from hlens.probe.finding import best_threshold
from hlens.probe.frozen import freeze_weights
from hlens.probe.prepared import matrix_of, prepare_probe
from hlens.types import Contributions, Detector, NeuronSet

FOLDS = 5  # of the training part, over which a refit's threshold is chosen


@runtime_checkable
class Finder(Protocol):
    """What finds a detector in its own way, such as a selector with a refit of what it names."""

    def find_in(self, data: Contributions) -> Detector: ...


T = TypeVar("T")
P = TypeVar("P")


Probe: TypeAlias = BaseEstimator | Finder


def fit_detector(data: Contributions, probe: Probe) -> Detector:
    """Fit a fresh copy of `probe` and freeze it as a detector, without calibration or threshold.

    `hlens.find` adds those; controls, folds and domains need many fits and only their scores. The
    probe is a `SparseProbe`, any scikit-learn estimator that learns ``coef_`` and ``intercept_``
    (it is cloned, never fitted itself), or a `Finder` (`hlens.selectors.probe`).

    Raises:
        HlensError: One class only, or an estimator that is not linear.
    """
    labels = data.labels.numpy()
    check_both_classes(labels, "a probe")
    if isinstance(probe, Finder):
        return probe.find_in(data)
    fitted: Any
    if isinstance(probe, SparseProbe):
        fitted = prepare_probe(probe, data)
        fitted.fit(matrix_of(data, fitted), labels, groups=np.asarray(data.groups))
    else:
        fitted = clone(probe)
        fitted.fit(data.neuron_major.T.float().numpy(), labels)
    if not hasattr(fitted, "coef_") or not hasattr(fitted, "intercept_"):
        raise HlensError(
            f"{type(probe).__name__} learns no coef_ and intercept_; give a linear estimator, "
            "such as SparseProbe or LogisticRegression"
        )
    own = {"C": float(fitted.C_)} if isinstance(fitted, SparseProbe) else {}
    return freeze_weights(data, fitted.coef_, float(np.ravel(fitted.intercept_)[0]), fit=own)


def refit_detector(data: Contributions, *, neurons: Sequence[int]) -> Detector:
    """The refit of `refit_scores`, as a detector of these neurons by flat index."""
    inside, weights = _columns(data, neurons), np.zeros(data.n_layers * data.d_mlp)
    ridge, centre, deviation = _fit_ridge(inside, data.labels.numpy())
    own = np.ravel(ridge.coef_) / deviation
    weights[list(neurons)] = own
    return freeze_weights(data, weights, float(np.ravel(ridge.intercept_)[0] - own @ centre))


def fix_C(probe: P, detector: Detector) -> P | SparseProbe:
    """The probe with the C that it chose when it found the detector.

    Only a `SparseProbe` with ``C="cv"`` is changed, and it is copied.
    """
    chosen = detector.fit.get("C")
    if not isinstance(probe, SparseProbe) or probe.C != "cv" or chosen is None:
        return probe
    return SparseProbe(**{**probe.get_params(), "C": float(chosen)})


def refit_scores(
    train: Contributions, test: Contributions, *, neurons: Sequence[int]
) -> Float[np.ndarray, " example"]:
    """Score `test` by an L2 logistic regression on neurons of `train` alone, given by flat index.

    The neurons are standardised by the training part, so that the penalty treats all alike. The
    penalty grows with their number: the prior variance of the log-odds is 10 whatever the number,
    and sets of different sizes compare without a choice for each.
    """
    inside, outside = (_columns(part, neurons) for part in (train, test))
    return _ridge_scores(inside, train.labels.numpy(), outside)


def _columns(data: Contributions, neurons: Sequence[int]) -> Float[np.ndarray, "example neuron"]:
    rows = torch.as_tensor(list(neurons), dtype=torch.long)
    return data.rows(rows).T.double().numpy()


def _ridge_scores(
    inside: Float[np.ndarray, "train neuron"],
    labels: Bool[np.ndarray, " train"],
    outside: Float[np.ndarray, "example neuron"],
) -> Float[np.ndarray, " example"]:
    ridge, centre, deviation = _fit_ridge(inside, labels)
    return ridge.decision_function((outside - centre) / deviation)


def _fit_ridge(
    inside: Float[np.ndarray, "train neuron"], labels: Bool[np.ndarray, " train"]
) -> tuple[LogisticRegression, Float[np.ndarray, " neuron"], Float[np.ndarray, " neuron"]]:
    """Logistic regression on standardised columns; their means and standard deviations."""
    centre, deviation = inside.mean(axis=0), inside.std(axis=0)
    deviation[deviation == 0] = 1.0
    ridge = LogisticRegression(C=10 / len(centre), max_iter=2000)
    return ridge.fit((inside - centre) / deviation, labels), centre, deviation


def refit_threshold(train: Contributions, *, neurons: Sequence[int], seed: int = 0) -> float:
    """The threshold of a refit (`refit_scores`), fixed in the training part as `hlens.find` does.

    It has the highest balanced accuracy on out-of-fold scores; NaN where a label has one group.
    """
    labels, groups = train.labels.numpy(), np.asarray(train.groups)
    folds = min(FOLDS, *(len(set(groups[labels == label])) for label in (True, False)))
    if folds < 2:
        return float("nan")
    fold = folds_by_group(train, folds, seed=seed)
    # The neurons alone: a selection of examples would copy all neurons, a set and a fold at a time.
    values, scores = _columns(train, neurons), np.empty(len(train))
    for part in range(folds):
        inner, held_out = fold != part, fold == part
        scores[held_out] = _ridge_scores(values[inner], labels[inner], values[held_out])
    return best_threshold(scores, labels)


def over_random_sets(
    sets: Iterable[NeuronSet], read: Callable[[Sequence[int]], T]
) -> tuple[list[T], str]:
    """What `read` makes of the flat indices of each set, and why some could not be drawn.

    The sets are those of `NeuronSet.random_sets`, which may run out of other neurons; the reason is
    empty where they did not.
    """
    results: list[T] = []
    try:
        for neurons in sets:
            results.append(read(neurons.flat_indices))
    except HlensError as error:  # too few other neurons in a layer must not lose the whole table
        return results, str(error)
    return results, ""


def refit_random_sets(
    train: Contributions, test: Contributions, *, sets: Iterable[NeuronSet]
) -> tuple[list[float], str]:
    """Held-out AUROC of the refit on each random set; see `over_random_sets`."""

    def read(neurons: Sequence[int]) -> float:
        return auroc(refit_scores(train, test, neurons=neurons), test.labels.numpy())

    return over_random_sets(sets, read)
