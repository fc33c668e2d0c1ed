"""Neurons beside the model's own output: what they add is found, and seldom where it is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import hlens
from hlens.audit.added import gain
from hlens.audit.leaderboard import score_all, scores_of
from hlens.audit.over_output import numbers_of, over_output
from hlens.claims.findings import collect_findings
from hlens.claims.rules import EARNS, decide, is_gain
from hlens.errors import HlensError
from hlens.evaluation import auroc
from hlens.probe.crossval import assign_folds
from hlens.probe.stacking import CS, stack, stacked_scores
from hlens.probe.ways import probe_of
from hlens.types import Evidence
from hlens.types.labels import OUTPUT, Control, Part
from hlens.types.output_numbers import output_numbers
from planted import evidence

SCORES = pd.DataFrame(
    {"control": [*Control], "auroc": 0.5, "low": 0.4, "high": 0.6, "n": 120, "p": 0.5, "repeats": 1}
)


def halves(given: Evidence) -> tuple[Evidence, Evidence]:
    n = len(given) // 2
    return given.select(range(n)), given.select(range(n, len(given)))


def gained(given: Evidence, permutations: int = 199):
    train, test = halves(given)
    probe = probe_of("hlens", n_points=8)
    in_test = np.arange(len(given)) >= len(train)
    detector = hlens.find(train.contributions, probe)
    rivals = [hlens.baselines.named(OUTPUT)]
    table = score_all(given, in_test, probe=probe, detector=detector, rivals=rivals)
    return over_output(
        *(scores_of(table, part) for part in Part),
        numbers=numbers_of(given, in_test),
        labels=(train.labels.numpy(), test.labels.numpy()),
        groups=(train.groups, test.groups), permutations=permutations, n_boot=50,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("signal", "earns"), [("contributions", True), ("logprobs", False), ("", False)]
)
def test_a_gain_is_found_where_it_was_planted(signal: str, earns: bool) -> None:
    (row,) = gained(evidence(400, signal=signal, shift=0.8)).to_dict("records")
    assert (row["difference_low"] > 0 and row["p"] <= 0.05) == earns
    assert (row["output"] > 0.7) == (signal == "logprobs")
    assert (row["both"] > 0.7) == bool(signal)
    assert row["difference"] == pytest.approx(row["both"] - row["output"])
    assert row["n"] == 200


def test_what_repeats_the_output_is_seldom_worth_its_pass() -> None:
    """The neurons' score is the output's own numbers and noise: nothing is added."""
    earned = []
    for seed in range(8):
        given = evidence(240, signal="logprobs", shift=0.5, seed=seed)
        numbers = output_numbers(given)["mean log-probability"]
        draw = np.random.default_rng(seed)
        values = given.contributions.values.clone()
        values[:, 1, 5] = torch.from_numpy(np.exp(-numbers / 4 + 0.3 * draw.normal(size=240)))
        given = replace(given, contributions=replace(given.contributions, values=values))
        table = gained(given, permutations=99)
        found = collect_findings(scores=SCORES, n_selected=1, n_neurons=18, over_output=table)
        assert found.over_output is not None
        earned.append(is_gain(found.over_output))
        cost = decide(found)[-1]
        assert next(one for one in cost.checks if one.name == EARNS).holds == earned[-1]
    assert sum(earned) <= 2  # two tests of 5 %, both of which must hold


def test_a_copy_of_one_output_number_adds_nothing() -> None:
    """The p keeps its level, which it does not where only the first model's score is kept."""
    small = []
    for seed in range(16):
        draw = np.random.default_rng(seed)
        numbers = 0.7 * draw.standard_normal((260, 1)) + 0.7 * draw.standard_normal((260, 4))
        labels = draw.random(260) < 1 / (1 + np.exp(-numbers @ [0.3, 0.8, 0.3, -0.3]))
        copied = numbers[:, 1] + 0.1 * draw.standard_normal(260)
        parts = slice(160), slice(160, None)
        groups = tuple([str(i) for i in range(260)][part] for part in parts)
        _, p = gain(
            (numbers[parts[0]], numbers[parts[1]]),
            (copied[parts[0]], copied[parts[1]]),
            labels=(labels[parts[0]], labels[parts[1]]), groups=groups, permutations=99, n_boot=20,
        )  # fmt: skip
        small.append(p <= 0.05)
    assert sum(small) <= 3


def test_found_beside_the_output_it_is_what_the_audit_compares() -> None:
    train, test = halves(evidence(400, signal="contributions", shift=0.8))
    found = hlens.find(train, probe_of("hlens", n_points=8), beside="output")
    assert auroc(found(test), test.labels.numpy()) > 0.7
    assert abs(auroc(found.without_neurons(test), test.labels.numpy()) - 0.5) < 0.15
    alone = hlens.find(train.contributions, probe_of("hlens", n_points=8))
    assert found.detector.selected == alone.selected
    assert np.array_equal(found(test), found(test.blind()))  # no label of the test part is read
    assert found.calibration is not None
    assert ((found.probability(test) > 0) & (found.probability(test) < 1)).all()
    table = gained(evidence(400, signal="contributions", shift=0.8))
    assert table["both"].item() == pytest.approx(auroc(found(test), test.labels.numpy()))
    assert set(found.both.weights) - set(found.alone.weights) == {"neurons"}


def test_a_stack_is_scikit_learns_and_out_of_fold() -> None:
    given = evidence(200, signal="logprobs")
    numbers, labels = output_numbers(given), given.labels.numpy()
    fold = assign_folds(labels.astype(float), given.groups, n_folds=5, seed=0)
    mine = stack(numbers, labels, fold=fold)(numbers)
    X = StandardScaler().fit_transform(np.stack(list(numbers.values()), axis=1))
    theirs = [
        LogisticRegression(C=C, class_weight="balanced", max_iter=5000, tol=1e-8).fit(X, labels)
        for C in CS
    ]
    assert min(np.abs(one.decision_function(X) - mine).max() for one in theirs) < 1e-3
    scores = stacked_scores(numbers, labels, fold=fold)
    spoilt = labels ^ (fold == 0)  # its own labels decide nothing of a fold's scores
    assert np.array_equal(scores[fold == 0], stacked_scores(numbers, spoilt, fold=fold)[fold == 0])


def test_the_numbers_are_those_of_the_tokens() -> None:
    given = evidence(20)
    numbers = output_numbers(given)
    row, entropies = np.array(given.logprobs[3]), np.array(given.entropies[3])  # type: ignore[index]
    expected = {
        "mean log-probability": row.mean(), "least log-probability": row.min(),
        "first log-probability": row[0], "mean entropy": entropies.mean(),
        "greatest entropy": entropies.max(), "first entropy": entropies[0],
        "log length": np.log(len(row)),
    }  # fmt: skip
    assert {name: values[3] for name, values in numbers.items()} == pytest.approx(expected)
    assert set(output_numbers(replace(given, entropies=None))) == {
        name for name in expected if "entropy" not in name
    }
    with pytest.raises(HlensError, match="no output numbers"):
        output_numbers(replace(given, logprobs=None))
    with pytest.raises(HlensError, match="20 of 20 answers have no log-probabilities"):
        output_numbers(replace(given, logprobs=((),) * 20))
    with pytest.raises(HlensError, match="20 of 20 answers have no entropies"):
        output_numbers(replace(given, entropies=((),) * 20))
    broken = ((float("nan"),), *given.logprobs[1:])  # type: ignore[index]
    with pytest.raises(HlensError, match="1 of 20 answers have log-probabilities that are not fin"):
        output_numbers(replace(given, logprobs=broken))


def test_the_papers_way_is_liblinear() -> None:
    data = evidence(200, signal="contributions").contributions
    found = hlens.find(data, way="paper", calibration=None)
    plain = LogisticRegression(
        C=1.0, l1_ratio=1, solver="liblinear", max_iter=1000, random_state=42
    ).fit(data.neuron_major.T.numpy().astype(np.float64), data.labels.numpy())
    assert found.weights.flatten().numpy() == pytest.approx(plain.coef_[0], abs=1e-3)
    assert found.bias == pytest.approx(float(plain.intercept_[0]), abs=1e-3)
    assert found.fit["solver"] == "liblinear"


def test_a_mistake_is_one_line() -> None:
    given = evidence(200)
    for call, said in (
        (lambda: hlens.find(given), "give Contributions, or Evidence with beside='output'"),
        (lambda: hlens.find(given.contributions, beside="output"), "needs Evidence"),
        (lambda: hlens.find(given, beside="words"), "beside='words'; expected 'output'"),
        (lambda: hlens.find(given.contributions, way="papr"), "did you mean 'paper'"),
        (
            lambda: hlens.find(given.contributions, probe_of("paper"), way="paper"),
            "a probe and way='paper'; give one of them",
        ),
    ):
        with pytest.raises(HlensError, match=said) as raised:
            call()  # type: ignore[call-overload]
        assert "\n" not in str(raised.value)
