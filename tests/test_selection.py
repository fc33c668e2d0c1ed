"""Choice without peeking, stability with a bound that holds, and groups that say the same."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hlens.errors import HlensError
from hlens.probe import SparseProbe, find
from hlens.probe.solution import Solution
from hlens.selection import correlated_groups, nested_scores, path, stability
from hlens.selection.stability import (
    complementary_halves,
    error_bound,
    first_entered,
    permute_labels,
)
from hlens.types import Contributions, NeuronSet


def planted(n: int, p: int, seed: int, informative: int = 4, strength: float = 2.0):
    """Non-negative neurons of very different scales; the first ones of a shuffle tell the label."""
    draw = np.random.default_rng(seed)
    X = np.abs(draw.normal(size=(p, n))) ** 1.5
    true = draw.choice(p, informative, replace=False)
    Z = (X[true] - X[true].mean(1, keepdims=True)) / X[true].std(1, keepdims=True)
    y = draw.random(n) < 1 / (1 + np.exp(-strength * Z.sum(axis=0)))
    X *= np.exp(1.5 * draw.normal(size=(p, 1)))
    return as_contributions(X, y), set(true.tolist())


def as_contributions(X: np.ndarray, y: np.ndarray, per_group: int = 2) -> Contributions:
    p, n = X.shape
    return Contributions(
        torch.from_numpy(X.astype(np.float32)).reshape(2, p // 2, n).permute(2, 0, 1),
        torch.from_numpy(y),
        tuple(f"g{i // per_group}" for i in range(n)),
        ("general",) * n,
        tuple(f"q{i}" for i in range(n)),
        torch.ones(n, dtype=torch.long),
    )


def flat(neurons: NeuronSet) -> set[int]:
    return {layer * neurons.d_mlp + neuron for layer, neuron in neurons}


def test_path_is_the_probe_at_each_C():
    data, _ = planted(150, 100, seed=0)
    probe = SparseProbe(scale="feature", n_points=8, tol=1e-9)
    whole = path(data, probe)
    assert whole.n_selected[0] == 0
    assert (whole.gaps <= 1e-9).all()
    assert whole.lambda_ratio == pytest.approx(np.geomspace(1, 0.01, 8))
    one = SparseProbe(C=float(whole.C[5]), scale="feature", tol=1e-9)
    one.fit(data.neuron_major.T, data.labels.numpy())
    assert np.allclose(whole.weights(5).flatten(), one.coef_[0], atol=1e-5)
    table = whole.table()
    assert len(table) == whole.n_selected.sum()
    row = table[whole.C[5] == table.C].iloc[0]
    assert row.weight == pytest.approx(float(whole.weights(5)[int(row.layer), int(row.neuron)]))
    assert np.allclose(
        whole.detector(5)(data), one.decision_function(data.neuron_major.T), atol=1e-4
    )


def test_a_path_that_explains_all_says_where_it_ends():
    data, _ = planted(40, 400, seed=0)
    whole = path(data, SparseProbe(n_points=30, path_ratio=1e-5, cv=3))
    assert len(whole) == len(whole.solutions) == len(whole.cv.C) < 30
    assert np.array_equal(whole.C, whole.cv.C)
    assert len(whole.summary()) == len(whole)
    with pytest.raises(HlensError, match=r"at most, not 300; the grid ends at C="):
        whole.choose_count(300)
    nested = nested_scores(data, SparseProbe(C="cv", n_points=20, path_ratio=1e-5, cv=3), folds=3)
    assert np.isfinite(nested.scores).all()
    alone = path(data, SparseProbe(n_points=30, path_ratio=1e-5), validate=False)
    assert alone.ended
    assert alone.solutions[-1].explained > 0.999 >= alone.solutions[-2].explained


def test_ways_to_choose_a_point():
    data, _ = planted(200, 100, seed=1)
    whole = path(data, SparseProbe(scale="feature", n_points=10))
    best, sparse = whole.choose("best"), whole.choose("1se")
    assert whole.cv.mean[best] == whole.cv.mean.max()
    assert sparse <= best
    assert whole.cv.mean[sparse] >= whole.cv.mean[best] - whole.cv.standard_error[best]
    at = whole.choose_count(5)
    assert whole.n_selected[at] >= 5 > whole.n_selected[at - 1]
    point, scores = whole.choose_by(lambda detector: -abs(len(detector.selected) - 5))
    assert scores[point] == scores.max()
    with pytest.raises(HlensError, match="at most"):
        whole.choose_count(101)
    with pytest.raises(HlensError, match="validate=True"):
        path(data, SparseProbe(n_points=3), validate=False).choose()
    with pytest.raises(HlensError, match="no path"):
        path(data, SparseProbe(solver="liblinear"))


def test_nested_scores_never_saw_the_example():
    """The scores of an outer fold are those of a probe found on the other folds alone."""
    data, _ = planted(160, 60, seed=2)
    probe = SparseProbe(C="cv", scale="feature", n_points=5, cv=3)
    nested = nested_scores(data, probe, folds=4)
    held_out = nested.fold == 1
    for group in set(data.groups):
        assert len({k for k, g in zip(nested.fold, data.groups, strict=True) if g == group}) == 1
    train = data.select(np.flatnonzero(~held_out).tolist())
    probe_of_train = find(train, probe)
    expected = probe_of_train(data.select(np.flatnonzero(held_out).tolist()))
    assert probe_of_train.fit["C"] == pytest.approx(nested.C[1], rel=1e-4)
    assert np.allclose(nested.scores[held_out], expected, atol=1e-2)
    assert nested.auroc.mean() > 0.75


@pytest.mark.parametrize("probe", [SparseProbe(C="cv", n_points=5), SparseProbe(n_neurons=5)])
def test_nested_scores_are_at_chance_on_noise(probe):
    draw = np.random.default_rng(3)
    data = as_contributions(draw.gamma(1.0, size=(100, 200)), draw.random(200) < 0.5)
    nested = nested_scores(data, probe)
    assert abs(roc_auc_score(data.labels.numpy(), nested.scores) - 0.5) < 0.15


def test_stability_finds_what_is_planted_and_keeps_its_bound():
    false, found = [], []
    for seed in range(5):
        data, true = planted(160, 300, seed, strength=2.5)
        got = stability(data, n_pairs=8, n_points=5, expected_false=1.0, seed=seed)
        stable = flat(got.stable)
        assert got.expected_false is not None
        assert got.expected_false <= 1.0
        false.append(len(stable - true))
        found.append(len(stable & true))
    assert np.mean(false) <= 1.0
    assert np.mean(found) >= 2


def test_no_bound_where_scaling_breaks_it():
    data, _ = planted(120, 60, seed=0)
    got = stability(data, SparseProbe(), n_pairs=4, n_points=4, shuffles=2)
    assert got.expected_false is None
    assert "scale='feature'" in got.assumption
    assert len(got.null_stable) == 2
    assert error_bound("feature", n_selected=10.0, n_features=1000, threshold=0.75)[0] == (
        pytest.approx(0.2)
    )


def test_stability_repeats_itself_and_its_table_agrees():
    data, _ = planted(100, 60, seed=5)
    one, two = (stability(data, n_pairs=4, n_points=4, seed=1) for _ in range(2))
    assert torch.equal(one.frequency, two.frequency)
    table = one.table()
    assert (table.frequency > 0).all()
    assert table.frequency.is_monotonic_decreasing
    assert (table.positive <= table.frequency).all()
    assert len(table) == int((one.frequency > 0).sum())


def test_halves_are_complementary_and_keep_groups_whole():
    groups = np.arange(40) // 2
    y = (np.arange(40) % 2).astype(float)
    masks = complementary_halves(groups, y, n_pairs=5, seed=0)
    assert masks.shape == (10, 40)
    assert (masks[::2] ^ masks[1::2]).all()
    assert all(len(set(mask[groups == g])) == 1 for mask in masks for g in groups)
    with pytest.raises(HlensError, match="at least 4"):
        complementary_halves(np.array([0, 1, 2]), np.array([0.0, 1.0, 0.0]), n_pairs=2, seed=0)


def test_labels_are_dealt_in_whole_groups():
    groups = np.array([0, 0, 1, 1, 2, 2, 3])
    y = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    for seed in range(5):
        dealt = permute_labels(y, groups, np.random.default_rng(seed))
        assert sorted(dealt) == sorted(y)
        assert all(len(set(dealt[groups == g])) == 1 for g in groups)


def test_no_half_selects_more_than_it_may():
    def point(*features: int) -> Solution:
        return Solution(1.0, 1.0, np.array(features), np.ones(len(features)), 0.0, 0.0, 0.0)

    features, _ = first_entered([point(1), point(1, 5), point(2, 5, 7)], q=3)
    assert sorted(features) == [1, 5]


def test_correlated_neurons_are_grouped_and_share_their_importance():
    draw = np.random.default_rng(0)
    n = 400
    signal, other = draw.normal(size=(2, n))
    X = draw.normal(size=(40, n))
    X[3] = signal + 0.2 * draw.normal(size=n)
    X[17] = -(signal + 0.2 * draw.normal(size=n))
    X[30] = other
    y = draw.random(n) < 1 / (1 + np.exp(-2 * signal - other))
    data = as_contributions(X, y)
    given = NeuronSet(frozenset({(0, 3), (1, 10)}), 2, 20)
    table = correlated_groups(data, given, min_correlation=0.7)
    assert list(zip(table.layer, table.neuron, strict=True)) == [(0, 3), (0, 17), (1, 10)]
    assert table.group.tolist() == [0, 0, 1]
    assert table.given.tolist() == [True, False, True]
    assert table.representative.tolist() == [True, False, True]
    assert table.correlation[1] == pytest.approx(-0.96, abs=0.02)
    pair = table[table.group == 0]
    assert (pair.conditional < 0.2 * pair.alone).all()
    lone = table[table.group == 1].iloc[0]
    assert lone.conditional == pytest.approx(lone.alone, rel=0.3)
    with pytest.raises(HlensError, match="not empty"):
        correlated_groups(data, NeuronSet(frozenset(), 2, 20))
