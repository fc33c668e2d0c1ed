"""Does the set come back? Sets found on halves of the training part, beside sets of chance."""

from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from hlens.audit.refits import shared
from hlens.evaluation import split_halves
from hlens.evaluation.controls import spread
from hlens.probe import SparseProbe
from hlens.probe.finding import copy_unfitted
from hlens.types import Contributions, Estimate, NeuronSet

HALVES, CHANCE = "halves", "chance, same layers"


def set_agreement(
    data: Contributions, probe: BaseEstimator, repeats: int = 5, seed: int = 0
) -> pd.DataFrame:
    """How much of a set of H-neurons is found again on the other half of the data.

    Args:
        data: Contributions of the training part; all domains are taken as one.
        probe: The probe, with the C that it chose on the whole part. A half is fitted at twice
            that: C weighs a sum over examples, and twice of it keeps the penalty on each. At the
            same C a half may find none of a few neurons.
        repeats: Random halvings.
        seed: Seed of halvings and of chance.

    Returns:
        Columns ``what, shared, low, high, neurons, n``: ``shared`` is the part of the smaller set
        that stands in the other, mean over halvings, with the least and the greatest; for
        ``chance, same layers`` the same of as many random neurons of the same layers.

    Raises:
        HlensError: One class only in a half.
    """
    if isinstance(probe, SparseProbe) and isinstance(probe.C, float | int):
        probe = copy_unfitted(probe).set_params(C=2 * float(probe.C))
    whole = replace(data, domains=("all",) * len(data))
    pairs = split_halves(whole, probe, repeats, seed).sets["all"]
    found = _spanned([shared(a, b) for a, b in pairs], len(data))
    drawn = _spanned(
        [
            shared(_random(a, seed + at), _random(b, seed + at + repeats))
            for at, (a, b) in enumerate(pairs)
        ],
        len(data),
    )
    size = float(np.mean([len(one) for pair in pairs for one in pair]))
    return pd.DataFrame([_row(HALVES, found, size), _row(CHANCE, drawn, size)])


def _random(like: NeuronSet, seed: int) -> NeuronSet:
    """As many neurons in every layer, drawn from the whole layer."""
    draw = np.random.default_rng(seed)
    members = [
        (layer, int(neuron))
        for layer, count in enumerate(like.per_layer())
        for neuron in draw.choice(like.d_mlp, count, replace=False)
    ]
    return replace(like, members=frozenset(members), weights=None)


def _spanned(values: list[float], n: int) -> Estimate:
    """Mean, least and greatest of the repeats in which both sets held neurons."""
    known = [value for value in values if np.isfinite(value)]
    found = spread(known, n)
    return Estimate(found.value, min(known, default=np.nan), max(known, default=np.nan), n)


def _row(what: str, found: Estimate, size: float) -> dict[str, object]:
    return {
        "what": what, "shared": found.value, "low": found.low, "high": found.high,
        "neurons": size, "n": found.n,
    }  # fmt: skip
