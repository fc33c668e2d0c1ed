"""Semantic entropy: into how many meanings the model's answers to a question fall.

Kuhn et al. 2023, arXiv 2302.09664; Farquhar et al. 2024, Nature 630. Other samples of the question
are grouped by meaning (by words by default; by a local entailment model through `by`), and ``-sum_c
p(c) log p(c)`` is taken, ``p(c)`` being the share of samples (the discrete form), or, with
`likelihood`, ``-mean_j log sum_(i like j) p(i)`` over their sequence probabilities (the form of
Kuhn et al.). The answer itself is not among the samples, so all answers to one question score the
same. Nothing is learned. It tells on which questions the model wavers. It misleads where the model
repeats one error; and with a handful of samples it takes a handful of values.
"""

import numpy as np
import torch
from torch import Tensor

from hlens.baselines._meaning import Alike, by_words
from hlens.baselines._rival import Rival
from hlens.types import Evidence


def by(alike: Alike, likelihood: bool = False) -> Rival:
    """The rival with another way to tell meanings, or with sequence probabilities.

    Args:
        alike: Which answers say the same.
        likelihood: Weigh samples by their probability, instead of counting them.
    """

    def score(train: Evidence, test: Evidence, seed: int) -> Tensor:
        assert test.samples is not None
        entropies = []
        for row, (question, samples) in enumerate(zip(test.questions, test.samples, strict=True)):
            meanings = np.asarray(alike(question, samples))
            if likelihood:
                assert test.sample_logprobs is not None
                entropies.append(likely_entropy(meanings, np.asarray(test.sample_logprobs[row])))
            else:
                entropies.append(counted_entropy(meanings))
        return torch.tensor(entropies, dtype=torch.float64).float()

    needs = {"samples", "sample_logprobs"} if likelihood else {"samples"}
    return Rival(
        "semantic_entropy", frozenset(needs), score, learns=False, says="many meanings sampled"
    )


def counted_entropy(meanings: np.ndarray) -> float:
    """Entropy (nats) of the shares of the meanings.

    >>> counted_entropy(np.array([0, 0, 0, 0])), round(counted_entropy(np.array([0, 1, 0, 1])), 4)
    (0.0, 0.6931)
    """
    shares = np.bincount(meanings) / len(meanings)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum()) + 0.0


def likely_entropy(meanings: np.ndarray, logprobs: np.ndarray) -> float:
    """Mean over samples of the negative log-probability (nats) of their meaning."""
    total = {c: np.logaddexp.reduce(logprobs[meanings == c]) for c in np.unique(meanings)}
    return float(-np.mean([total[c] for c in meanings]))


rival = by(by_words())
