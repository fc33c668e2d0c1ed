"""Rivals that fit a probe of hlens to all neurons, in another way than the H-neuron detector."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.baselines._learning import folds
from hlens.probe import SparseProbe
from hlens.types import Contributions, Evidence

_BLOCK = 2048  # neurons at a time


def probe_scores(
    probe: SparseProbe,
    train: Evidence,
    inside: Float[Tensor, "example feature"],
    outside: Float[Tensor, "row feature"],
) -> Tensor:
    """Log-odds of each row of `outside`; C by group inside the training part.

    Args:
        probe: What to fit; its number of folds becomes as many as the groups allow.
        train: The training part, for its labels and groups.
        inside: What the probe reads of the training part.
        outside: The same of the test part.
    """
    _fit(probe, train, inside)
    return torch.from_numpy(probe.decision_function(outside)).float()


def dense_scores(
    probe: SparseProbe, train: Evidence, inside: Contributions, outside: Contributions
) -> Tensor:
    """The same by all neurons, each standardised by the training part; for an L2 probe.

    The weights of such a fit lie in the span of its examples, and a rotation into that span keeps
    every product of two examples. So the fit there is the fit on all neurons, and all folds and
    penalties together cost one pass over the matrix, and scoring another.
    """
    gram = torch.zeros(len(inside), len(inside), dtype=torch.float64)
    for _, _, moved, _ in _standardised(inside):
        gram += (moved.T @ moved).double()
    values, vectors = torch.linalg.eigh(gram)
    kept = values > 1e-9 * values[-1]
    basis = vectors[:, kept] / values[kept].sqrt()
    _fit(probe, train, vectors[:, kept] * values[kept].sqrt())  # gram @ basis
    share = basis @ torch.from_numpy(probe.coef_[0])  # of each training example in the weights
    scores = torch.full((len(outside),), float(probe.intercept_[0]), dtype=torch.float64)
    for part, centre, moved, unit in _standardised(inside):
        weights = unit * (moved @ share.float())
        scores += weights.double() @ (outside.neuron_major[part] - centre).double()
    return scores.float()


def _fit(probe: SparseProbe, train: Evidence, features: Tensor) -> None:
    fold = folds(train.labels, train.groups, probe.random_state or 0)
    probe.set_params(cv=len(np.unique(fold)))
    probe.fit(features, train.labels.numpy(), groups=np.asarray(train.groups))


def _standardised(
    data: Contributions,
) -> Iterator[tuple[slice, Float[Tensor, "neuron 1"], Float[Tensor, "neuron example"], Tensor]]:
    """Some neurons at a time: which, their means, what is left in deviations, one over these."""
    rows = data.neuron_major
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        block = rows[part].float()
        centre = block.mean(dim=1, keepdim=True)
        spread = block.std(dim=1, keepdim=True, correction=0)
        unit = torch.where(spread > 0, 1 / spread, 0)  # a constant neuron says nothing
        yield part, centre, (block - centre) * unit, unit[:, 0]
