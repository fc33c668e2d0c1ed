"""Domains made to share exactly m neurons: overlap, its nulls and transfer recover m; 0 is 0."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hlens.evaluation import fit_detector, overlap, transfer
from hlens.probe import SparseProbe
from hlens.types import Contributions, NeuronSet
from synthetic import joined, made

# One finds the planted neurons and little else; one also picks noise, so that chance can strike.
# Neither penalises its intercept: one that does (liblinear) writes it with small negative weights
# on many neurons, the other domain's among them, and then transfer is truly inverse.
PROBE = SparseProbe(C=0.06)
LOOSE = SparseProbe(C=0.3)
SUFFIXES = ("", "_hypergeometric", "_contribution")
SHIFT, EACH = 1.8, 4  # neurons of a domain that know
PLACES = [(layer, 7 * i) for layer in (0, 1) for i in range(8)]


def domain(name: str, neurons: list[tuple[int, int]], seed: int) -> Contributions:
    planted = dict.fromkeys(neurons, SHIFT)
    return made(300, d_mlp=60, planted=planted, per_group=2, domains=(name,), seed=seed)


def pair(m: int, seed: int = 0) -> Contributions:
    """Two domains of four neurons each, of which they share m."""
    places = [PLACES[i] for i in np.random.default_rng(seed).permutation(len(PLACES))]
    first = domain("first", places[:EACH], 2 * seed + 1)
    second = domain("second", places[EACH - m : 2 * EACH - m], 2 * seed + 2)
    return joined(first, second)


def sets_of(data: Contributions, probe: SparseProbe) -> list[NeuronSet]:
    names = list(dict.fromkeys(data.domains))
    found = [fit_detector(data.of_domain(name), probe).neurons for name in names]
    return [replace(one, name=name) for one, name in zip(found, names, strict=True)]


def overlap_of(data: Contributions, probe: SparseProbe = PROBE) -> pd.DataFrame:
    return overlap(sets_of(data, probe), data.values[~data.labels].mean(dim=0))


@pytest.mark.parametrize("m", [0, 2, 4])
def test_the_overlap_recovers_how_many_neurons_are_shared(m: int) -> None:
    rows = pd.concat([overlap_of(pair(m, seed)) for seed in range(10)])
    assert (rows[["n_a", "n_b"]] >= EACH).all(axis=None)  # all that were planted are found
    assert rows.shared.mean() == pytest.approx(m, abs=0.35)
    for suffix in SUFFIXES:
        found = (rows[f"p{suffix}"] < 0.05).mean()
        assert found == 1.0 if m else found <= 0.2


def test_transfer_grows_with_what_is_shared_and_is_chance_without() -> None:
    across, drop = {}, {}
    for m in (0, 2, 4):
        table = transfer(pair(m), PROBE, folds=3, pooled=False).set_index(["train", "test"])
        across[m] = table.loc["first", "second"]
        drop[m] = table.auroc_drop.max()
        assert table.auroc["second", "second"] > 0.85
    assert across[0].low < 0.5 < across[0].high
    assert across[0].auroc + 0.1 < across[2].auroc < across[4].auroc - 0.05
    assert across[2].p_corrected < 0.001  # a part is lost
    assert drop[4] < 0.05  # nothing is


def test_with_nothing_shared_false_alarms_stay_at_their_level() -> None:
    """Studies of four domains, each with knowing neurons of its own."""
    studies, alarms = 24, dict.fromkeys(SUFFIXES, 0)
    single = dict.fromkeys(SUFFIXES, 0)
    beyond_chance = cells = by_chance = 0
    for study in range(studies):
        places = [PLACES[i] for i in np.random.default_rng(study).permutation(len(PLACES))]
        data = joined(*(
            domain(name, places[EACH * i : EACH * (i + 1)], 4 * study + i)
            for i, name in enumerate("abcd")
        ))  # fmt: skip
        table = overlap_of(data, LOOSE)
        by_chance += int((table.shared > 0).sum())
        for suffix in SUFFIXES:
            alarms[suffix] += bool((table[f"p_corrected{suffix}"] < 0.05).any())
            single[suffix] += int((table[f"p{suffix}"] < 0.05).sum())
        if study < 20:
            two = data.select([i for i, name in enumerate(data.domains) if name in "ab"])
            rows = transfer(two, PROBE, folds=2, pooled=False)
            rows = rows.loc[rows.train != rows.test]
            beyond_chance, cells = beyond_chance + int((rows.p_chance < 0.05).sum()), cells + 2
    assert by_chance > 2 * studies  # there is something to be alarmed at
    for suffix in SUFFIXES:
        assert alarms[suffix] <= most(studies), suffix  # any of six pairs, corrected
        assert single[suffix] <= most(6 * studies), suffix  # each pair alone
    assert beyond_chance <= most(cells)


def most(n: int, level: float = 0.05) -> float:
    """How many alarms chance gives at most (two standard errors above the level)."""
    return n * level + 2 * (n * level * (1 - level)) ** 0.5
