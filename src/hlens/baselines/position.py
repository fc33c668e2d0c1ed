"""Position: where in the text the answer is, by logistic regression on three counts of tokens.

The counts (log of one plus each): the prompt, the response before the answer, the response after
it. C is chosen by group inside the training part. Needs nothing beside the text. Neurons know
positions well, and a detector may read them. It misleads where domains are pooled: the prompt's
length reveals the domain, which can carry an AUROC by itself.
"""

import numpy as np
import torch
from jaxtyping import Float

from hlens.baselines._learning import logistic_score
from hlens.baselines._rival import Rival
from hlens.types import Evidence

DISPLAY = "place of the answer"


def features(evidence: Evidence) -> Float[np.ndarray, "example 3"]:
    """Log of one plus the tokens of the prompt, before the answer and after it."""
    before = evidence.starts - evidence.n_prompt
    after = evidence.n_response - before - evidence.n_tokens
    return torch.stack([evidence.n_prompt, before, after], dim=1).double().log1p().numpy()


rival = Rival(
    "position",
    frozenset({"text"}),
    logistic_score(features),
    learns=True,
    says="where in the text the answer stands",
)
