"""The controls say what they must: noise gives 0.5, random neurons know nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hlens.errors import HlensError
from hlens.evaluation import controls, fit_detector, split_by_group
from hlens.evaluation.significance import permute_labels
from hlens.probe import SparseProbe
from hlens.types import Contributions
from synthetic import joined, made

PLANTED = {(0, 2): 1.5, (1, 5): 1.5}


def probe() -> LogisticRegression:
    return LogisticRegression(C=0.1, solver="liblinear", l1_ratio=1, random_state=0)


def table(data: Contributions, **options: int) -> pd.DataFrame:
    train, test = split_by_group(data, seed=0)
    given = {"shuffles": 8, "draws": 20, "n_boot": 200} | options
    return controls(train, test, probe=probe(), **given).set_index("control")


def test_a_planted_signal_stands_above_all_its_controls() -> None:
    found = table(made(600, n_layers=2, d_mlp=40, planted=PLANTED))
    assert found.auroc["probe"] > 0.85
    assert found.p["probe"] == pytest.approx(1 / 9)
    assert found.low["shuffled labels"] < 0.5 < found.high["shuffled labels"]
    assert abs(found.auroc["shuffled labels"] - 0.5) < 0.08
    assert found.auroc["random neurons"] < 0.6
    assert found.p["selected neurons, refit"] == pytest.approx(1 / 21)
    assert found.repeats["random neurons"] == 20
    assert 0.35 < found.auroc["answer length"] < 0.65
    assert list(found.columns) == ["auroc", "low", "high", "n", "neurons", "repeats", "p", "note"]


def test_a_sparse_probe_that_chooses_c_by_group_is_controlled_all_the_same() -> None:
    train, test = split_by_group(made(300, per_group=2, d_mlp=40, planted=PLANTED))
    sparse = SparseProbe(C="cv", cv=3, n_points=4)
    found = controls(train, test, probe=sparse, shuffles=2, draws=5, n_boot=50).set_index("control")
    assert found.auroc["probe"] > 0.8 > 0.65 > found.auroc["shuffled labels"]
    detector = fit_detector(train, sparse)
    again = controls(train, test, probe=sparse, detector=detector, shuffles=2, draws=5, n_boot=50)
    assert again.set_index("control").equals(found)


def test_length_that_follows_the_label_is_seen_in_either_direction() -> None:
    data = made(400)
    longer = torch.where(data.labels, 9, 3) + data.n_tokens
    for n_tokens in (longer, 40 - longer):
        assert table(replace(data, n_tokens=n_tokens), shuffles=1).auroc["answer length"] > 0.9


def test_signal_that_every_neuron_carries_gives_random_neurons_as_good() -> None:
    data = made(600, d_mlp=200)
    everywhere = replace(data, values=data.values + data.labels[:, None, None].float())
    found = table(everywhere, shuffles=1)
    assert found.auroc["random neurons"] > 0.9


def test_domain_base_rates_have_their_own_row() -> None:
    easy, hard = made(300, rate=0.1, seed=1), made(300, rate=0.9, seed=2, domains=("science",))
    both = joined(easy, hard)
    assert table(both, shuffles=1).auroc["domain alone"] > 0.8
    assert "domain alone" not in table(easy, shuffles=1).index


def test_permuted_labels_keep_balance_and_whole_groups() -> None:
    data = made(300, per_group=3)
    permuted = permute_labels(data, 0)
    assert permuted.sum() == data.labels.sum()
    blocks = permuted.reshape(-1, 3)
    assert bool((blocks.all(1) | ~blocks.any(1)).all())
    agreement = np.mean(
        [float((permute_labels(data, s) == data.labels).float().mean()) for s in range(20)]
    )
    assert 0.4 < agreement < 0.6


def test_a_probe_that_selects_nothing_still_gives_a_table() -> None:
    train, test = split_by_group(made(200))
    nothing = LogisticRegression(C=1e-6, solver="liblinear", l1_ratio=1)
    found = controls(train, test, probe=nothing, shuffles=2, n_boot=50).set_index("control")
    assert found.auroc["probe"] == 0.5
    assert found.note["random neurons"] == "the probe selected no neuron"


def test_a_group_on_both_sides_is_refused() -> None:
    data = made(100)
    with pytest.raises(HlensError, match="100 groups are in the training and in the test part"):
        controls(data, data, probe=probe())


class _Moody(LogisticRegression):
    """Fails on every label but those that the test says are real."""

    real: tuple[bool, ...] = ()

    def fit(self, X: np.ndarray, y: np.ndarray) -> "_Moody":
        if tuple(y.tolist()) != self.real:
            raise HlensError("a fold has one class only")
        return super().fit(X, y)


def test_a_shuffled_fit_that_fails_is_counted_and_loses_nothing() -> None:
    train, test = split_by_group(made(100))
    _Moody.real = tuple(train.labels.tolist())
    found = controls(train, test, probe=_Moody(), shuffles=3, draws=2, n_boot=20).set_index(
        "control"
    )
    assert found.repeats["shuffled labels"] == 0
    assert found.note["shuffled labels"].startswith("3 of 3 could not be fitted: a fold")
    assert np.isfinite(found.auroc["probe"])
