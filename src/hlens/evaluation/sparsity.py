"""Is the sparse set needed? AUROC against the number of neurons, beside random ones and all.

Abstract of arXiv 2607.00158: selected neurons beat random ones only at very small k, and a few
hundred random neurons recover nearly all of the signal. `k_sweep` shows where that holds.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.auroc import Placements, auroc
from hlens.evaluation.bootstrap import estimate_auroc
from hlens.evaluation.controls import check_split, flat_indices, spread
from hlens.evaluation.fitting import fit_detector, refit_scores
from hlens.evaluation.folded import delong_folded
from hlens.evaluation.split import folds_by_group
from hlens.evaluation.univariate import univariate
from hlens.probe import SparseProbe
from hlens.types import Contributions, Estimate, NeuronSet
from hlens.types.labels import Sweep

KS = (1, 2, 5, 10, 20, 50, 100, 200, 500)

Row = dict[str, object]


def k_sweep(
    train: Contributions,
    test: Contributions,
    probe: BaseEstimator | None = None,
    ks: Sequence[int] = KS,
    draws: int = 20,
    folds: int = 3,
    ceiling: BaseEstimator | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of the top k neurons, of k random ones and of all neurons, on held-out examples.

    Every set is refitted alike (`refit_scores`). The ranking, the refits and the choice of k are
    all made on `train`; `test` is only scored.

    Args:
        train: Contributions to rank and fit on.
        test: Held-out contributions, of other groups.
        probe: Ranks the neurons; ``SparseProbe(C="cv")`` when None.
        ks: Numbers of neurons; those above half of the model's neurons are left out.
        draws: Random sets for each k and each way of matching.
        folds: Folds within `train` by which the smallest sufficient k is chosen.
        ceiling: Fitted to all neurons; when None, ``SparseProbe(C="cv", penalty="l2",
            scale="feature", n_points=12)``.
        n_boot: Resamples of whole groups for the intervals of the top neurons and the ceiling.
        seed: Seed of folds, draws and resamples.

    Returns:
        Columns ``neurons, k, auroc, low, high, n, repeats, cv_auroc, cv_se, chosen, note``.
        ``neurons`` is one of ``top neurons``, ``random, by layer``, ``random, by contribution``
        and ``all neurons, L2``. Rows of random sets hold mean and central 95 % of the draws.
        ``chosen`` marks the smallest k whose cross-validated AUROC within `train` comes within
        one standard error of the ceiling's.

    Raises:
        HlensError: One class only, a group on both sides of the split, or no k to try.
    """
    check_split(train, test)
    probe = SparseProbe(C="cv") if probe is None else probe
    if ceiling is None:
        ceiling = SparseProbe(C="cv", penalty="l2", scale="feature", n_points=12)
    n_neurons = train.n_layers * train.d_mlp
    ks = sorted({k for k in ks if 0 < k <= n_neurons // 2})
    if not ks:
        raise HlensError(f"no number of neurons between 1 and {n_neurons // 2} in ks; give some")
    labels = test.labels.numpy()
    cv = _cross_validated(train, probe, ceiling, ks, folds, seed)
    order = ranking(train, probe, ks[-1])
    mean = train.neuron_major.float().mean(dim=1).reshape(train.n_layers, train.d_mlp)
    rows: list[Row] = []
    for k in ks:
        scores = refit_scores(train, test, order[:k])
        own = estimate_auroc(scores, labels, test.groups, n_boot, seed)
        rows.append(_row(Sweep.TOP, k, own, 1, cv.auroc[ks.index(k)], cv.se[ks.index(k)]))
        rows += _random_rows(train, test, order[:k], mean, draws, seed)
    scores = fit_detector(train, ceiling)(test).numpy()
    own = estimate_auroc(scores, labels, test.groups, n_boot, seed)
    rows.append(_row(Sweep.ALL, n_neurons, own, 1, cv.auroc[-1], cv.se[-1]))
    table = pd.DataFrame(rows)
    enough = (table.neurons == Sweep.TOP) & (table.cv_auroc >= cv.auroc[-1] - cv.se[-1])
    table["chosen"] = enough & (table.k == table.k[enough].min())
    return table


def sparsity_summary(sweep: pd.DataFrame) -> pd.DataFrame:
    """What a sweep says, in one row.

    Args:
        sweep: What `k_sweep` returned.

    Returns:
        Columns ``k`` (smallest sufficient number, chosen in training; missing when none tried was
        sufficient), ``auroc, low, high`` (of these k on the held-out examples), ``ceiling`` (all
        neurons), ``random_auroc`` (as many random neurons, by layer) and ``random_k`` (smallest
        tried number of random neurons whose mean AUROC is as high; missing when none is).
    """
    top, random = (
        sweep[sweep.neurons == Sweep.TOP],
        sweep[sweep.neurons == Sweep.RANDOM_BY_LAYER].set_index("k"),
    )
    ceiling = ceiling_of(sweep).value
    if not sweep.chosen.any():
        row = {"k": None, "auroc": None, "low": None, "high": None, "ceiling": ceiling}
        return pd.DataFrame([row | {"random_auroc": None, "random_k": None}])
    own = top.loc[top.chosen].iloc[0]
    as_good = random.index[random.auroc >= own.auroc]
    row = {"k": int(own.k), "auroc": own.auroc, "low": own.low, "high": own.high}
    row |= {"ceiling": ceiling, "random_auroc": float(random.auroc[own.k])}
    return pd.DataFrame([row | {"random_k": int(as_good.min()) if len(as_good) else None}])


def ceiling_of(sweep: pd.DataFrame) -> Estimate:
    """AUROC of all neurons in a sweep, as its figure takes it."""
    return Estimate.from_row(sweep.loc[sweep.neurons == Sweep.ALL].to_dict("records")[0])


def ranking(data: Contributions, probe: BaseEstimator, n: int) -> list[int]:
    """The n leading neurons (flat indices): those that the probe selects, then single ones.

    Selected neurons come in the order of their weight times their standard deviation (how far
    they move the score); when they are fewer than n, the others follow by their AUROC alone.
    """
    weights = fit_detector(data, probe).weights.flatten().double()
    chosen = weights.nonzero().flatten()
    moved = weights[chosen].abs() * _deviations(data, chosen)
    order = chosen[torch.argsort(moved, descending=True, stable=True)].tolist()
    if len(order) < n:
        apart = (univariate(data).auroc - 0.5).abs().to_numpy(copy=True)
        apart[order] = -1.0
        order += np.argsort(-apart, kind="stable")[: n - len(order)].tolist()
    return order[:n]


def _deviations(data: Contributions, chosen: Tensor, block: int = 1024) -> Tensor:
    """Standard deviation of the chosen neurons, a block at a time: a dense probe chooses all."""
    rows = data.neuron_major
    found = [
        rows[part].double().std(dim=1, correction=0) for part in chosen.split(block) if len(part)
    ]
    return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)


def _cross_validated(
    train: Contributions,
    probe: BaseEstimator,
    ceiling: BaseEstimator,
    ks: Sequence[int],
    folds: int,
    seed: int,
) -> Placements:
    """Out-of-fold AUROC within the training part: one for each k, the ceiling last."""
    fold = folds_by_group(train, folds, seed)
    scores = np.zeros((len(ks) + 1, len(train)))
    for at in range(folds):
        inner, held_out = train.select(fold != at), train.select(fold == at)
        order = ranking(inner, probe, ks[-1])
        found = [refit_scores(inner, held_out, order[:k]) for k in ks]
        found.append(fit_detector(inner, ceiling)(held_out).double().numpy())
        scores[:, (fold == at).numpy()] = found
    return delong_folded(scores, train.labels.numpy(), fold.numpy(), train.groups)


def _random_rows(
    train: Contributions,
    test: Contributions,
    top: Sequence[int],
    mean: Float[Tensor, "layer neuron"],
    draws: int,
    seed: int,
) -> list[Row]:
    """As many random other neurons, matched by layer and by mean contribution."""
    members = frozenset(divmod(index, train.d_mlp) for index in top)
    like = NeuronSet(members, train.n_layers, train.d_mlp)
    rows: list[Row] = []
    ways: list[tuple[Sweep, Literal["layer", "contribution"]]] = [
        (Sweep.RANDOM_BY_LAYER, "layer"),
        (Sweep.RANDOM_BY_CONTRIBUTION, "contribution"),
    ]
    for series, match in ways:
        found, note = [], ""
        try:
            for draw in range(draws):
                other = like.random_like(seed * draws + draw, match, mean)
                scores = refit_scores(train, test, flat_indices(other))
                found.append(auroc(scores, test.labels.numpy()))
        except HlensError as error:  # too few others in a layer: the row says so
            note = str(error)
        rows.append(_row(series, len(top), spread(found, len(test)), len(found), note=note))
    return rows


def _row(
    series: Sweep,
    k: int,
    estimate: Estimate,
    repeats: int,
    cv_auroc: float = float("nan"),
    cv_se: float = float("nan"),
    note: str = "",
) -> Row:
    about = {
        "repeats": repeats,
        "cv_auroc": cv_auroc,
        "cv_se": cv_se,
        "chosen": False,
        "note": note,
    }
    return {"neurons": series, "k": k, **estimate.to_row(), **about}
