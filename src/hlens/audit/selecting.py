"""Does it matter who selects? The same number of neurons by each selector, refitted alike.

Problem: a finding about "the" neurons may be one about the L1 probe that named them.

Idea: every selector names as many neurons on the training part, an L2 fit on these alone scores the
held-out answers, and each selector selects again on halves of the training part. What another
selector reads as well is no property of these neurons; what random ones read as well is none of
any selection.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from hlens.audit.halves import estimate_shared
from hlens.audit.refits import shared_part
from hlens.checks import check_whole
from hlens.errors import HlensError
from hlens.evaluation import auroc, estimate_auroc, split_by_group
from hlens.evaluation.bootstrap import summarise_repeats
from hlens.evaluation.fitting import refit_scores
from hlens.evaluation.paired import compare_auroc
from hlens.evaluation.significance import permutation_p
from hlens.probe import SparseProbe
from hlens.probe.ways import probe_of
from hlens.selectors import Selector, named
from hlens.selectors.l1 import selector_of
from hlens.types import Contributions, NeuronSet
from hlens.types.labels import DRAWN, L1

COLUMNS = [
    "selector", "neurons", "auroc", "low", "high", "n", "difference", "difference_low",
    "difference_high", "p", "shared", "shared_low", "shared_high", "with_l1", "repeats", "note",
]  # fmt: skip
COMPARED = (L1, "stability", "best_alone", "cna", *DRAWN)


def compare_selectors(
    train: Contributions,
    test: Contributions,
    k: int,
    *,
    found: NeuronSet | None = None,
    probe: SparseProbe | None = None,
    selectors: Sequence[str] = COMPARED,
    others: Sequence[Contributions] = (),
    draws: int = 20,
    halves: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """As many neurons by each selector: held-out AUROC, and whether a half names them again.

    Args:
        train: Where neurons are selected and refitted.
        test: Held-out answers of other groups.
        k: Neurons of each; at most half of the model's.
        found: The set of a detector that was found on `train`, in the place of L1's own.
        probe: Whose options L1 takes; that of `hlens.find` when None.
        selectors: Members of `hlens.selectors`; ``"l1"`` is what the others are compared with.
        others: The training part measured by other formulas, for selectors that read one.
        draws: Sets of each random selector.
        halves: Halvings of the training part.
        seed: Seed of draws and halves.

    Returns:
        A row for each selector: ``selector, neurons, auroc, low, high, n`` (of the refit; of random
        ones the mean and central 95 % of the draws), ``difference`` (AUROC of L1's less it, with
        DeLong's paired interval) and its ``p`` (of random ones the share of draws that do as well
        as L1's), ``shared, shared_low, shared_high`` (the part of the smaller set that two halves
        share, or two draws: mean, least, greatest), ``with_l1`` (the part of the smaller set that
        it shares with L1's), ``repeats`` and ``note``.

    Raises:
        HlensError: One class only, an unknown selector, or a number out of its limits.
    """
    k = min(check_whole("k", k, least=1), train.n_neurons // 2)
    draws = check_whole("draws", draws, least=2, most=100_000)
    halves = check_whole("halves", halves, least=1, most=1000)
    chosen = {name: named(name) for name in dict.fromkeys((L1, *selectors))}
    chosen[L1] = selector_of(probe_of("hlens") if probe is None else probe)
    by_metric = {one.metric: one for one in (*others, train)}
    sets: dict[str, NeuronSet] = {} if found is None else {L1: found}
    rows: list[dict[str, Any]] = []
    own: np.ndarray | None = None  # held-out scores by L1's neurons
    for name, selector in chosen.items():
        data = by_metric.get(selector.metric or train.metric)
        row: dict[str, Any] = {"selector": name, "n": 0, "repeats": 1, "note": ""}
        rows.append(row)
        if data is None:
            row["note"] = f"{selector.metric} was not measured"
            continue
        try:
            if name in DRAWN:
                row |= _of_draws(selector, (train, test), k, sets.get(L1), own, draws, seed)
                continue
            if name not in sets:
                sets[name] = selector(data, k, seed=seed)
            neurons = sets[name]
            scores = refit_scores(train, test, neurons=neurons.flat_indices)
            row |= _read(scores, own, test) | {"neurons": len(neurons)}
            own = scores if name == L1 else own
            if L1 in sets:
                row["with_l1"] = shared_part(neurons, sets[L1])
            row |= _shared(selector, data, k=k, halves=halves, seed=seed)
        except HlensError as error:  # what fails must not take the rest of the table with it
            row["note"] = str(error)
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _read(scores: np.ndarray, own: np.ndarray | None, test: Contributions) -> dict[str, Any]:
    """AUROC of a set, and of L1's less it."""
    labels = test.labels.numpy()
    row = estimate_auroc(scores, labels, groups=test.groups).to_row()
    if own is not None:
        row |= compare_auroc(own, scores, labels=labels, groups=test.groups)
    return row


def _of_draws(
    selector: Selector,
    parts: tuple[Contributions, Contributions],
    k: int,
    first: NeuronSet | None,
    own: np.ndarray | None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Mean and spread of random sets; those that are matched are so to L1's own set."""
    train, test = parts
    if selector.name == "random" or first is None:
        sets = [selector(train, k, seed=seed + draw) for draw in range(draws)]
    else:
        matched: Any = {"match": "contribution", "contribution": train.size()}
        sets = list(first.random_sets(draws, seed=seed, **matched))
    labels = test.labels.numpy()
    areas = [auroc(refit_scores(train, test, neurons=s.flat_indices), labels) for s in sets]
    row: dict[str, Any] = summarise_repeats(areas, len(test)).to_row()
    if own is not None:
        row["p"] = permutation_p(auroc(own, labels), areas)
    return row | _spread(list(pairwise(sets))) | {"neurons": len(sets[0]), "repeats": draws}


def _shared(
    selector: Selector, data: Contributions, *, k: int, halves: int, seed: int
) -> dict[str, Any]:
    """What two halves of the training part share, each selecting for itself."""
    pairs = []
    try:
        for repeat in range(halves):
            one, other = split_by_group(data, 0.5, seed=seed + repeat)
            first = selector(one, k, seed=seed + 2 * repeat)
            pairs.append((first, selector(other, k, seed=seed + 2 * repeat + 1)))
    except HlensError as error:  # a half may be too small to name as many
        return {"note": f"on a half: {error}"}
    return _spread(pairs)


def _spread(pairs: Sequence[tuple[NeuronSet, NeuronSet]]) -> dict[str, float]:
    row = estimate_shared(pairs, len(pairs)).to_row("shared", ends="shared_")
    return {name: value for name, value in row.items() if name != "n"}
