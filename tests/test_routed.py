"""The probe on a mixture's matrix, kept expert by expert, beside the same matrix kept whole."""

from typing import Any

import numpy as np
import pytest
import torch

from hlens.errors import HlensError
from hlens.probe import RoutedMatrix, SparseProbe
from hlens.types import Contributions, Provenance

EXPERTS = ((0, 0, 40), (16, 20, 10), (16, 20, 0))  # dense, with a shared expert, without
N, D_MLP = 200, 330


def made(seed: int = 0, *, use: float = 0.2) -> Contributions:
    """Contributions that are zero where an expert is not used; two neurons tell the label."""
    draw = torch.Generator().manual_seed(seed)
    values = torch.zeros(N, len(EXPERTS), D_MLP)
    for layer, (n, width, beside) in enumerate(EXPERTS):
        for expert in range(n):
            used = torch.rand(N, generator=draw) < use
            own = torch.rand(int(used.sum()), width, generator=draw)
            values[used, layer, expert * width : (expert + 1) * width] = own * 0.1
        last = n * width + beside
        values[:, layer, n * width : last] = torch.rand(N, beside, generator=draw) * 0.1
    told = values[:, 1, 45] * 30 + values[:, 0, 3] * 20 + torch.randn(N, generator=draw) * 0.3
    names = tuple(map(str, range(N)))
    n_tokens = torch.ones(N, dtype=torch.long)
    provenance = Provenance(experts=EXPERTS)
    return Contributions(
        values, told > 1, names, ("d",) * N, names, n_tokens, provenance=provenance
    )


@pytest.mark.parametrize(
    "options",
    [
        {"C": 5.0},
        {"C": "cv", "n_points": 12},
        {"C": 2.0, "scale": "feature"},
        {"C": 1.0, "scale": "layer", "n_layers": 3},
        {"C": 3.0, "l1_ratio": 0.5},
        {"n_neurons": 8},
    ],
)
def test_it_is_solved_as_the_whole_matrix_is(options: dict[str, Any]) -> None:
    data = made()
    routed, whole = RoutedMatrix.from_contributions(data), data.neuron_major.T
    one = SparseProbe(**options).fit(routed, data.labels.numpy())
    other = SparseProbe(**options).fit(whole, data.labels.numpy())
    assert one.gap_ <= 1e-6
    np.testing.assert_allclose(one.coef_, other.coef_, atol=2e-3)
    np.testing.assert_allclose(
        one.decision_function(routed), other.decision_function(whole), atol=2e-3
    )
    assert {45 + D_MLP, 3} <= set(np.flatnonzero(one.coef_[0]))


def test_only_what_is_used_is_kept() -> None:
    data = made()
    routed = RoutedMatrix.from_contributions(data)
    assert routed.n_values == int((data.values != 0).sum())
    assert routed.shape == (N, 3 * D_MLP)
    never = made(use=0.0)
    assert RoutedMatrix.from_contributions(never).n_values == N * 50


def test_what_it_cannot_do_is_said() -> None:
    data = made()
    routed, labels = RoutedMatrix.from_contributions(data), data.labels.numpy()
    with pytest.raises(HlensError, match="read by the L1 probe alone"):
        SparseProbe(penalty="l2", C=1.0).fit(routed, labels)
    with pytest.raises(HlensError, match="200 examples and 199 labels"):
        SparseProbe(C=1.0).fit(routed, labels[:-1])
    data.values[int(np.flatnonzero(data.values[:, 1, 47].numpy())[0]), 1, 47] = torch.nan
    with pytest.raises(HlensError, match=r"hold nan: example \d+, neuron \(feature\) 377"):
        SparseProbe(C=1.0).fit(RoutedMatrix.from_contributions(data), labels)
