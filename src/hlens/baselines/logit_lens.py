"""Logit lens: do the layers agree on the answer, and how late do they settle on it?

The residual stream behind each layer (of a deep model, twelve evenly spaced) is read through the
final norm and the unembedding (the logit lens, nostalgebraist 2020) at the position that predicts
each token of the answer. Eight numbers of the span: how many layers agree with the last one (mean
and least) and with the given token, from which depth on the top token stays (mean and greatest),
how often it changes, how likely the given token is in the upper half, and what the last layer adds
to that. L2 logistic regression, C by group inside the training part. One forward pass, in which
every answer token is unembedded up to twelve times: with a vocabulary of 262,144 tokens that can
cost as much as the pass itself. It misleads about early layers, whose stream is not written in the
unembedding's terms, so that disagreement there is no doubt; and what it reads in the last layers is
the model's own confidence.
"""

import numpy as np
from jaxtyping import Float

from hlens.baselines._learning import logistic_score
from hlens.baselines._rival import Rival
from hlens.types import Evidence


def _features(evidence: Evidence) -> Float[np.ndarray, "example signal"]:
    assert evidence.lens is not None
    return evidence.lens.double().numpy()


rival = Rival(
    "logit_lens",
    frozenset({"lens"}),
    logistic_score(_features),
    learns=True,
    says="layers disagree on the answer, or settle late",
)
