"""Which layer of the residual stream, and the mean of the span or its last token: by group CV."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from hlens.types import Evidence

States = Float[np.ndarray, "example d_model"]
Others = Float[np.ndarray, "row d_model"]
Labels = Bool[np.ndarray, " example"]
# Training states and labels, states to be scored -> their scores.
Fit = Callable[[States, Labels, Others], Float[np.ndarray, " row"]]


def places(evidence: Evidence) -> Iterator[tuple[str, int]]:
    """All (reading, layer)."""
    assert evidence.residual is not None
    for reading in ("residual", "residual_last"):
        for layer in range(evidence.residual.shape[1]):
            yield reading, layer


def states(evidence: Evidence, place: tuple[str, int]) -> States:
    """The residual stream at one place, in float64."""
    reading, layer = place
    return getattr(evidence, reading)[:, layer].double().numpy()


def best_place(train: Evidence, fold: np.ndarray, fit: Fit) -> tuple[str, int]:
    """The place of the highest AUROC, mean over held-out folds of the training part.

    Of equals the first is taken, so that nothing but the training part decides.
    """
    label = train.labels.numpy()

    def auroc(place: tuple[str, int]) -> float:
        found, X = [], states(train, place)
        for k in np.unique(fold):
            inside = fold != k
            scores = fit(X[inside], label[inside], X[~inside])
            found.append(_above(scores, label[~inside]))
        return float(np.mean(found))

    return max(places(train), key=auroc)


def _above(scores: Float[np.ndarray, " row"], label: Bool[np.ndarray, " row"]) -> float:
    """AUROC by ranks: hundreds are asked, and scikit-learn's checks would take most of the time.

    >>> _above(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True]))
    0.875
    """
    wrong = int(label.sum())
    least = wrong * (wrong + 1) / 2  # sum of ranks where none stands above a true answer
    return float((rankdata(scores)[label].sum() - least) / (wrong * (len(label) - wrong)))
