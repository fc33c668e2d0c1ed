"""Out-of-fold scores of several training sets on the same examples."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.base import BaseEstimator
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.auroc import Placements
from hlens.evaluation.fitting import fit_detector
from hlens.evaluation.folded import delong_folded
from hlens.types import Contributions

Members = Bool[np.ndarray, " example"]


class CrossFit:
    """Scores of each training set on all examples, filled in fold by fold.

    Args:
        data: The contributions.
        fold: Fold of each example, by group.
        n_sources: Number of training sets.
        limit: Train on at most so many examples of each label; None on all.
        seed: Seed of the draw where there is a limit.
    """

    def __init__(
        self,
        data: Contributions,
        fold: Int[Tensor, " example"],
        n_sources: int,
        limit: dict[bool, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.data, self.fold, self.limit, self.seed = data, fold, limit, seed
        self.values: Float[np.ndarray, "source example"] = np.full((n_sources, len(data)), np.nan)
        self.n_train = np.full(n_sources, len(data))
        self.failed: dict[int, str] = {}

    def fill(self, at: int, part: int, members: Members, probe: BaseEstimator) -> None:
        """Fit on the members outside one fold and score all of that fold."""
        if at in self.failed:
            return
        held_out = (self.fold == part).numpy()
        rows = np.flatnonzero(members & ~held_out)
        if self.limit is not None:
            draw = np.random.default_rng([self.seed, part])
            rows = _cut(rows, self.data.labels.numpy(), self.limit, draw)
        self.n_train[at] = min(self.n_train[at], len(rows))
        try:
            detector = fit_detector(self.data.select(torch.from_numpy(rows)), probe)
        except HlensError as error:  # one domain too small must not lose all the others
            self.failed[at] = str(error)
            return
        # The selected rows alone are read: a sparse probe scores without the rest.
        chosen = detector.weights.flatten().nonzero().flatten()
        values = self.data.neuron_major[chosen].double()
        weights = detector.weights.flatten()[chosen].double()
        scores = (weights @ values + detector.bias).numpy()
        self.values[at, held_out] = scores[held_out]

    def placements(self, sources: Sequence[int], tested: Members) -> Placements:
        """AUROC of some training sets on some examples, with their covariance by group."""
        label, fold = self.data.labels.numpy()[tested], self.fold.numpy()[tested]
        group = np.asarray(self.data.groups)[tested]
        return delong_folded(self.values[list(sources)][:, tested], label, fold, group)


def smallest(
    data: Contributions, domains: Sequence[str], fold: Int[Tensor, " example"]
) -> dict[bool, int]:
    """For each label, the fewest examples that any domain can train on in any fold."""
    label, names, part = data.labels.numpy(), np.asarray(data.domains), fold.numpy()
    return {
        y: min(
            int(((names == domain) & (label == y) & (part != at)).sum())
            for domain in domains
            for at in np.unique(part)
        )
        for y in (True, False)
    }


def _cut(
    rows: np.ndarray, label: np.ndarray, limit: dict[bool, int], draw: np.random.Generator
) -> np.ndarray:
    """At most so many examples of each label, at random."""
    mixed = draw.permutation(rows)
    return np.sort(np.concatenate([mixed[label[mixed] == y][:n] for y, n in limit.items()]))
