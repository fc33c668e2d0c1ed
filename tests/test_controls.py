"""The controls say what they must: noise gives 0.5, random neurons know nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hlens
from hlens.errors import HlensError
from hlens.evaluation import accuracy, controls, fit_detector, folds_by_group, split_by_group
from hlens.evaluation.fitting import refit_threshold
from hlens.evaluation.significance import permute_labels
from hlens.probe import SparseProbe
from hlens.probe.finding import best_threshold
from hlens.types import Contributions, Estimate
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
    assert list(found.columns) == [
        "auroc", "low", "high", "n", "accuracy", "accuracy_low", "accuracy_high",
        "balanced_accuracy", "balanced_low", "balanced_high", "neurons", "repeats", "p", "note",
    ]  # fmt: skip


def test_accuracy_stands_beside_that_of_random_neurons_and_of_the_commoner_label() -> None:
    train, test = split_by_group(made(600, d_mlp=40, planted=PLANTED, rate=0.3, per_group=2))
    detector = hlens.find(train, SparseProbe(C="cv", cv=3, n_points=4))
    found = controls(train, test, probe=probe(), detector=detector, shuffles=1, n_boot=100)
    rows = {row["control"]: row for row in found.to_dict("records")}
    for balanced, column, ends in (
        (False, "accuracy", "accuracy_"),
        (True, "balanced_accuracy", "balanced_"),
    ):
        read = {c: Estimate.from_row(row, column, ends=ends) for c, row in rows.items()}
        own = accuracy(detector, test, balanced=balanced, n_boot=100)
        assert read["probe"] == own
        assert own.low > 0.7
        refit = read["selected neurons, refit"]
        assert abs(refit.value - own.value) < 0.1
        assert refit.value > read["random neurons"].high
        assert not read["shuffled labels"].known
    # A threshold of highest balanced accuracy costs plain accuracy where one label is rare.
    assert rows["random neurons"]["accuracy"] < rows["commoner label"]["accuracy"]
    assert 0.4 < rows["random neurons"]["balanced_accuracy"] < 0.6
    always = rows["commoner label"]
    assert always["accuracy"] == pytest.approx(1 - test.labels.double().mean())
    assert (always["balanced_accuracy"], always["auroc"], always["low"]) == (0.5, 0.5, 0.5)
    assert always["note"] == "always says true"


def test_the_threshold_of_a_refit_is_fixed_on_what_it_did_not_see() -> None:
    data, neurons = made(200, d_mlp=12, planted=PLANTED, per_group=2), [2, 17, 20]
    X, y = data.neuron_major[neurons].T.numpy(), data.labels.numpy()
    fold, unseen = folds_by_group(data, 5, seed=3).numpy(), np.empty(len(data))
    for part in range(5):
        ridge = make_pipeline(StandardScaler(), LogisticRegression(C=10 / 3, max_iter=2000))
        ridge.fit(X[fold != part], y[fold != part])
        unseen[fold == part] = ridge.decision_function(X[fold == part])
    expected = best_threshold(unseen, y)
    assert refit_threshold(data, neurons=neurons, seed=3) == pytest.approx(expected, abs=1e-3)
    one = tuple("one" if wrong else g for wrong, g in zip(y, data.groups, strict=True))
    assert np.isnan(refit_threshold(replace(data, groups=one), neurons=neurons))


def test_cut_off_and_attempted_alone_are_shown_and_said_where_they_are_constant() -> None:
    train, test = split_by_group(made(400), seed=0)

    def replies(part: Contributions, no_attempt: bool) -> pd.DataFrame:
        silent = part.labels & (torch.arange(len(part)) % 2 == 0) & no_attempt
        return pd.DataFrame({"cut off": "no", "attempted": np.where(silent, "no", "yes")})

    def rows(no_attempt: bool) -> pd.DataFrame:
        both = replies(train, no_attempt), replies(test, no_attempt)
        given = {"shuffles": 1, "draws": 1, "n_boot": 50}
        return controls(train, test, probe=probe(), replies=both, **given).set_index("control")

    found, constant = rows(True), rows(False)
    n, n_silent = len(test), int((replies(test, True).attempted == "no").sum())
    expected = 0.5 + n_silent / int(test.labels.sum()) / 2
    assert found.auroc["attempted alone"] == pytest.approx(expected)
    attempts = f"{n - n_silent} of {n} held-out replies attempt an answer"
    assert found.note["attempted alone"] == attempts
    for control, note in (
        ("cut off alone", "no reply was cut off"),
        ("attempted alone", "every reply attempts an answer"),
    ):
        row = constant.loc[control]
        assert (row.auroc, row.low, row.high, row.n, row.note) == (0.5, 0.5, 0.5, n, note)


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
