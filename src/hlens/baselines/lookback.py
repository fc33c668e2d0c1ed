"""Lookback ratio: does the answer look at the prompt, or at itself?

Chuang et al. 2024, arXiv 2407.07071. For each head and answer token: mean attention to a token of
the prompt, over that plus mean attention to a token of the response so far; averaged over the
answer span, and given to logistic regression (C by group inside the training part). One forward
pass with eager attention. The method is made for answers from a given context, so it is available
only where some question has one; what is looked back on is the whole prompt, as in the paper. It
misleads where lengths differ: the ratio falls with every token of a response, so it follows the
answer's position and length.
"""

import numpy as np

from hlens.baselines._learning import logistic_score
from hlens.baselines._rival import Rival
from hlens.types import Evidence

DISPLAY = "lookback ratio"


def _features(evidence: Evidence) -> np.ndarray:
    assert evidence.lookback is not None
    return evidence.lookback.flatten(1).double().numpy()


rival = Rival(
    "lookback",
    frozenset({"lookback"}),
    logistic_score(_features),
    learns=True,
    says="attention away from the prompt",
)
