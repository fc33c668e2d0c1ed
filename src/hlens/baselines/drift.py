"""Drift: how the residual stream changes from layer to layer.

After DRIFT, "a supervised probe over inter-layer hidden-state transitions", which with SAPLMA is
what survives controlled conditions in the benchmark of Hussain and Kantarcioglu 2026 (PARALLAX,
arXiv 2605.17028). No more than that sentence of its abstract is taken from there; which numbers
describe a transition is our reading: of each pair of consecutive layers the cosine between their
states, and the length of the change over that of the state it changes (its logarithm), of the mean
over the answer and at its last token. L2 logistic regression, C by group inside the training part.
No attention, and no further reading. (Another DRIFT, arXiv 2601.14210, reads states before the
answer.) It misleads where lengths differ: the mean over many tokens is shorter and turns less.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from hlens.baselines._learning import logistic_score
from hlens.baselines._rival import Rival
from hlens.types import Evidence

DISPLAY = "drift between layers"


def transitions(states: Float[Tensor, "example layer d_model"]) -> Float[Tensor, "example number"]:
    """Cosine and logarithm of the relative change of each step from a layer to the next.

    >>> transitions(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])).tolist()  # a right angle
    [[0.0, 0.3465...]]
    """
    before, after = states[:, :-1].double(), states[:, 1:].double()
    least = torch.finfo(torch.float32).tiny  # a layer that adds nothing
    change = (after - before).norm(dim=-1).clamp_min(least)
    relative = change.log() - before.norm(dim=-1).clamp_min(least).log()
    return torch.cat([cosine_similarity(before, after, dim=-1), relative], dim=1)


def _features(evidence: Evidence) -> Float[np.ndarray, "example number"]:
    assert evidence.residual is not None
    assert evidence.residual_last is not None
    both = [transitions(evidence.residual), transitions(evidence.residual_last)]
    return torch.cat(both, dim=1).numpy()


rival = Rival(
    "drift",
    frozenset({"residual", "residual_last"}),
    logistic_score(_features),
    learns=True,
    says="how the residual stream turns and grows between layers",
)
