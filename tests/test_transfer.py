"""What is shared transfers, what is not does not, what is turned round is called inverse."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from hlens.errors import HlensError
from hlens.evaluation import fit_detector, transfer
from hlens.evaluation.crossfit import CrossFit
from hlens.evaluation.intervals import delong_test
from hlens.evaluation.transfer import tabulate_transfer
from hlens.types import Contributions
from hlens.types.labels import Pool
from synthetic import joined, made

PROBE = LogisticRegression(C=0.05, solver="liblinear", l1_ratio=1, random_state=0)
A, B = (0, 2), (1, 5)


def domain(name: str, planted: dict[tuple[int, int], float], n: int = 240, seed: int = 0):
    return made(n, d_mlp=30, planted=planted, per_group=2, domains=(name,), seed=seed)


def matrix(data: Contributions, **options: bool) -> pd.DataFrame:
    return transfer(data, PROBE, folds=3, **options).set_index(["train", "test"])


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    both = joined(
        domain("same", {A: 2.0}, seed=1),
        domain("alike", {A: 2.0}, seed=2),
        domain("apart", {B: 2.0}, seed=3),
        domain("turned", {A: -2.0}, seed=4),
    )
    return matrix(both)


def test_shared_neurons_transfer_and_others_do_not(found: pd.DataFrame) -> None:
    assert found.auroc["same", "same"] > 0.75
    assert found.auroc["alike", "same"] > 0.75
    assert found.p_corrected["alike", "same"] > 0.05
    assert found.high["apart", "same"] < 0.65
    assert found.auroc_drop["apart", "same"] > 0.2
    assert found.p_corrected["apart", "same"] < 0.001
    assert found.p_chance["apart", "same"] > 0.001
    assert found.note["same", "same"] == "within domain, cross-validated"
    assert np.isnan(found.p["same", "same"])


def test_below_a_half_is_called_inverse(found: pd.DataFrame) -> None:
    assert found.auroc["turned", "same"] < 0.2
    assert found.note["turned", "same"] == "inverse transfer"


def test_pooled_and_left_out_rows_stand_beside_and_are_stated(found: pd.DataFrame) -> None:
    assert found.n_train[Pool.ALL, "same"] == pytest.approx(640, abs=6)
    assert found.n_train[Pool.OTHERS, "same"] == pytest.approx(480, abs=6)
    assert found.n_train["alike", "same"] == pytest.approx(160, abs=6)
    assert len(found) == 4 * 6
    assert found.auroc[Pool.ALL, "apart"] > 0.65 > found.auroc[Pool.OTHERS, "apart"]
    corrected = found.p_corrected.dropna()
    assert (corrected >= found.p[corrected.index]).all()


def test_the_diagonal_is_out_of_fold_and_holds_whole_groups() -> None:
    # Labels are noise, but each group of two holds the same vector twice: a leak would show.
    data = joined(domain("a", {}, seed=1), domain("b", {}, seed=2))
    data.values[1::2] = data.values[::2]
    greedy = LogisticRegression(C=100.0, max_iter=2000)
    inside = fit_detector(data, greedy)(data)
    assert ((inside > 0) == data.labels).float().mean() > 0.75
    table = transfer(data, greedy, folds=3, pooled=False)
    assert table.auroc.between(0.35, 0.65).all()


def test_domains_that_lie_wholly_apart_are_not_known_without_error() -> None:
    far = {A: 1000.0}
    data = joined(domain("a", far, n=24, seed=1), domain("b", far, n=24, seed=2))
    rows = transfer(data, LogisticRegression(), folds=2, pooled=False)
    assert (rows.auroc == 1).all()
    assert rows.low.between(0.4, 0.75).all()
    assert (rows.high == 1).all()
    assert rows.p_chance.between(1e-6, 0.2).all()
    turned = joined(data.of_domain("a"), domain("b", {A: -1000.0}, n=24, seed=2))
    across = transfer(turned, LogisticRegression(), folds=2, pooled=False).query("train != test")
    assert (across.auroc == 0).all()
    assert across.high.between(0.25, 0.6).all()


def test_a_group_that_is_in_two_domains_never_leaks_across_them() -> None:
    first = domain("a", {}, seed=1)
    twin = joined(first, Contributions(
        first.values.clone(), first.labels, first.groups, ("b",) * len(first),
        first.question_ids, first.n_tokens,
    ))  # fmt: skip
    greedy = LogisticRegression(C=100.0, max_iter=2000)
    table = transfer(twin, greedy, folds=3, pooled=False)
    assert table.auroc.between(0.35, 0.65).all()


def test_the_drop_is_a_paired_test() -> None:
    data = joined(domain("a", {A: 1.0}, seed=1), domain("b", {A: 1.0}, seed=2))
    found = CrossFit(data, torch.zeros(len(data), dtype=torch.long), n_sources=2)
    noise = np.random.default_rng(0).normal(size=len(data))
    own = data.values[:, 0, 2].numpy()
    found.values[0], found.values[1] = own, own + 0.5 * noise
    table = tabulate_transfer(found.table([("a", None), ("b", None)]))
    table = table.set_index(["train", "test"])
    part = data.of_domain("a")
    n = len(part)
    drop, p = delong_test(
        own[:n], found.values[1, :n], labels=part.labels.numpy(), groups=part.groups
    )
    assert (table.auroc_drop["b", "a"], table.p["b", "a"]) == pytest.approx((drop, p))
    assert 1e-6 < p < 0.5


def test_equalised_domains_train_on_equal_numbers() -> None:
    data = joined(
        domain("small", {A: 2.0}, n=120, seed=1), domain("large", {A: 2.0}, n=360, seed=2)
    )
    table = matrix(data, equalise=True, pooled=False)
    assert table.n_train["small", "large"] == table.n_train["large", "large"] <= 80
    assert table.n["small", "large"] == 360


def test_a_domain_that_cannot_be_fitted_says_why_and_loses_no_other() -> None:
    lonely = domain("lonely", {A: 2.0}, n=60, seed=1)
    few = lonely.select(lonely.labels.nonzero().flatten().tolist()[:2] + list(range(30)))
    few = few.select([i for i in range(32) if i < 2 or not few.labels[i]])
    data = joined(few, domain("well", {A: 2.0}, seed=2))
    table = matrix(data)
    assert "needs hallucinated and true" in table.note["lonely", "well"]
    assert np.isnan(table.auroc["lonely", "well"])
    assert table.auroc["well", "well"] > 0.8


def test_one_domain_or_one_class_is_an_error_in_words() -> None:
    with pytest.raises(HlensError, match="transfer needs two domains or more"):
        transfer(domain("a", {}), PROBE)
    single = made(40, d_mlp=30, rate=0.0, domains=("b",), seed=5)
    with pytest.raises(HlensError, match="domain 'b' needs hallucinated and true"):
        transfer(joined(domain("a", {}), single), PROBE)


def test_where_nothing_is_read_a_probe_of_the_tested_domain_is_no_surer_than_another() -> None:
    """Two folds that are alike by chance are so as training and as tested part."""
    probe, alarms = LogisticRegression(C=0.1), dict.fromkeys(("within", "across", "pooled"), 0)
    for seed in range(100):
        noise = made(160, d_mlp=5, domains=("a", "b"), seed=seed)
        for row in transfer(noise, probe, folds=4, seed=seed).to_dict("records"):
            kind = "within" if row["train"] == row["test"] else "across"
            alarms[kind if row["train"] in "ab" else "pooled"] += row["p_chance"] <= 0.05
    for kind, n in alarms.items():  # taken as held-out answers: 14 % within, 9 % pooled
        assert n <= 0.05 * 200 + 2 * np.sqrt(200 * 0.05 * 0.95), kind
