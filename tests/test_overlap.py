"""Planted sharing is recovered; with nothing shared, false alarms stay at their level."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from hlens.errors import HlensError
from hlens.evaluation import (
    fit_detector,
    frequency_correlation,
    overlap,
    reliability,
    shared_neurons,
    split_halves,
)
from hlens.evaluation.overlap import chance_overlap, null_strata
from hlens.types import Contributions, NeuronSet
from synthetic import joined, made

PROBE = LogisticRegression(C=0.03, solver="liblinear", l1_ratio=1, random_state=0)
SHARED = {(0, 1): 2.5, (0, 7): 2.5, (1, 20): 2.5}


def a_set(members: set[tuple[int, int]], name: str, shape: tuple[int, int] = (3, 40)) -> NeuronSet:
    return NeuronSet(frozenset(members), *shape, name=name)


def drawn(draw: np.random.Generator, counts: tuple[int, ...], name: str) -> NeuronSet:
    members = {
        (layer, int(j)) for layer, k in enumerate(counts) for j in draw.choice(40, k, replace=False)
    }
    return a_set(members, name)


def test_counts_of_a_pair_worked_by_hand() -> None:
    a = a_set({(0, 1), (0, 2), (1, 3), (2, 4)}, "a")
    b = a_set({(0, 1), (1, 3), (1, 9)}, "b")
    row = overlap([a, b]).iloc[0]
    assert (row.a, row.b, row.n_a, row.n_b, row.shared) == ("a", "b", 4, 3, 2)
    assert row.jaccard == 2 / 5
    assert row.overlap_coefficient == 2 / 3
    assert row.expected_hypergeometric == pytest.approx(4 * 3 / 120)
    assert row.expected == pytest.approx(2 * 1 / 40 + 1 * 2 / 40)
    assert row.fold == pytest.approx(2 / row.expected)


def test_the_exact_chance_is_that_of_random_draws() -> None:
    draw = np.random.default_rng(0)
    a, b = drawn(draw, (12, 3, 0), "a"), drawn(draw, (15, 9, 4), "b")
    expected, p = chance_overlap(a, b, strata=null_strata(a, "layer"))
    counts = [len(drawn(draw, (12, 3, 0), "x") & b) for _ in range(4000)]
    assert np.mean(counts) == pytest.approx(expected, rel=0.03)
    assert np.mean(np.array(counts) >= len(a & b)) == pytest.approx(p, abs=0.03)


def test_false_alarms_stay_at_their_level_when_nothing_is_shared_but_the_layers() -> None:
    draw = np.random.default_rng(1)
    low = {"p": 0, "p_hypergeometric": 0}
    for _ in range(400):
        pair = [drawn(draw, (20, 1, 0), "a"), drawn(draw, (20, 0, 1), "b")]
        row = overlap(pair).iloc[0]
        for name in low:
            low[name] += row[name] < 0.05
    assert low["p"] <= 0.05 * 400 + 2 * np.sqrt(400 * 0.05 * 0.95)
    assert low["p_hypergeometric"] > 200  # the plain null calls layer preference sharing


def domain(
    name: str, seed: int, planted: dict[tuple[int, int], float], d_mlp: int = 60
) -> Contributions:
    return made(260, d_mlp=d_mlp, planted=planted, domains=(name,), seed=seed)


def loud(data: Contributions) -> Contributions:
    """Some neurons contribute a hundred times more than others, in no order of their index."""
    order = torch.randperm(data.d_mlp, generator=torch.Generator().manual_seed(0))
    scale = torch.logspace(-1, 1, data.d_mlp)[order]
    return replace(data, values=data.values * scale)


def found_on(data: Contributions, probe: LogisticRegression, name: str) -> NeuronSet:
    return replace(fit_detector(data, probe).neurons, name=name)


def test_domains_that_share_three_planted_neurons_are_found_to_share_them() -> None:
    first = domain("first", 1, SHARED | {(0, 30): 2.5})
    second = domain("second", 2, SHARED | {(1, 50): 2.5})
    third = domain("third", 3, {(1, 5): 2.5, (1, 6): 2.5, (0, 50): 2.5})
    sets = [found_on(data, PROBE, data.domains[0]) for data in (first, second, third)]
    table = overlap(sets, first.values[~first.labels].mean(dim=0)).set_index(["a", "b"])
    assert table.shared["first", "second"] == 3
    assert (table.shared["first", "third"], table.shared["second", "third"]) == (0, 0)
    for suffix in ("", "_hypergeometric", "_contribution"):
        assert table[f"p_corrected{suffix}"]["first", "second"] < 0.05
        assert table[f"p_corrected{suffix}"]["first", "third"] > 0.5
    named = shared_neurons(sets)
    assert {(row.layer, row.neuron) for row in named.itertuples()} == set(SHARED)
    assert (named.sets == "first, second").all()
    assert named["third"].isna().all()
    assert (named["first"] > 0).all()


def test_neurons_of_one_stratum_are_of_one_layer_and_contribute_alike() -> None:
    loud = torch.rand(3, 200, generator=torch.Generator().manual_seed(0)).exp()
    strata = null_strata(NeuronSet(frozenset(), 3, 200), "contribution", contribution=loud).reshape(
        3, 200
    )
    assert sum(len(np.unique(row)) for row in strata) == len(np.unique(strata)) > 12
    for layer, row in enumerate(strata):
        own = sorted((loud[layer][row == at] for at in set(row)), key=lambda values: values.min())
        assert all(a.max() <= b.min() for a, b in pairwise(own))
        assert all(10 <= len(values) <= 59 for values in own)
        assert all(v.max() <= 1.25 * v.min() or len(v) < 20 for v in own)


def test_probes_that_prefer_loud_neurons_need_the_contribution_null() -> None:
    weak = LogisticRegression(C=0.02, solver="liblinear", l1_ratio=1, random_state=0)
    alarms = {"p_hypergeometric": 0, "p": 0, "p_contribution": 0}
    for seed in range(30):
        pair = [loud(domain(name, 2 * seed + at, {}, 400)) for at, name in enumerate("ab")]
        sets = [found_on(data, weak, data.domains[0]) for data in pair]
        mean = (pair[0].values.mean(dim=0) + pair[1].values.mean(dim=0)) / 2
        row = overlap(sets, mean).iloc[0]
        for name in alarms:
            alarms[name] += row[name] < 0.05
    assert alarms["p_contribution"] <= 4  # 1.5 expected of 30
    assert alarms["p"] > 15  # loudness is shared, knowledge is not


def test_halves_of_one_domain_give_the_ceiling() -> None:
    data = joined(domain("first", 1, SHARED), domain("second", 2, SHARED), domain("other", 3, {}))
    halves = split_halves(data, clone(PROBE).set_params(C=0.1), repeats=3)
    table = reliability(halves).set_index(["a", "b"])
    assert table.jaccard["first", "first"] > 0.2
    assert table.jaccard["first", "second"] > 0.2
    assert table.jaccard["first", "other"] < 0.1
    assert table.jaccard["other", "other"] < 0.2  # noise does not come back
    assert table.repeats["first", "first"] == 3
    known = {name: halves.frequencies(name) for name in ("first", "second", "other")}
    assert all(known["first"][at] > 0.6 for at in SHARED)
    rho = frequency_correlation(known).set_index(["a", "b"])
    assert rho.rho["first", "second"] > 0.3 > rho.rho["first", "other"]
    assert rho.n_both["first", "second"] >= 3


def test_sets_that_cannot_be_compared_are_refused() -> None:
    a = a_set({(0, 1)}, "a")
    with pytest.raises(HlensError, match="two sets or more"):
        overlap([a])
    with pytest.raises(HlensError, match="names of their own"):
        overlap([a, a])
    with pytest.raises(HlensError, match="different models"):
        overlap([a, a_set({(0, 1)}, "b", (3, 50))])
    with pytest.raises(HlensError, match="needs a mean for each"):
        overlap([a, a_set({(0, 1)}, "b")], torch.zeros(2, 2))


def test_empty_sets_share_nothing_and_break_nothing() -> None:
    row = overlap([a_set(set(), "a"), a_set({(0, 1)}, "b")]).iloc[0]
    assert (row.shared, row.jaccard, row.p) == (0, 0, 1)
    assert np.isnan(row.fold)
