"""Dense probe: all contributions, none left out.

L2 logistic regression on the contributions that the H-neuron detector reads, each standardised by
the training part, C by group inside it. No further reading. It is the ceiling for any set of
neurons (the paper's own code notes 1 to 3 % more than L1), and a sparse detector that stays far
below it has left out part of the signal. It misleads if it is read as a finding: it says nothing
about which neurons carry the signal.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.baselines._learning import fit_probe
from hlens.baselines._rival import Rival
from hlens.probe import SparseProbe
from hlens.types import Contributions, Evidence

_BLOCK = 2048  # neurons at a time


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    """Log-odds by an L2 probe on all neurons, each standardised by the training part.

    The weights of such a fit lie in the span of its examples, and a rotation into that span keeps
    every product of two examples. So the fit there is the fit on all neurons, and all folds and
    penalties together cost one pass over the matrix, and scoring another.
    """
    inside, outside = train.contributions, test.contributions
    probe = SparseProbe(
        C="cv", penalty="l2", class_weight="balanced", n_points=12, random_state=seed
    )
    # Products of all pairs of examples.
    gram = torch.zeros(len(inside), len(inside), dtype=torch.float64)
    for _, _, standardised, _ in _standardised(inside):
        gram += (standardised.T @ standardised).double()
    # Coordinates in the span; directions of no length are dropped, or they would be divided by.
    values, vectors = torch.linalg.eigh(gram)
    kept = values > 1e-9 * values[-1]
    basis = vectors[:, kept] / values[kept].sqrt()
    fit_probe(probe, train, vectors[:, kept] * values[kept].sqrt())  # gram @ basis
    # Back to neurons, a block at a time.
    share = basis @ torch.from_numpy(probe.coef_[0])  # of each training example in the weights
    scores = torch.full((len(outside),), float(probe.intercept_[0]), dtype=torch.float64)
    for part, centre, standardised, unit in _standardised(inside):
        weights = unit * (standardised @ share.float())
        scores += weights.double() @ (outside.rows(part) - centre).double()
    return scores.float()


def _standardised(
    data: Contributions,
) -> Iterator[tuple[slice, Float[Tensor, "neuron 1"], Float[Tensor, "neuron example"], Tensor]]:
    """Blocks of neurons: which, their means, standardised values, one over their deviations."""
    for start in range(0, data.n_layers * data.d_mlp, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = data.rows(part).float()
        centre = block.mean(dim=1, keepdim=True)
        spread = block.std(dim=1, keepdim=True, correction=0)
        unit = torch.where(spread > 0, 1 / spread, 0)  # a constant neuron carries no signal
        yield part, centre, (block - centre) * unit, unit[:, 0]


rival = Rival(
    "dense_probe",
    frozenset({"contributions"}),
    _score,
    learns=True,
    says="all contributions at once (L2)",
)
