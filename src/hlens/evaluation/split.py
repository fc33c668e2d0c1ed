"""Splits by group, never by row, with every domain and class in its share of each part."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from hlens.checks import check_real, check_whole
from hlens.errors import HlensError
from hlens.types import Contributions


def split_by_group(
    data: Contributions, test: float = 0.3, *, seed: int = 0
) -> tuple[Contributions, Contributions]:
    """Training and test part; no group is in both.

    The test part has its share of each domain and class, as nearly as whole groups allow.

    Raises:
        HlensError: A share outside (0, 1), or a class with fewer than two groups.
    """
    test = check_real("test", test, above=0, below=1)
    part = _parts(data, [1 - test, test], seed)
    return data.select(part == 0), data.select(part == 1)


def folds_by_group(data: Contributions, k: int = 5, *, seed: int = 0) -> Int[Tensor, " example"]:
    """Fold (0 to k - 1) of each example; no group is in two folds.

    Raises:
        HlensError: Fewer groups with hallucinated, or with true, examples than folds.
    """
    k = check_whole("k", k, least=2)
    return _parts(data, [1 / k] * k, seed)


def domains_with_both(data: Contributions, least: int) -> list[str]:
    """Domains with at least so many groups of either label, in the order of the data."""
    groups: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for name, label, group in zip(data.domains, data.labels.tolist(), data.groups, strict=True):
        groups[name, label].add(group)
    names = dict.fromkeys(data.domains)
    return [name for name in names if all(len(groups[name, y]) >= least for y in (True, False))]


def _parts(data: Contributions, shares: Sequence[float], seed: int) -> Int[Tensor, " example"]:
    label = data.labels.numpy()
    strata = [f"{domain}/{int(y)}" for domain, y in zip(data.domains, label, strict=True)]
    for value, name in ((True, "hallucinated"), (False, "true")):
        groups = {g for g, y in zip(data.groups, label, strict=True) if y == value}
        if len(groups) < len(shares):
            raise HlensError(
                f"{len(groups)} groups with {name} examples for {len(shares)} parts: expected at "
                f"least one per part; use fewer folds or add {name} examples"
            )
    return torch.from_numpy(assign_groups(data.groups, strata, shares=shares, seed=seed))


def assign_groups(
    groups: Sequence[str], strata: Sequence[str], *, shares: Sequence[float], seed: int
) -> Int[np.ndarray, " example"]:
    """Part of each example: whole groups go where their strata (domain and class) are least filled.

    Each part gets its share of every stratum as nearly as whole groups allow.
    """
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    _, stratum = np.unique(np.asarray(strata), return_inverse=True)
    counts = np.zeros((int(code.max()) + 1, int(stratum.max()) + 1))
    np.add.at(counts, (code, stratum), 1)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    # Large groups first: the small ones that follow can even out the rest.
    order = shuffled[np.argsort(-counts.sum(axis=1)[shuffled], kind="stable")]
    wanted = np.outer(shares, counts.sum(axis=0))
    filled = np.zeros_like(wanted)
    part_of = np.zeros(len(counts), dtype=np.int64)
    for group in order:
        touched = counts[group] > 0
        fullness = (filled[:, touched] + counts[group, touched] / 2) / wanted[:, touched]
        part = int(np.argmin(fullness.mean(axis=1)))
        part_of[group] = part
        filled[part] += counts[group]
    return part_of[code]
