"""The sparsity claim is confirmed where it is planted, and refuted where every neuron knows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hlens.errors import HlensError
from hlens.evaluation import k_sweep, sparsity_summary, split_by_group
from hlens.evaluation.folded import delong_folded
from hlens.evaluation.sparsity import rank_neurons
from hlens.types import Contributions
from synthetic import made

PLANTED = {(0, 2): 2.0, (0, 9): 2.0, (1, 5): 2.0, (1, 30): 2.0, (1, 31): 2.0}
PROBE = LogisticRegression(C=0.1, solver="liblinear", l1_ratio=1, random_state=0)
RIDGE = LogisticRegression(C=0.01, max_iter=1000)


def sweep(data: Contributions, ks: tuple[int, ...] = (1, 5, 20)):
    train, test = split_by_group(data)
    return k_sweep(train, test, probe=PROBE, ks=ks, draws=20, ceiling=RIDGE)


def test_five_planted_neurons_are_enough_and_no_random_ones_are() -> None:
    table = sweep(made(500, d_mlp=60, planted=PLANTED))
    said = sparsity_summary(table).iloc[0]
    assert said.k == 5
    assert said.auroc > 0.95
    assert said.random_auroc < 0.6
    assert said.random_k is None or np.isnan(said.random_k)
    assert (table.repeats[table.neurons.str.startswith("random")] == 20).all()
    assert table.chosen.sum() == 1


def test_where_every_neuron_knows_random_ones_do_as_well() -> None:
    draw = np.random.default_rng(0)
    data = made(500, d_mlp=200)
    hidden = data.labels.float() + torch.from_numpy(draw.normal(size=500) * 0.3).float()
    spread_out = replace(data, values=data.values + 2 * hidden[:, None, None])
    said = sparsity_summary(sweep(spread_out, ks=(5, 100))).iloc[0]
    assert said.random_auroc > said.auroc - 0.05


def test_rank_neurons_starts_with_the_planted_and_ignores_the_units() -> None:
    data = made(500, d_mlp=60, planted=PLANTED)
    planted = {layer * 60 + neuron for layer, neuron in PLANTED}
    assert set(rank_neurons(data, PROBE, n=5)) == planted
    nothing = LogisticRegression(C=1e-6, solver="liblinear", l1_ratio=1)
    assert set(rank_neurons(data, nothing, n=5)) == planted


def test_folded_auroc_ignores_the_scale_of_a_fold() -> None:
    draw = np.random.default_rng(0)
    labels, fold = draw.random(200) < 0.5, np.arange(200) % 4
    scores = draw.normal(size=200) + labels
    moved = scores * (1 + fold) + 100 * fold
    groups = [str(i) for i in range(200)]
    plain = delong_folded(scores, labels, fold=fold, groups=groups)
    assert delong_folded(moved, labels, fold=fold, groups=groups).auroc == pytest.approx(
        plain.auroc
    )
    pooled = delong_folded(scores, labels, fold=np.zeros(200), groups=groups)
    assert plain.se[0] == pytest.approx(pooled.se[0], rel=0.1)


def test_no_k_to_try_is_an_error_in_words() -> None:
    with pytest.raises(HlensError, match="between 1 and 12 in ks"):
        sweep(made(100), ks=(500,))
