"""TF-IDF and logistic regression over some of an example's texts."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from hlens.baselines._learning import folds, logistic
from hlens.baselines._rival import Score
from hlens.types import Evidence

Texts = Callable[[Evidence], Sequence[str]]


def by_words(*parts: Texts) -> Score:
    """Score by words and pairs of words of each part, and by pieces of two to four letters.

    Each part has a vocabulary of its own, so that a word of the question is another feature than
    the same word in the answer. Vocabulary and weights come from the training part alone.
    """

    def score(train: Evidence, test: Evidence, seed: int) -> Tensor:
        inside, outside = [], []
        for part in parts:
            for vectors in _vectorisers():
                inside.append(vectors.fit_transform(_texts(part, train)))
                outside.append(vectors.transform(_texts(part, test)))
        model = logistic(folds(train.labels, train.groups, seed))
        model.fit(csr_matrix(hstack(inside)), train.labels.numpy())
        scores = model.decision_function(csr_matrix(hstack(outside)))
        return torch.from_numpy(np.asarray(scores)).float()

    return score


def _vectorisers() -> list[TfidfVectorizer]:
    words = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    return [words, letters]


def _texts(part: Texts, evidence: Evidence) -> list[str]:
    # A text of nothing has no words at all, and no vocabulary could be made of such texts alone.
    return [text.strip() or "(none)" for text in part(evidence)]
