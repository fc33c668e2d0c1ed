"""TransformerLens' own k-sparse probe, for comparison with the probe of hlens."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.errors import HlensError

KS = (1, 2, 4, 8, 16, 32, 64)
HELD_OUT, FEWEST = 0.3, 1e-9  # shares that the tool holds out: to choose k, and the least it can


@dataclass(frozen=True, eq=False)
class KSparse:
    """A k-sparse probe that ``transformer_lens.tools.analysis.sparse_probing`` fitted.

    Attributes:
        features: The features that it reads.
        coefficients: Weight of each, of its standardised value.
        intercept: Log-odds at the training mean.
        mean: Training mean of each.
        scale: Training deviation of each.
        roc_auc: On the groups that it held out for the choice of k.
    """

    features: Int[Tensor, " feature"]
    coefficients: Float[Tensor, " feature"]
    intercept: float
    mean: Float[Tensor, " feature"]
    scale: Float[Tensor, " feature"]
    roc_auc: float

    def __call__(self, features: Float[Tensor, "example all"]) -> Float[Tensor, " example"]:
        """Log-odds of each example."""
        chosen = features[:, self.features].double()
        return ((chosen - self.mean) / self.scale) @ self.coefficients + self.intercept


def fit_k_sparse(
    features: Float[Tensor, "example all"],
    labels: Bool[Tensor, " example"],
    groups: Sequence[str],
    ks: Sequence[int] = KS,
    seed: int = 0,
) -> KSparse:
    """Choose k on groups that the tool holds out, then fit on all but the fewest it must hold out.

    Args:
        features: Any features of the examples.
        labels: What is to be told.
        groups: What is never split.
        ks: Numbers of features to try; those above the number there is are left out.
        seed: Seed of the tool's split.

    Raises:
        HlensError: The tool refuses the data, or converges for no k.
    """
    from transformer_lens.tools.analysis import sparse_probing as tool

    code = torch.from_numpy(np.unique(np.asarray(groups), return_inverse=True)[1])
    ks = [k for k in ks if k <= features.shape[1]]

    def fit(some: Tensor, k: int, share: float) -> Any:
        return tool.fit_sparse_probe(
            some, labels, k=k, test_fraction=share, groups=code, preprocess="standardize", seed=seed
        )

    def leading() -> Tensor:
        """The features that the tool takes for the largest k: they hold those of every other."""
        try:
            scores = fit(features, 1, HELD_OUT).feature_scores
        except tool.SparseProbeConvergenceError:
            return features
        order = torch.argsort(scores.abs(), descending=True, stable=True)
        return features[:, order[: max(ks)].sort().values]

    tried: dict[int, float] = {}
    try:
        chosen_from = leading()
        for k in ks:
            with suppress(tool.SparseProbeConvergenceError):
                tried[k] = fit(chosen_from, k, HELD_OUT).metrics.roc_auc
    except ValueError as error:
        raise HlensError(f"TransformerLens' sparse probe: {error}") from error
    for k in sorted(tried, key=lambda k: (-tried[k], k)):
        with suppress(tool.SparseProbeConvergenceError):
            return _frozen(fit(features, k, FEWEST))
    raise HlensError(f"TransformerLens' sparse probe converges for no k among {tuple(ks)}")


def _frozen(found: Any) -> KSparse:
    return KSparse(
        found.selected_features,
        found.coefficients,
        float(found.intercept),
        found.preprocess_mean,
        found.preprocess_scale,
        found.metrics.roc_auc,
    )
