"""The model's own output: a handful of numbers of its probabilities, and the answer's length.

L2 logistic regression on the mean, least and first log-probability of the answer's tokens, the
mean, greatest and first entropy of the distributions that they were drawn from (where these were
read), and the logarithm of the answer's length. What a user has without looking inside; the neurons
are worth their pass where they add to it. It misleads where these numbers follow the domain.
"""

import numpy as np

from hlens.baselines._learning import logistic_score
from hlens.baselines._rival import Rival
from hlens.types import Evidence
from hlens.types.output_numbers import output_numbers

DISPLAY = "the model's own output"


def _features(evidence: Evidence) -> np.ndarray:
    return np.stack(list(output_numbers(evidence).values()), axis=1)


rival = Rival(
    "output_numbers",
    frozenset({"logprobs"}),
    logistic_score(_features),
    also=frozenset({"entropies"}),
    learns=True,
    says="log-probabilities, entropies and length together",
)
