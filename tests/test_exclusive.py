"""Exclusive groups of several sets: exact chance, as enumerated, as drawn, and as pairs have it."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, pairwise, product

import numpy as np
import pandas as pd
import pytest
import torch

from hlens.errors import HlensError
from hlens.evaluation import exclusive_overlap, overlap
from hlens.evaluation.exclusive import groups_of
from hlens.figures.upset import intersections
from hlens.types import NeuronSet

Members = set[tuple[int, int]]


def a_set(name: str, members: Members, shape: tuple[int, int] = (2, 5)) -> NeuronSet:
    return NeuronSet(frozenset(members), *shape, name=name)


SMALL = [
    a_set("a", {(0, 0), (0, 1), (1, 2)}),
    a_set("b", {(0, 1), (0, 2), (0, 3), (1, 2), (1, 4)}),
    a_set("c", {(0, 1), (1, 2), (1, 3)}),
]


def placements(one: NeuronSet) -> list[Members]:
    """Every set with as many neurons in each layer."""
    layers = [
        [{(layer, i) for i in chosen} for chosen in combinations(range(one.d_mlp), n)]
        for layer, n in enumerate(one.per_layer())
    ]
    return [set().union(*parts) for parts in product(*layers)]


def exactly(sets: list[Members], inside: tuple[bool, ...]) -> int:
    every = set().union(*sets)
    return sum(tuple(neuron in one for one in sets) == inside for neuron in every)


def enumerated(sets: list[NeuronSet], inside: tuple[bool, ...]) -> Iterator[int]:
    # By symmetry the first set may stay where it is.
    for others in product(*map(placements, sets[1:])):
        yield exactly([set(sets[0].members), *others], inside)


@pytest.mark.parametrize("inside", [i for i in product([True, False], repeat=3) if any(i)])
def test_chance_is_that_of_all_placements(inside: tuple[bool, ...]) -> None:
    names = " + ".join(one.name for one, is_in in zip(SMALL, inside, strict=True) if is_in)
    row = exclusive_overlap(SMALL).set_index("sets").loc[names]
    counts = np.array(list(enumerated(SMALL, inside)))
    observed = exactly([set(one.members) for one in SMALL], inside)
    assert (row.neurons, row.n_sets) == (observed, sum(inside))
    assert row.expected == pytest.approx(counts.mean(), abs=1e-12)
    assert row.p == pytest.approx((counts >= observed).mean(), abs=1e-12)
    assert row.fold == pytest.approx(observed / counts.mean())


def drawn(
    draw: np.random.Generator, counts: list[int], name: str, d_mlp: int = 300, core: int = 0
) -> NeuronSet:
    """As many random neurons in each layer, of which the first `core` are always the same."""
    members = {
        (layer, int(i))
        for layer, n in enumerate(counts)
        for i in [*range(min(core, n)), *(core + draw.choice(d_mlp - core, n, replace=False))][:n]
    }
    return a_set(name, members, (len(counts), d_mlp))


def several(n: int, seed: int = 0, core: int = 1) -> list[NeuronSet]:
    draw = np.random.default_rng(seed)
    return [drawn(draw, draw.integers(0, 40, 6).tolist(), f"set {i}", core=core) for i in range(n)]


def test_a_pair_is_that_of_overlap() -> None:
    sets = several(5)
    # Every pair among itself, and two sets alone.
    chosen = exclusive_overlap(sets, choices=True).set_index(["among", "sets"])
    for pair in overlap(sets).itertuples():
        both = f"{pair.a} + {pair.b}"
        a, b = (next(one for one in sets if one.name == name) for name in (pair.a, pair.b))
        for row in (chosen.loc[both, both], exclusive_overlap([a, b]).iloc[-1]):
            assert row.neurons == pair.shared
            assert row.expected == pytest.approx(pair.expected, abs=1e-12, rel=1e-12)
            assert row.p == pytest.approx(pair.p, abs=1e-12)
            assert row.fold == pytest.approx(pair.fold, rel=1e-12)


def test_small_p_agree_with_overlap_in_their_size_and_none_is_below_the_smallest() -> None:
    row, pair = (f(several(2, core=7)).iloc[-1] for f in (exclusive_overlap, overlap))
    assert 1e-30 < pair.p < 1e-12
    assert row.p == pytest.approx(pair.p, rel=1e-9)
    alike = [one.renamed(name) for one in several(1) for name in "ab"]
    assert exclusive_overlap(alike).p.iloc[-1] == 1e-30


def test_chance_is_that_of_random_draws() -> None:
    sets = several(4, core=2)
    table = exclusive_overlap(sets).set_index("sets")
    draw, counts = np.random.default_rng(1), Counter[frozenset[str]]()
    reached: Counter[frozenset[str]] = Counter()
    observed = intersections(sets)
    for _ in range(2_000):
        random = [drawn(draw, one.per_layer(), one.name) for one in sets]
        for group, n in intersections(random).items():
            counts[group] += n
            reached[group] += n >= observed.get(group, 0)
    for names, row in table.iterrows():
        group = frozenset(str(names).split(" + "))
        assert row.neurons == observed.get(group, 0)
        mean, share = counts[group] / 2_000, reached[group] / 2_000
        assert mean == pytest.approx(row.expected, rel=0.1, abs=0.03), names
        if row.neurons:
            assert share == pytest.approx(row.p, abs=4 * np.sqrt(0.25 / 2_000)), names


def test_false_alarms_stay_at_their_level_where_sets_share_only_their_layers() -> None:
    alarms, draw = 0, np.random.default_rng(2)
    for _ in range(300):
        sets = [drawn(draw, [30, 2, 0], name, d_mlp=60) for name in "abc"]
        alarms += bool((exclusive_overlap(sets).p_corrected <= 0.05).any())
    assert alarms <= 300 * 0.05 + 2 * np.sqrt(300 * 0.05 * 0.95)


def test_every_neuron_is_counted_once_in_every_choice() -> None:
    sets = several(4)
    table = exclusive_overlap(sets, choices=True)
    assert len(table) == 3**4 - 2**4
    for among, rows in table.groupby("among"):
        chosen = [one for one in sets if one.name in str(among).split(" + ")]
        assert rows.neurons.sum() == len(set().union(*(one.members for one in chosen)))
        assert (rows.expected * rows.n_sets).sum() == pytest.approx(sum(map(len, chosen)))
        again = exclusive_overlap(chosen) if len(chosen) > 1 else None
        if again is not None:
            pd.testing.assert_frame_equal(
                rows.reset_index(drop=True), again, check_exact=False, rtol=1e-9
            )


def test_the_order_of_the_sets_changes_no_number() -> None:
    sets = several(4)
    columns = ["neurons", "expected", "p", "p_corrected"]
    one, two = (exclusive_overlap(own) for own in (sets, sets[::-1]))
    for table in (one, two):
        table.index = table.sets.map(lambda names: " ".join(sorted(names.split(" + "))))
    pd.testing.assert_frame_equal(one[columns].sort_index(), two[columns].sort_index(), rtol=1e-9)


def test_groups_are_in_order_and_equal_sets_give_equal_tables() -> None:
    table = exclusive_overlap(SMALL)
    assert table.sets.tolist() == ["a", "b", "c", "a + b", "a + c", "b + c", "a + b + c"]
    assert groups_of(3) == [(7, members) for members in (1, 2, 4, 3, 5, 6, 7)]
    assert all(a <= b for a, b in pairwise(table.n_sets))
    pd.testing.assert_frame_equal(table, exclusive_overlap(SMALL))


def test_whole_layers_and_empty_sets_have_certain_counts() -> None:
    whole = a_set("whole", {(0, i) for i in range(5)})
    table = exclusive_overlap([whole, a_set("empty", set()), a_set("one", {(0, 3)})])
    rows = table.set_index("sets")
    assert rows.expected["whole + one"] == rows.neurons["whole + one"] == 1
    assert rows.p["whole + one"] == pytest.approx(1)
    assert (rows.expected["empty"], rows.p["empty"]) == (0, 1)
    assert np.isnan(rows.fold["empty"])


def test_a_mixture_is_compared_within_experts_that_are_used_alike() -> None:
    experts = ((12, 3, 0), (12, 3, 4))
    sets = [
        NeuronSet(frozenset(members), 2, 40, name=name, experts=experts)
        for name, members in (("a", {(0, 1), (1, 38)}), ("b", {(0, 1), (0, 5), (1, 39)}))
    ]
    usage = torch.arange(24.0).reshape(2, 12)
    for given in ({}, {"usage": usage}):
        row, pair = exclusive_overlap(sets, **given).iloc[-1], overlap(sets, **given).iloc[0]
        assert row.expected == pytest.approx(pair.expected, abs=1e-12)
        assert row.p == pytest.approx(pair.p, abs=1e-12)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (SMALL[:1], "two sets or more"),
        ([SMALL[0], SMALL[0]], "names of their own"),
        ([SMALL[0], a_set("z", {(0, 0)}, (2, 6))], "different models"),
        ([a_set(str(i), {(0, i)}, (1, 9)) for i in range(9)], "511 groups; compare 8 at a time"),
        ([a_set(n, {(0, i) for i in range(1001)}, (1, 2000)) for n in "ab"], "its strongest"),
    ],
)
def test_wrong_sets_are_refused_in_a_line(sets: list[NeuronSet], message: str) -> None:
    with pytest.raises(HlensError, match=message) as raised:
        exclusive_overlap(sets)
    assert "\n" not in str(raised.value)
