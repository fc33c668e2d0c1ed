"""Drift follows the angle that was turned; a detector carries over where the neurons do."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import architectures
import hlens
from hlens.errors import HlensError
from hlens.evaluation import fit_detector
from hlens.origin import drift_beside_random, trace_origin, weight_drift
from hlens.origin.drift import neuron_weights
from hlens.types import Contributions, NeuronSet, Provenance
from synthetic import made

PROBE = LogisticRegression(C=0.05, solver="liblinear", l1_ratio=1, random_state=0)
PLANTED = {(0, 2): 2.0, (1, 5): 2.0}


def tuned_from(build: Callable[..., nn.Module], turned: dict[tuple[int, int], float]) -> nn.Module:
    """The model with the rows of some neurons turned by an angle (radians) in all their weights."""
    hf = build()
    model = hlens.load((build(), None))
    target = hlens.load((hf, None))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for (layer, neuron), angle in turned.items():
            for name, rows in neuron_weights(target, layer).items():
                old = neuron_weights(model, layer)[name][neuron]
                aside = torch.randn(old.shape, generator=draw)
                aside -= old * (aside @ old) / (old @ old)
                aside *= old.norm() / aside.norm()
                rows[neuron] = old * np.cos(angle) + aside * np.sin(angle)
    return hf


@pytest.mark.parametrize("name", sorted(architectures.DENSE))
def test_drift_is_one_less_the_cosine_of_the_turned_neurons(name: str) -> None:
    build = architectures.DENSE[name]
    turned = {(0, 3): 0.5, (1, 7): 1.2}
    base, tuned = hlens.load((build(), None)), hlens.load((tuned_from(build, turned), None))
    table = weight_drift(base, tuned).set_index(["layer", "neuron"])
    vectors = [column for column in table.columns if column in ("gate", "up", "out")]
    assert "up" in vectors
    assert "out" in vectors
    for at, angle in turned.items():
        for vector in vectors:
            assert table[vector][at] == pytest.approx(1 - np.cos(angle), abs=1e-5)
    assert (table.drop(index=list(turned))[vectors] < 1e-12).all(axis=None)
    assert table.z.idxmax() == (1, 7)
    assert table["rank"][(1, 7)] == 0
    assert table["rank"][(0, 3)] == pytest.approx(1 / (len(table) - 1))
    for layer in (0, 1):  # what z_layer leaves out is how far the layer moved
        z, within = (table.loc[layer, column].to_numpy() for column in ("z", "z_layer"))
        np.testing.assert_allclose(within, (z - z.mean()) / z.std(), atol=1e-6)


def test_gated_models_show_their_gate() -> None:
    for name, gated in (("llama", True), ("phi3", True), ("gpt2", False), ("gpt_neox", False)):
        model = hlens.load((getattr(architectures, name)(), None))
        assert ("gate" in neuron_weights(model, 0)) is gated


def test_the_null_of_drift_is_of_the_same_layers() -> None:
    draw = np.random.default_rng(0)
    layer, neuron = np.divmod(np.arange(4 * 100), 100)
    # A whole layer moved: its neurons are not special within it.
    z = draw.normal(size=400) + 5.0 * (layer == 2)
    rank = (-z).argsort().argsort() / 399
    drift = drift_table(layer, neuron, z, rank)
    ordinary = NeuronSet(frozenset((2, int(j)) for j in range(10)), 4, 100)
    row = drift_beside_random(drift, ordinary).set_index("measure").loc["z"]
    assert row.value > 4
    assert row.expected == pytest.approx(z[layer == 2].mean(), abs=0.3)
    assert row.p > 0.05
    most = np.argsort(-np.where(layer == 2, z, -9))[:10]
    special = NeuronSet(frozenset((2, int(j) - 200) for j in most), 4, 100)
    assert drift_beside_random(drift, special).p.max() < 0.01
    beyond_all = drift_beside_random(drift, special, draws=50).p
    assert beyond_all.to_numpy() == pytest.approx(1 / 51)  # no draw reaches it, and yet p is not 0


def drift_table(
    layer: np.ndarray, neuron: np.ndarray, z: np.ndarray, rank: np.ndarray
) -> pd.DataFrame:
    return pd.DataFrame({"layer": layer, "neuron": neuron, "z": z, "rank": rank})


def test_models_of_other_shapes_or_the_same_weights_are_refused() -> None:
    base = hlens.load((architectures.llama(), None))
    wide = hlens.load((architectures.llama(intermediate_size=64), None))
    with pytest.raises(HlensError, match="origin needs a base model of the same shape"):
        weight_drift(base, wide)
    with pytest.raises(HlensError, match="have the same weights"):
        weight_drift(base, hlens.load((architectures.llama(), None)))
    with pytest.raises(HlensError, match="expected at least one neuron"):
        drift_beside_random(drift_table(*(np.zeros(4),) * 4), NeuronSet(frozenset(), 2, 2))


def of_model(name: str, planted: dict[tuple[int, int], float], seed: int) -> Contributions:
    data = made(400, d_mlp=60, planted=planted, seed=seed)
    return replace(data, provenance=Provenance(model=name, fingerprint=name))


def test_neurons_that_knew_before_tuning_carry_over() -> None:
    own = of_model("chat", PLANTED, 1)
    detector = fit_detector(own, PROBE)
    same = trace_origin(detector, of_model("base", PLANTED, 2), own=own, probe=PROBE, folds=3)
    same = same.set_index("control")
    assert same.auroc["detector on base model"] > 0.8
    assert same.p["detector on base model"] == pytest.approx(1 / 21)
    assert same.low["random neurons"] < 0.5 < same.high["random neurons"]
    assert same.auroc["selected neurons, refit on base"] > 0.8
    assert same.auroc["random neurons, refit on base"] < 0.6
    assert same.auroc["probe found on base"] > 0.8
    assert "detector on its own model" in same.index


def test_random_neurons_bear_the_detectors_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = fit_detector(of_model("chat", {(0, 2): 2.0, (1, 5): -2.0}, 1), PROBE)
    assert float(detector.weights.min()) < 0 < float(detector.weights.max())
    monkeypatch.setattr(NeuronSet, "random_like", lambda self, seed, **options: self)
    base = of_model("base", PLANTED, 2)
    rows = trace_origin(detector, base, probe=PROBE, folds=3, draws=2)
    found = rows.set_index("control").auroc
    assert found["random neurons"] == found["detector on base model"]


def test_neurons_that_learned_in_tuning_do_not_carry_over() -> None:
    detector = fit_detector(of_model("chat", PLANTED, 1), PROBE)
    base = of_model("base", {(0, 40): 2.0}, 2)
    other = trace_origin(detector, base, probe=PROBE, folds=3).set_index("control")
    assert other.low["detector on base model"] < 0.5 < other.high["detector on base model"]
    assert other.p["detector on base model"] > 0.05
    assert other.auroc["probe found on base"] > 0.8
    assert "detector on its own model" not in other.index


def test_what_cannot_be_traced_is_refused() -> None:
    own = of_model("chat", PLANTED, 1)
    detector = fit_detector(own, PROBE)
    with pytest.raises(HlensError, match="base model of the same shape"):
        trace_origin(detector, made(100, d_mlp=50))
    with pytest.raises(HlensError, match="of the model that the detector was found on"):
        trace_origin(detector, own)
    with pytest.raises(HlensError, match="measure with the detector's metric and region"):
        trace_origin(detector, replace(of_model("base", PLANTED, 2), metric="act"))
    none = torch.zeros_like(detector.weights)
    silent = replace(detector, weights=none, means=(), spreads=())
    with pytest.raises(HlensError, match="selected no neuron"):
        trace_origin(silent, of_model("base", PLANTED, 2))
