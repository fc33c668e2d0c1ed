"""The probe on a mixture's matrix, kept expert by expert, beside the same matrix kept whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import hlens
from hlens.errors import HlensError
from hlens.evaluation import univariate
from hlens.probe import SparseProbe
from hlens.store import load_contributions, save_contributions
from hlens.types import Contributions, Provenance, RoutedValues

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
    routed, whole = data.routed, data.neuron_major.T
    one = SparseProbe(**options).fit(routed, data.labels.numpy())
    other = SparseProbe(**options).fit(whole, data.labels.numpy())
    assert one.gap_ <= 1e-6
    np.testing.assert_allclose(one.coef_, other.coef_, atol=2e-3)
    np.testing.assert_allclose(
        one.decision_function(routed), other.decision_function(whole), atol=2e-3
    )
    assert {45 + D_MLP, 3} <= set(np.flatnonzero(one.coef_[0]))


def test_a_tight_solution_is_the_whole_matrix_s_to_a_millionth() -> None:
    data, options = made(), {"C": 3.0, "tol": 1e-11}
    one = SparseProbe(**options).fit(data.routed, data.labels.numpy())
    other = SparseProbe(**options).fit(data.neuron_major.T.double(), data.labels.numpy())
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-6 * np.abs(other.coef_).max())


def stored(tmp_path: Path, data: Contributions) -> Contributions:
    return load_contributions(save_contributions(data, tmp_path / "kept"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_store_keeps_what_is_used_and_gives_it_back(tmp_path: Path, dtype: torch.dtype) -> None:
    data = made(use=0.1)
    data = replace(data, values=data.values.to(dtype))
    kept = stored(tmp_path, data)
    share = float((data.values != 0).float().mean())
    size = (tmp_path / "kept.safetensors").stat().st_size
    assert size < share * data.values.numel() * dtype.itemsize + 32_000
    assert isinstance(kept.values, RoutedValues)
    assert kept.values.dtype == dtype
    assert torch.equal(kept.values, data.values)
    assert torch.equal(kept.neuron_major, data.neuron_major)
    assert torch.equal(kept.values[:, 1], data.values[:, 1])
    assert torch.equal(kept.values[:, 2, 17:90], data.values[:, 2, 17:90])
    for rows in (slice(30, 700), [329, 3, 400], torch.tensor([5])):
        assert torch.equal(kept.rows(rows), data.rows(rows))
    np.testing.assert_array_equal(kept.values.numpy(), data.values.numpy())


def test_what_a_store_holds_is_not_written_to(tmp_path: Path) -> None:
    kept = stored(tmp_path, made())
    for write in (lambda v: v.zero_(), lambda v: v.__setitem__((0, 1, 2), 1.0)):
        with pytest.raises(HlensError, match="would write into what a mixture's store holds"):
            write(kept.values)
    own = kept.values.clone()
    own[0, 1, 2] = 7.0
    assert float(own[0, 1, 2]) == 7.0


def test_what_is_kept_by_expert_is_parted_and_joined_as_whole_values_are(tmp_path: Path) -> None:
    data = made()
    kept, order = stored(tmp_path, data), torch.tensor([7, 3, 3, 199, 0])
    assert torch.equal(kept.select(order).values, data.select(order).values)
    parts = [kept.select(kept.labels), kept.select(~kept.labels)]
    joined = Contributions.concatenate(parts)
    assert isinstance(joined.values, RoutedValues)
    expected = Contributions.concatenate([data.select(data.labels), data.select(~data.labels)])
    assert torch.equal(joined.values, expected.values)
    mixed = Contributions.concatenate([kept, data])
    assert torch.equal(mixed.values[N:], kept.values + 0)


def test_find_and_path_of_a_stored_mixture_are_those_of_its_whole_values(tmp_path: Path) -> None:
    """As if there were no experts, the probe reads the whole matrix."""
    data = made()
    kept, dense = stored(tmp_path, data), replace(data, provenance=Provenance())
    probe = SparseProbe(C=1.0, tol=1e-10)
    one, other = (hlens.find(each, probe) for each in (kept, dense))
    assert one.selected.members == other.selected.members
    torch.testing.assert_close(one.weights, other.weights, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one(kept), other(dense), atol=1e-5, rtol=1e-5)
    probe.set_params(n_points=6)
    by_expert, whole = (hlens.selection.path(each, probe).summary() for each in (kept, dense))
    # A neuron at the edge of a penalty is in or out by the rounding of the processor.
    assert (by_expert.pop("n_selected") - whole.pop("n_selected")).abs().max() <= 1
    pd.testing.assert_frame_equal(by_expert, whole, atol=1e-4, rtol=1e-4)
    pd.testing.assert_frame_equal(univariate(kept), univariate(data), atol=1e-5, rtol=1e-5)


def test_probes_that_read_a_whole_matrix_are_given_it(tmp_path: Path) -> None:
    data = made()
    kept = stored(tmp_path, data)
    for options in ({"penalty": "l2"}, {"l1_ratio": 0.0}, {"solver": "liblinear"}):
        one, other = (hlens.find(each, SparseProbe(C=1.0, **options)) for each in (kept, data))
        torch.testing.assert_close(one.weights, other.weights)


def test_a_header_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = save_contributions(made(), tmp_path / "kept")
    whole = path.read_bytes()
    for before, after in (
        (b"[200, 3, 330]", b"[199, 3, 330]"),
        (b"[200, 3, 330]", b"[200, 4, 330]"),
        (b"[200, 3, 330]", b"[200, 3, 329]"),
        (b"[200, 3, 330]", b"[200,-3, 330]"),
        (b"[16, 20, 10]", b"[16, 20, 11]"),
        (b"[16, 20, 10]", b"[99, 99, 10]"),
        (b"[16, 20, 10]", b"[999999, 10]"),
    ):
        path.write_bytes(whole.replace(before, after))
        with pytest.raises(HlensError, match=r"holds .* its header does not fit"):
            load_contributions(path, check=False)


def test_only_what_is_used_is_kept() -> None:
    data = made()
    routed = data.routed
    assert routed.n_values == int((data.values != 0).sum())
    assert routed.shape == (N, 3 * D_MLP)
    never = made(use=0.0)
    assert never.routed.n_values == N * 50


def test_what_it_cannot_do_is_said() -> None:
    data = made()
    routed, labels = data.routed, data.labels.numpy()
    with pytest.raises(HlensError, match="read by the L1 probe alone"):
        SparseProbe(penalty="l2", C=1.0).fit(routed, labels)
    with pytest.raises(HlensError, match="200 examples and 199 labels"):
        SparseProbe(C=1.0).fit(routed, labels[:-1])
    data.values[int(np.flatnonzero(data.values[:, 1, 47].numpy())[0]), 1, 47] = torch.nan
    with pytest.raises(HlensError, match=r"hold nan: example \d+, neuron \(feature\) 377"):
        SparseProbe(C=1.0).fit(data.routed, labels)
