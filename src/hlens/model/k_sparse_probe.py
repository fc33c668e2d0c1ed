"""The k-sparse probe of TransformerLens, for comparison with the probe of hlens."""

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
# Shares of the groups that the tool holds out: to choose k, and for the fit (it insists on some).
CHOICE_SHARE, LEAST_SHARE = 0.3, 1e-9


@dataclass(frozen=True, eq=False)
class KSparseProbe:
    """A fitted k-sparse probe, as ``transformer_lens.tools.analysis.sparse_probing`` returns it."""

    fitted: Any

    @property
    def features(self) -> Int[Tensor, " feature"]:
        """Indices of the features that it reads."""
        return self.fitted.selected_features

    def __call__(self, features: Float[Tensor, "example all"]) -> Float[Tensor, " example"]:
        """Log-odds of each example."""
        chosen = features[:, self.features].double()
        standardised = (chosen - self.fitted.preprocess_mean) / self.fitted.preprocess_scale
        return standardised @ self.fitted.coefficients + float(self.fitted.intercept)


def fit_k_sparse_probe(
    features: Float[Tensor, "example all"],
    labels: Bool[Tensor, " example"],
    groups: Sequence[str],
    *,
    ks: Sequence[int] = KS,
    seed: int = 0,
) -> KSparseProbe:
    """Choose k on held-out groups, then fit on all groups but the fewest the tool must hold out.

    A group is never split. Of `ks`, those above the number of features are left out.
    """
    from transformer_lens.tools.analysis import sparse_probing as tool

    code = torch.from_numpy(np.unique(np.asarray(groups), return_inverse=True)[1])
    ks = [k for k in ks if k <= features.shape[1]]

    def fit(some: Tensor, k: int, share: float) -> Any:
        return tool.fit_sparse_probe(
            some, labels, k=k, test_fraction=share, groups=code, preprocess="standardize", seed=seed
        )

    def leading_features() -> Tensor:
        """The features that the tool selects for the largest k; smaller k select among them."""
        try:
            scores = fit(features, 1, CHOICE_SHARE).feature_scores
        except tool.SparseProbeConvergenceError:
            return features
        order = torch.argsort(scores.abs(), descending=True, stable=True)
        return features[:, order[: max(ks)].sort().values]

    tried: dict[int, float] = {}
    try:
        candidates = leading_features()
        for k in ks:
            with suppress(tool.SparseProbeConvergenceError):
                tried[k] = fit(candidates, k, CHOICE_SHARE).metrics.roc_auc
    except ValueError as error:
        raise HlensError(f"TransformerLens' sparse probe: {error}") from error
    for k in sorted(tried, key=lambda k: (-tried[k], k)):
        with suppress(tool.SparseProbeConvergenceError):
            return KSparseProbe(fit(features, k, LEAST_SHARE))
    raise HlensError(f"TransformerLens' sparse probe converges for no k among {tuple(ks)}")
