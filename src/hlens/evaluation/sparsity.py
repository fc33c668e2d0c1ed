"""Is the sparse set needed? AUROC against the number of neurons, beside random ones and all.

Abstract of arXiv 2607.00158: selected neurons beat random ones only at very small k, and a few
hundred random neurons recover nearly all of the signal. `k_sweep` shows where that holds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.auroc import Placements
from hlens.evaluation.bootstrap import summarise_repeats
from hlens.evaluation.controls import check_split
from hlens.evaluation.fitting import Probe, fit_detector, refit_random_sets, refit_scores
from hlens.evaluation.folded import delong_folded
from hlens.evaluation.intervals import estimate_auroc
from hlens.evaluation.split import folds_by_group
from hlens.evaluation.univariate import separation_alone
from hlens.evaluation.usage import match_of
from hlens.probe import SparseProbe
from hlens.probe.ways import probe_of
from hlens.types import Contributions, Estimate, NeuronSet
from hlens.types.labels import Sweep

KS = (1, 2, 5, 10, 20, 50, 100, 200, 500)

Row = dict[str, object]
# Labelled contributions, how many are wanted, seed -> flat indices, best first; more or fewer.
Ranking = Callable[[Contributions, int, int], Int[np.ndarray, " neuron"]]


def k_sweep(
    train: Contributions,
    test: Contributions,
    *,
    probe: Probe | None = None,
    ks: Sequence[int] = KS,
    draws: int = 20,
    folds: int = 3,
    ceiling: Probe | None = None,
    others: Mapping[str, Ranking] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of the top k neurons, of k random ones and of all neurons, on held-out examples.

    Every set is refitted alike (`refit_scores`). The ranking, the refits and the choice of k are
    all made on `train`, the choice by `folds` within it; `test` is only scored. `probe`
    (that of `hlens.find` when None) ranks the neurons, `ceiling` (``SparseProbe(C="cv",
    penalty="l2", scale="feature", n_points=12)`` when None) is fitted to all of them. There are
    `draws` random sets for each k and each way of matching; a k above half of the model's neurons
    is left out. `others` rank neurons in ways of their own, by name, best first:
    ``{"cna": hlens.selectors.named("cna").rank}``.

    Returns:
        Columns ``neurons, k, auroc, low, high, n, repeats, cv_auroc, cv_se, chosen, note``.
        ``neurons`` is one of ``top neurons``, a name of `others`, ``random, by layer``, ``random,
        by contribution`` and ``all neurons, L2``. Rows of random sets hold mean and central 95 % of
        the draws. ``chosen`` marks the smallest k whose cross-validated AUROC within `train` comes
        within one standard error of the ceiling's.

    Raises:
        HlensError: One class only, a group on both sides of the split, or no k to try.
    """
    check_split(train, test)
    probe = probe_of("hlens") if probe is None else probe
    if ceiling is None:
        ceiling = SparseProbe(C="cv", penalty="l2", scale="feature", n_points=12)
    n_neurons = train.n_neurons
    ks = sorted({k for k in ks if 0 < k <= n_neurons // 2})
    if not ks:
        raise HlensError(f"no number of neurons between 1 and {n_neurons // 2} in ks; give some")
    cv = _cross_validate(train, probe, ceiling=ceiling, ks=ks, folds=folds, seed=seed)

    def estimate(scores: Float[np.ndarray, " example"]) -> Estimate:
        return estimate_auroc(scores, test.labels.numpy(), groups=test.groups)

    order = rank_neurons(train, probe, n=ks[-1])
    ranked = {name: rank(train, ks[-1], seed) for name, rank in (others or {}).items()}
    rows: list[Row] = []
    for i, k in enumerate(ks):
        own = estimate(refit_scores(train, test, neurons=order[:k]))
        rows.append(_sweep_row(Sweep.TOP, k, own, cv_auroc=cv.auroc[i], cv_se=cv.se[i]))
        rows += _random_rows(train, test, top=order[:k], draws=draws, seed=seed)
        for name, other in ranked.items():
            if len(other) >= k:
                scores = refit_scores(train, test, neurons=list(map(int, other[:k])))
                rows.append(_sweep_row(name, k, estimate(scores)))
    own = estimate(fit_detector(train, ceiling)(test).numpy())
    rows.append(_sweep_row(Sweep.ALL, n_neurons, own, cv_auroc=cv.auroc[-1], cv_se=cv.se[-1]))
    table = pd.DataFrame(rows)
    enough = (table.neurons == Sweep.TOP) & (table.cv_auroc >= cv.auroc[-1] - cv.se[-1])
    table["chosen"] = enough & (table.k == table.k[enough].min())
    return table


def sparsity_summary(sweep: pd.DataFrame) -> pd.DataFrame:
    """The result of a `k_sweep` in one row.

    Returns:
        Columns ``k`` (smallest sufficient number, chosen in training; missing when none tried was
        sufficient), ``auroc, low, high`` (of these k on the held-out examples), ``ceiling`` (all
        neurons), ``random_auroc`` (as many random neurons, by layer) and ``random_k`` (smallest
        tried number of random neurons whose mean AUROC is as high; missing when none is).
    """
    top = sweep[sweep.neurons == Sweep.TOP]
    random = sweep[sweep.neurons == Sweep.RANDOM_BY_LAYER].set_index("k")
    ceiling = ceiling_of(sweep).value
    columns = ["k", "auroc", "low", "high", "ceiling", "random_auroc", "random_k"]
    row: dict[str, Any] = dict.fromkeys(columns) | {"ceiling": ceiling}
    if sweep.chosen.any():
        own = top.loc[top.chosen].iloc[0]
        as_good = random.index[random.auroc >= own.auroc]
        row |= {"k": int(own.k), "auroc": own.auroc, "low": own.low, "high": own.high}
        row |= {"random_auroc": float(random.auroc[own.k])}
        row |= {"random_k": int(as_good.min()) if len(as_good) else None}
    return pd.DataFrame([row])


def ceiling_of(sweep: pd.DataFrame) -> Estimate:
    """AUROC of all neurons in a sweep, in the form that its figure takes."""
    return Estimate.from_row(sweep.loc[sweep.neurons == Sweep.ALL].to_dict("records")[0])


def rank_neurons(data: Contributions, probe: Probe, *, n: int) -> list[int]:
    """The n leading neurons (flat indices): those that the probe selects, then single ones.

    Selected neurons come in the order of their weight times their standard deviation (how far
    they move the score); when they are fewer than n, the others follow by their AUROC alone.
    """
    order = order_selected(data, fit_detector(data, probe).weights.flatten())
    if len(order) < n:
        separation = separation_alone(data)
        separation[order] = -1.0  # those that the probe selected are in the list already
        order += np.argsort(-separation, kind="stable")[: n - len(order)].tolist()
    return order[:n]


def order_selected(data: Contributions, weights: Float[Tensor, " neuron"]) -> list[int]:
    """Neurons of nonzero weight by weight times standard deviation: how far they move a score."""
    weights = weights.double()
    chosen = weights.nonzero().flatten()
    moved = weights[chosen].abs() * data.moments(chosen)[1]
    return chosen[torch.argsort(moved, descending=True, stable=True)].tolist()


def _cross_validate(
    train: Contributions,
    probe: Probe,
    *,
    ceiling: Probe,
    ks: Sequence[int],
    folds: int,
    seed: int,
) -> Placements:
    """Out-of-fold AUROC within the training part: one for each k, the ceiling last."""
    fold = folds_by_group(train, folds, seed=seed)
    scores = np.zeros((len(ks) + 1, len(train)))
    for part in range(folds):
        inner, held_out = train.select(fold != part), train.select(fold == part)
        order = rank_neurons(inner, probe, n=ks[-1])
        own = [refit_scores(inner, held_out, neurons=order[:k]) for k in ks]
        own.append(fit_detector(inner, ceiling)(held_out).double().numpy())
        scores[:, (fold == part).numpy()] = own
    return delong_folded(scores, train.labels.numpy(), fold=fold.numpy(), groups=train.groups)


def _random_rows(
    train: Contributions, test: Contributions, *, top: Sequence[int], draws: int, seed: int
) -> list[Row]:
    """As many random other neurons, matched by layer and by mean contribution."""
    members = frozenset(divmod(index, train.d_mlp) for index in top)
    experts = train.provenance.experts
    like = NeuronSet(members, train.n_layers, train.d_mlp, experts=experts)
    matches: dict[Sweep, dict[str, Any]] = {
        Sweep.RANDOM_BY_LAYER: match_of(train),
        Sweep.RANDOM_BY_CONTRIBUTION: {"match": "contribution", "contribution": train.size()},
    }
    rows: list[Row] = []
    for series, match in matches.items():
        sets = like.random_sets(draws, seed=seed, **match)
        areas, note = refit_random_sets(train, test, sets=sets)
        estimate = summarise_repeats(areas, len(test))
        rows.append(_sweep_row(series, len(top), estimate, repeats=len(areas), note=note))
    return rows


def _sweep_row(series: str, k: int, estimate: Estimate, **columns: object) -> Row:
    nan = float("nan")
    more: Row = {"repeats": 1, "cv_auroc": nan, "cv_se": nan, "chosen": False, "note": ""}
    return {"neurons": series, "k": k, **estimate.to_row(), **more, **columns}
