"""What rivals learn with: a direction, logistic regression, a layer of the residual stream, probes.

Everything that is chosen (a direction, a penalty, a layer) is chosen inside the training part, on
folds by group.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix, hstack
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from hlens.baselines._rival import NotAvailableError, Score
from hlens.errors import HlensError
from hlens.probe import SparseProbe
from hlens.probe.crossval import assign_folds
from hlens.probe.stacking import l2_logistic, splits_of
from hlens.types import Evidence

FOLDS = 5

States = Float[np.ndarray, "example d_model"]
Others = Float[np.ndarray, "row d_model"]
Labels = Bool[np.ndarray, " example"]
# Training states and labels, states to be scored -> their scores.
Fit = Callable[[States, Labels, Others], Float[np.ndarray, " row"]]


def direction(values: Float[Tensor, " example"], labels: Bool[Tensor, " example"]) -> int:
    """1 where larger values go with hallucination in training, else -1.

    >>> direction(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, False]))
    -1
    """
    ranks, label = rankdata(values.numpy()), labels.numpy()
    return 1 if ranks[label].mean() >= ranks[~label].mean() else -1


def folds(labels: Bool[Tensor, " example"], groups: Sequence[str], seed: int) -> np.ndarray:
    """Fold of each training example, by group: five, or as many fewer as its groups allow."""
    reason = ""
    for count in range(FOLDS, 1, -1):
        try:
            return assign_folds(labels.numpy().astype(int), groups, n_folds=count, seed=seed)
        except HlensError as error:
            reason = str(error)
    raise NotAvailableError(f"nothing can be chosen inside the training part: {reason}")


# Logistic regression, on features or on words


def logistic_score(features: Callable[[Evidence], np.ndarray]) -> Score:
    """Score by logistic regression on standardised features, ``[row, feature]``."""

    def score(train: Evidence, test: Evidence, seed: int) -> Tensor:
        search = l2_logistic(splits_of(folds(train.labels, train.groups, seed)))
        model = make_pipeline(StandardScaler(), search).fit(features(train), train.labels.numpy())
        return torch.from_numpy(model.decision_function(features(test))).float()

    return score


def text_score(*parts: Callable[[Evidence], Sequence[str]]) -> Score:
    """Score by words and pairs of words of each part, and by pieces of two to four letters.

    Each part has a vocabulary of its own, so that a word of the question is another feature than
    the same word in the answer. Vocabulary and weights come from the training part alone.
    """

    def score(train: Evidence, test: Evidence, seed: int) -> Tensor:
        inside, outside = [], []
        for part in parts:
            words = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True)
            letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
            for vectors in (words, letters):
                inside.append(vectors.fit_transform(_not_empty(part(train))))
                outside.append(vectors.transform(_not_empty(part(test))))
        model = l2_logistic(splits_of(folds(train.labels, train.groups, seed)))
        model.fit(csr_matrix(hstack(inside)), train.labels.numpy())
        scores = model.decision_function(csr_matrix(hstack(outside)))
        return torch.from_numpy(np.asarray(scores)).float()

    return score


def _not_empty(texts: Sequence[str]) -> list[str]:
    # An empty text has no words at all, and no vocabulary could be made of such texts alone.
    return [text.strip() or "(none)" for text in texts]


# The residual stream: which layer, and the mean of the span or its last token


def places(evidence: Evidence) -> list[tuple[str, int]]:
    """All (reading, layer)."""
    assert evidence.residual is not None
    return list(product(("residual", "residual_last"), range(evidence.residual.shape[1])))


def states(evidence: Evidence, place: tuple[str, int]) -> States:
    """The residual stream at one place, in float64."""
    reading, layer = place
    return getattr(evidence, reading)[:, layer].double().numpy()


def best_place(train: Evidence, fold: np.ndarray, fit: Fit) -> tuple[str, int]:
    """The place of the highest AUROC, mean over held-out folds of the training part.

    Of equals the first is taken, so that only the training part decides.
    """
    label, parts = train.labels.numpy(), splits_of(fold)

    def mean_auroc(place: tuple[str, int]) -> float:
        X = states(train, place)
        return float(np.mean([_auroc(fit(X[a], label[a], X[b]), label[b]) for a, b in parts]))

    return max(places(train), key=mean_auroc)


def _auroc(scores: Float[np.ndarray, " row"], label: Bool[np.ndarray, " row"]) -> float:
    """AUROC by ranks: hundreds are computed, and scikit-learn's checks would take most of the time.

    >>> _auroc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True]))
    0.875
    """
    wrong = int(label.sum())
    least = wrong * (wrong + 1) / 2  # sum of ranks if every hallucination ranked below every truth
    return float((rankdata(scores)[label].sum() - least) / (wrong * (len(label) - wrong)))


def fit_probe(probe: SparseProbe, train: Evidence, features: Tensor) -> SparseProbe:
    """The probe, fitted to ``[example, feature]``, with as many folds by group as these allow."""
    fold = folds(train.labels, train.groups, probe.random_state or 0)
    probe.set_params(cv=len(np.unique(fold)))
    return probe.fit(features, train.labels.numpy(), groups=np.asarray(train.groups))
