"""Is the set found again? Sets found on halves of the training part, beside random sets."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from hlens.audit.refits import shared_part
from hlens.evaluation import split_halves
from hlens.evaluation.fitting import Probe
from hlens.probe import SparseProbe
from hlens.probe.prepared import copy_unfitted
from hlens.types import Contributions, Estimate, NeuronSet
from hlens.types.labels import Agreement

COLUMNS = ["what", "shared", "low", "high", "neurons", "n"]


def set_agreement(
    data: Contributions, probe: Probe, *, repeats: int = 5, seed: int = 0
) -> pd.DataFrame:
    """How much of a set of H-neurons is found again on the other half of the data.

    All domains of the training part are taken as one. The probe has the C that it chose on the
    whole part; a half is fitted at twice that: C weighs a sum over examples, and twice of it keeps
    the penalty on each. At the same C a half may find none of a few neurons. One class only in a
    half raises `HlensError`.

    Returns:
        Columns ``what, shared, low, high, neurons, n``: ``shared`` is the part of the smaller set
        that is also in the other, mean over halvings, with the least and the greatest; for
        ``chance, same layers`` the same of as many random neurons of the same layers.
    """
    if isinstance(probe, SparseProbe) and probe.C != "cv":
        probe = copy_unfitted(probe).set_params(C=2 * float(probe.C))
    whole = replace(data, domains=("all",) * len(data))
    pairs = split_halves(whole, probe, repeats=repeats, seed=seed).sets["all"]
    drawn = [
        (_random_like(a, seed + repeat), _random_like(b, seed + repeat + repeats))
        for repeat, (a, b) in enumerate(pairs)
    ]
    size = float(np.mean([len(one) for pair in pairs for one in pair]))
    rows = [
        {"what": what, **estimate_shared(sets, len(data)).to_row("shared"), "neurons": size}
        for what, sets in ((Agreement.HALVES, pairs), (Agreement.CHANCE, drawn))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _random_like(like: NeuronSet, seed: int) -> NeuronSet:
    """As many neurons in every layer, drawn from the whole layer: members may be drawn again."""
    draw = np.random.default_rng(seed)
    members = [
        (layer, int(neuron))
        for layer, count in enumerate(like.per_layer())
        for neuron in draw.choice(like.widths[layer], count, replace=False)
    ]
    return replace(like, members=frozenset(members), weights=None)


def estimate_shared(pairs: Sequence[tuple[NeuronSet, NeuronSet]], n: int) -> Estimate:
    """Mean, least and greatest over the repeats; an empty set has found nothing again."""
    shared = [shared_part(a, b) if len(a) and len(b) else 0.0 for a, b in pairs]
    if not shared:
        return Estimate.missing(n)
    return Estimate(float(np.mean(shared)), min(shared), max(shared), n)
