"""Which neurons are in exactly these sets and no other, beside what chance would give?

Problem: of six sets there are 63 exclusive groups, and each neuron is in one of them. A count is
no finding before it is known how many neurons chance alone puts there.

Idea: under the null each set keeps its number of neurons in every layer and is placed there at
random, apart from the others. The neurons in exactly some of the sets are then what is left of the
first of these when the other sets are laid over it one by one, where each keeps those that it
covers (the set is in the group) or those that it does not (it is not). What one set keeps of k
neurons is a hypergeometric number, so that the count of a layer is a chain of them, and exact; the
layers are independent, and their counts add up by convolution.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import gammaln
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.overlap import check_named_sets, null_strata
from hlens.evaluation.significance import holm
from hlens.types import NeuronSet

MOST_SETS = 8  # of which there are 255 groups, and 6,305 of all choices among the sets
MOST_IN_LAYER = 1_000  # neurons of a set: the chain's matrices have as many rows
SMALLEST_P = 1e-30  # smaller ones would tell rounding from chance
_NEGLIGIBLE = 1e-40  # probabilities below are dropped, so that sums over layers stay short
Distribution = tuple[int, np.ndarray]  # a first count, and the chance of each from it on


class Group(NamedTuple):
    """Neurons that are in all of `members` and in no other of `among`; both are bits of sets."""

    among: int
    members: int

    @property
    def n_sets(self) -> int:
        """How many sets hold its neurons."""
        return self.members.bit_count()


def exclusive_overlap(
    sets: Sequence[NeuronSet],
    usage: Float[Tensor, "layer expert"] | None = None,
    *,
    choices: bool = False,
) -> pd.DataFrame:
    """The neurons of every exclusive group of several sets, beside chance within layers.

    Args:
        sets: Two sets of one model, or more, up to 8, each with a name of its own.
        usage: How often each expert of a mixture is used (`expert_usage`), to be held fixed, too.
        choices: Also the groups among every choice of the sets, as if the others were not there.

    Returns:
        One row a group, those of fewest sets first: ``among`` (the sets that are looked at, joined
        by ``" + "``), ``sets`` (those that hold its neurons), ``n_sets``, ``neurons`` (how many are
        in exactly these), ``expected``, ``fold`` (neurons over expected), ``p`` (exact chance of as
        many or more; none is given below 1e-30) and ``p_corrected`` (Holm's over all groups among
        the same sets). For two sets the row of both is that of `hlens.evaluation.overlap`.
        `groups_of` gives the rows' groups as bits of the given sets.

    Raises:
        HlensError: Fewer than two sets or more than eight, names that are empty or occur twice,
            sets of different models, or a set of more than 1,000 neurons in a layer.
    """
    check_named_sets(sets)
    if len(sets) > MOST_SETS:
        raise HlensError(
            f"{len(sets)} sets have {2 ** len(sets) - 1:,} groups; compare {MOST_SETS} at a time"
        )
    for one in sets[1:]:
        _ = sets[0] & one  # raises with its own clear line when the models differ
    widest = max(sets, key=lambda one: len(one.experts))  # which knows of experts, if any does
    strata = null_strata(widest, "layer", usage=usage)
    width = np.bincount(strata)
    inside = np.array([np.bincount(strata[one.flat_indices], minlength=len(width)) for one in sets])
    used = inside.any(axis=0)
    width, inside = width[used], inside[:, used]
    _check_sizes(sets, inside)
    chance = _chances(width, inside, choices)
    held = _holders(sets)
    rows, names = [], [one.name for one in sets]
    for group in groups_of(len(sets), choices):
        neurons = int((held & group.among == group.members).sum())
        expected = _expected(width, inside, group)
        rows.append(
            {
                "among": _joined(names, group.among),
                "sets": _joined(names, group.members),
                "n_sets": group.n_sets,
                "neurons": neurons,
                "expected": expected,
                "fold": neurons / expected if expected else float("nan"),
                "p": _tail(chance[group], neurons),
            }
        )
    table = pd.DataFrame(rows)
    by_choice = table.groupby("among", sort=False)["p"]
    table["p_corrected"] = by_choice.transform(lambda p: holm(p.to_numpy(dtype=float)))
    return table


def groups_of(n_sets: int, choices: bool = False) -> list[Group]:
    """The groups of so many sets, in the order of the rows of `exclusive_overlap`."""
    groups = [g for first in range(n_sets) for g in _groups_from(first, n_sets, choices)]
    return sorted(groups, key=lambda one: (-one.among.bit_count(), one.among, *_rank(one.members)))


def _chances(
    width: Int[np.ndarray, " stratum"], inside: Int[np.ndarray, "set stratum"], choices: bool
) -> dict[Group, Distribution]:
    """The distribution of the count of each group, over all strata."""
    groups = [_groups_from(first, len(inside), choices) for first in range(len(inside))]
    total: dict[Group, Distribution] = {group: (0, np.ones(1)) for own in groups for group in own}
    for of_stratum, counts in zip(width.tolist(), inside.T.tolist(), strict=True):
        for own, states in zip(groups, _counts(of_stratum, counts, choices), strict=True):
            for group, state in zip(own, states, strict=True):
                if len(state) > 1:
                    total[group] = _add(total[group], _trimmed(0, state))
    return total


def _groups_from(first: int, n_sets: int, choices: bool) -> list[Group]:
    """The groups whose first set is this one, in the order of the rows of `_counts`."""
    groups = [Group(1 << first, 1 << first)]
    for other in (one for one in range(n_sets) if one != first):
        covered, bare = [], []
        for among, members in groups:
            if other > first:  # in groups of an earlier set it is that one that is first
                covered.append(Group(among | 1 << other, members | 1 << other))
            bare.append(Group(among | 1 << other, members))
        groups = [*covered, *bare, *(groups if choices else [])]
    return groups


def _counts(
    width: int, inside: Sequence[int], choices: bool
) -> Iterator[Float[np.ndarray, "group count"]]:
    """For each first set, the distribution of the count of its groups in one stratum."""
    n_sets, most = len(inside), max(inside)
    covers = [_kept_by(most, width, n) for n in inside]
    leaves = [_kept_by(most, width, width - n) for n in inside]
    for first, n in enumerate(inside):
        # A row a group so far; a column a count, of which at first the set's own is certain.
        states = np.zeros((1, n + 1))
        states[0, n] = 1.0
        for other in (one for one in range(n_sets) if one != first):
            covered = [states @ covers[other][: n + 1, : n + 1]] if other > first else []
            bare = states @ leaves[other][: n + 1, : n + 1]
            states = np.concatenate([*covered, bare, *([states] if choices else [])])
        yield states


def _kept_by(most: int, width: int, n: int) -> Float[np.ndarray, "before after"]:
    """Chance that `after` of `before` neurons are among `n` random ones of `width`.

    A product of falling powers, each over as many powers of the width, so that the logarithms stay
    small and little is lost to rounding.
    """
    steps = np.arange(most)
    with np.errstate(divide="ignore"):
        hit, miss, any_ = (
            np.concatenate([[0.0], np.log((of - steps).clip(0) / width).cumsum()])
            for of in (n, width - n, width)
        )
    ways, missed = _ways(most)
    return np.exp(ways + hit + miss[missed] - any_[:, None])


@lru_cache(maxsize=32)
def _ways(
    most: int,
) -> tuple[Float[np.ndarray, "before after"], Int[np.ndarray, "before after"]]:
    """Logarithm of how many ways there are to keep so many, and how many are then missed."""
    before, after = np.arange(most + 1)[:, None], np.arange(most + 1)[None, :]
    missed = np.maximum(before - after, 0)
    ways = gammaln(before + 1) - gammaln(after + 1) - gammaln(missed + 1)
    return np.where(after <= before, ways, -np.inf), missed


def _trimmed(start: int, probabilities: Float[np.ndarray, " count"]) -> Distribution:
    """A distribution without what is negligible at its ends."""
    (there,) = np.nonzero(probabilities > _NEGLIGIBLE)
    return start + int(there[0]), probabilities[there[0] : there[-1] + 1]


def _add(one: Distribution, other: Distribution) -> Distribution:
    """The distribution of a sum."""
    return _trimmed(one[0] + other[0], np.convolve(one[1], other[1]))


def _tail(distribution: Distribution, count: int) -> float:
    """Chance of as many or more."""
    start, probabilities = distribution
    # Summed from the smallest term up: a tail of tiny terms must not be rounded away.
    tail = float(probabilities[max(count - start, 0) :][::-1].sum())
    return min(1.0, max(tail, SMALLEST_P))


def _expected(
    width: Int[np.ndarray, " stratum"], inside: Int[np.ndarray, "set stratum"], group: Group
) -> float:
    """Mean count of a group: for each neuron, the product of its chances to be in each set."""
    mean = width.astype(float)
    rates = inside / np.maximum(width, 1)
    for one, rate in enumerate(rates):
        if group.members >> one & 1:
            mean *= rate
        elif group.among >> one & 1:
            mean *= 1 - rate
    return float(mean.sum())


def _holders(sets: Sequence[NeuronSet]) -> Int[np.ndarray, " neuron"]:
    """For each neuron of any set, which sets hold it, as bits."""
    flat = [np.array(one.flat_indices, dtype=np.int64) for one in sets]
    known = reduce(np.union1d, flat)
    held = np.zeros(len(known), dtype=np.int64)
    for bit, own in enumerate(flat):
        held[np.searchsorted(known, own)] |= 1 << bit
    return held


def _joined(names: Sequence[str], bits: int) -> str:
    return " + ".join(name for bit, name in enumerate(names) if bits >> bit & 1)


def _rank(members: int) -> tuple[int, list[int]]:
    """Fewest sets first, then in the order of the sets."""
    return members.bit_count(), [bit for bit in range(MOST_SETS) if members >> bit & 1]


def _check_sizes(sets: Sequence[NeuronSet], inside: Int[np.ndarray, "set stratum"]) -> None:
    for one, most in zip(sets, inside.max(axis=1, initial=0).tolist(), strict=True):
        if most > MOST_IN_LAYER:
            raise HlensError(
                f"{one.name!r} has {most:,} neurons in one layer, and exact chance takes "
                f"{MOST_IN_LAYER:,} at most; choose its strongest"
            )
