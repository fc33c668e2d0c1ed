"""EigenScore: how far apart the model's answers lie in its own representation.

Chen et al. 2024 (INSIDE), arXiv 2402.03744. With Z the residual stream behind the middle layer at
the last token of each other sample, centred over its coordinates: the mean log eigenvalue of ``Z
Z^T + 0.001 I``. Nothing is learned. It needs further samples and a forward pass over each. It
misleads where samples share their words: equal rows pull the score towards log 0.001, so it nearly
counts different samples, and like these it knows the question and not the answer.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.baselines._rival import Rival
from hlens.types import Evidence

DISPLAY = "EigenScore"

ALPHA = 1e-3


def eigenscore(states: Float[Tensor, "*row sample d_model"]) -> Float[Tensor, "*row"]:
    """Mean log eigenvalue of the regularised covariance of samples.

    >>> same = torch.ones(3, 4).cumsum(-1)
    >>> far = same + torch.tensor([[5.0, 0, 0, 0], [0, 5, 0, 0], [0, 0, 5, 0]])
    >>> bool(eigenscore(far) > eigenscore(same))
    True
    """
    centred = states.double() - states.double().mean(dim=-1, keepdim=True)
    covariance = centred @ centred.mT
    identity = torch.eye(covariance.shape[-1], dtype=torch.float64)
    # Rounding may leave an eigenvalue below what the ridge guarantees.
    return torch.linalg.eigvalsh(covariance + ALPHA * identity).clamp_min(1e-10).log().mean(-1)


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    assert test.sample_states is not None
    return eigenscore(test.sample_states).float()


rival = Rival(
    "eigenscore",
    frozenset({"sample_states"}),
    _score,
    learns=False,
    says="samples lie far apart inside",
)
