"""AUROC, its errors and its intervals agree with plain computations; splits keep groups whole."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hlens.errors import HlensError
from hlens.evaluation import (
    accuracy,
    auroc,
    delong,
    delong_test,
    estimate_auroc,
    evaluate,
    folds_by_group,
    split_by_group,
)
from hlens.types import Contributions, Detector
from synthetic import made


def reading(data: Contributions, neuron: tuple[int, int]) -> Detector:
    weights = torch.zeros(data.n_layers, data.d_mlp)
    weights[neuron] = 1.0
    return Detector(weights=weights, bias=-2.0)


def tied_scores(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.random(n) < 0.3
    return np.round(draw.normal(size=n) + labels, 1), labels


def test_auroc_equals_scikit_learn_with_ties() -> None:
    scores, labels = tied_scores()
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert delong(scores, labels).auroc[0] == pytest.approx(auroc(scores, labels), abs=1e-12)


def test_delong_equals_the_definition_over_all_pairs() -> None:
    scores, labels = tied_scores(60)
    second = np.random.default_rng(1).normal(size=60)
    found = delong(np.stack([scores, second]), labels)
    v10, v01 = [], []
    for row in (scores, second):
        wins = np.sign(row[labels][:, None] - row[~labels][None, :]) / 2 + 0.5
        v10.append(wins.mean(axis=1))
        v01.append(wins.mean(axis=0))
    expected = np.cov(v10) / labels.sum() + np.cov(v01) / (~labels).sum()
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-10)


def test_singleton_groups_change_nothing_and_copies_in_a_group_add_no_evidence() -> None:
    scores, labels = tied_scores(200)
    alone = delong(scores, labels).se[0]
    single = delong(scores, labels, groups=[f"g{i}" for i in range(200)]).se[0]
    assert single == pytest.approx(alone, rel=1e-9)
    copies = delong(np.repeat(scores, 4), np.repeat(labels, 4), groups=np.repeat(np.arange(200), 4))
    assert copies.se[0] == pytest.approx(alone, rel=1e-9)
    blind = delong(np.repeat(scores, 4), np.repeat(labels, 4)).se[0]
    assert blind < 0.6 * alone


def test_paired_test_holds_its_level_and_sees_a_real_difference() -> None:
    draw = np.random.default_rng(0)
    low = 0
    for _ in range(300):
        labels = draw.random(120) < 0.5
        truth = draw.normal(size=120) + labels
        first, second = truth + draw.normal(size=120), truth + draw.normal(size=120)
        low += delong_test(first, second, labels=labels)[1] < 0.05
    assert 3 <= low <= 28  # 15 expected
    difference, p = delong_test(truth, draw.normal(size=120), labels=labels)
    assert difference > 0.1
    assert p < 0.01


def test_interval_is_wider_for_clustered_examples_and_near_delong() -> None:
    scores, labels = tied_scores(400)
    single = estimate_auroc(scores, labels)
    half_width = 1.96 * delong(scores, labels).se[0]
    assert (single.high - single.low) / 2 == pytest.approx(half_width, rel=0.15)
    groups = np.repeat(np.arange(400), 4)
    copies = estimate_auroc(np.repeat(scores, 4), np.repeat(labels, 4), groups=groups)
    assert copies.high - copies.low == pytest.approx(single.high - single.low, rel=0.15)


def test_errors_of_groups_that_hold_both_classes_are_those_of_drawing_groups() -> None:
    # Both examples of a group share a large part of their score: it cancels in the comparison.
    draw = np.random.default_rng(0)
    shared = 3 * draw.normal(size=300).repeat(2)
    labels = np.arange(600) % 2 == 0
    scores = shared + draw.normal(size=600) + labels
    groups = np.arange(300).repeat(2)
    found = estimate_auroc(scores, labels, groups=groups)
    half_width = (found.high - found.low) / 2
    assert 1.96 * delong(scores, labels, groups=groups).se[0] == pytest.approx(half_width, rel=0.15)
    assert 1.96 * delong(scores, labels).se[0] > 1.5 * half_width


def test_evaluate_reads_the_planted_neuron_and_accuracy_stands_beside_it() -> None:
    data = made(planted={(1, 3): 3.0})
    found = evaluate(reading(data, (1, 3)), data)
    assert found.value > 0.9
    assert found.low < found.value < found.high
    assert evaluate(reading(data, (0, 0)), data).value < 0.65
    plain = accuracy(reading(data, (1, 3)), data)
    expected = ((data.values[:, 1, 3] - 2 >= 0) == data.labels).float().mean()
    assert plain.value == pytest.approx(float(expected))
    assert plain.low < plain.value < plain.high


def test_balanced_accuracy_of_a_constant_answer_is_a_half() -> None:
    data = made(rate=0.9)
    always = Detector(weights=torch.zeros(2, 12), bias=1.0)
    assert accuracy(always, data).value > 0.8
    assert accuracy(always, data, balanced=True).value == 0.5


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_one_class_is_an_error_in_words(rate: float) -> None:
    data = made(rate=rate)
    for judge in (evaluate, accuracy):
        with pytest.raises(HlensError, match="needs hallucinated and true"):
            judge(reading(data, (0, 0)), data)


def test_bad_scores_are_named() -> None:
    with pytest.raises(HlensError, match="example 1 is nan"):
        auroc([0.1, float("nan"), 0.3], [0, 1, 1])
    with pytest.raises(HlensError, match="one score and one label"):
        auroc([0.1, 0.2], [0, 1, 1])


@pytest.mark.parametrize("per_group", [1, 3])
def test_split_keeps_groups_whole_and_classes_in_proportion(per_group: int) -> None:
    data = made(600, rate=0.2, per_group=per_group, domains=("a", "b"))
    train, test = split_by_group(data, test=0.3, seed=1)
    assert not set(train.groups) & set(test.groups)
    assert len(train) + len(test) == 600
    for domain in ("a", "b"):
        whole, part = data.of_domain(domain), test.of_domain(domain)
        assert int(part.labels.sum()) == pytest.approx(0.3 * int(whole.labels.sum()), abs=per_group)
        assert len(part) == pytest.approx(0.3 * len(whole), abs=2 * per_group)
    again = split_by_group(data, test=0.3, seed=1)[1]
    other = split_by_group(data, test=0.3, seed=2)[1]
    assert again.question_ids == test.question_ids != other.question_ids


def test_folds_keep_groups_whole_and_balanced() -> None:
    data = made(500, rate=0.2, per_group=5)
    fold = folds_by_group(data, k=5, seed=0)
    of_group: dict[str, set[int]] = {}
    for group, at in zip(data.groups, fold.tolist(), strict=True):
        of_group.setdefault(group, set()).add(at)
    assert all(len(folds) == 1 for folds in of_group.values())
    hallucinated = [int(data.labels[fold == at].sum()) for at in range(5)]
    assert max(hallucinated) - min(hallucinated) <= 5
    assert min(torch.bincount(fold)) >= 95


def test_fewer_groups_than_folds_is_an_error_in_words() -> None:
    data = made(40, per_group=10, rate=0.5, seed=3)
    with pytest.raises(HlensError, match=r"groups with .* examples for 5 parts"):
        folds_by_group(data, k=5)
    with pytest.raises(HlensError, match="between 0 and 1"):
        split_by_group(data, test=1.5)
