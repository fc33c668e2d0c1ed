"""Does one detector add to another? The gain in held-out log-likelihood of nested logistic models.

Both models are fitted on out-of-fold scores of the training part and compared on the test part. The
null keeps what the other detector predicts of the score and deals its remainder out to other
groups (Freedman and Lane 1983, J. Bus. Econ. Stat. 1), so that a score which only repeats the other
one gains nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import expit, log_expit
from scipy.stats import norm

from hlens.evaluation.auroc import check_both_classes
from hlens.evaluation.bootstrap import Weights, bootstrapped
from hlens.evaluation.correction import holm
from hlens.types import Estimate
from hlens.types.labels import H_NEURONS

COLUMNS = [
    "detector", "gain", "low", "high", "p", "p_corrected", "gain_of_rival", "gain_of_rival_low",
    "gain_of_rival_high", "n",
]  # fmt: skip
_STEPS = 30  # of Newton's method; a handful is enough

# Training part and test part.
Scores = tuple[Float[np.ndarray, " example"], Float[np.ndarray, " row"]]
Labels = tuple[Bool[np.ndarray, " example"], Bool[np.ndarray, " row"]]
Groups = tuple[Sequence[str], Sequence[str]]
Designs = tuple[Float[np.ndarray, "draw example feature"], Float[np.ndarray, "draw row feature"]]


def added_value(
    train: Mapping[str, Float[np.ndarray, " example"]],
    test: Mapping[str, Float[np.ndarray, " row"]],
    labels: Labels,
    groups: Groups,
    permutations: int = 999,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """What the H-neurons add to each rival, and each rival to the H-neurons.

    Args:
        train: Out-of-fold scores of each detector on the training part.
        test: Scores of each on the test part.
        labels: Labels of the training and of the test part.
        groups: Groups of both.
        permutations: Draws of the null.
        n_boot: Resamples of whole groups of the test part.
        seed: Seed of permutations and resamples.

    Returns:
        One row a rival: ``detector, gain, low, high, p, p_corrected, gain_of_rival,
        gain_of_rival_low, gain_of_rival_high, n``. ``gain`` is the mean log-likelihood of a
        test answer (millinats) with rival and H-neurons less that with the rival alone.
    """
    rows: list[dict[str, Any]] = []
    own = train[H_NEURONS], test[H_NEURONS]
    for name in train:
        if name == H_NEURONS:
            continue
        rival = train[name], test[name]
        ours, p = gain(rival, own, labels, groups, permutations, n_boot, seed)
        theirs, _ = gain(own, rival, labels, groups, 0, n_boot, seed)
        both = ours.to_row("gain") | theirs.to_row("gain_of_rival", ends="gain_of_rival_")
        rows.append({"detector": name, **both, "p": p})
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["p_corrected"] = holm(table["p"].to_numpy(dtype=float))
    return table


def gain(
    base: Scores,
    extra: Scores,
    labels: Labels,
    groups: Groups,
    permutations: int = 999,
    n_boot: int = 1000,
    seed: int = 0,
) -> tuple[Estimate, float]:
    """Gain in held-out log-likelihood by one more score, in millinats an answer, and its p.

    Args:
        base: Scores of the first detector in training (out of fold) and test.
        extra: Scores of the one that is added.
        labels: Labels of both parts.
        groups: Groups of both parts.
        permutations: Draws of the null; the p is NaN for none.
        n_boot: Resamples of whole groups of the test part.
        seed: Seed of permutations and resamples.

    Raises:
        HlensError: One class only in training.
    """
    check_both_classes(labels[0], "added value")
    known, added = _standard(*base), _standard(*extra)
    one = _powers(known[0]), _powers(known[1])
    alone = _log_likelihoods((one[0][None], one[1][None]), labels)

    def gained(train: np.ndarray, test: np.ndarray) -> Float[np.ndarray, "draw row"]:
        """Gain of every test row for each draw of the added score."""
        return 1000 * (
            _log_likelihoods((_beside(one[0], train), _beside(one[1], test)), labels) - alone
        )

    each = gained(added[0][None], added[1][None])[0]
    found = _mean(each, groups[1], n_boot, seed)
    if not permutations:
        return found, float("nan")
    draw = np.random.default_rng(seed)
    dealt = [
        share + (value - share)[np.stack([_dealt(group, draw) for _ in range(permutations)])]
        for value, share, group in zip(added, _predicted(one, added[0]), groups, strict=True)
    ]
    reached = int((gained(*dealt).mean(axis=1) >= found.value).sum())
    return found, (1 + reached) / (1 + permutations)


def _beside(
    base: Float[np.ndarray, "example power"], extra: Float[np.ndarray, "draw example"]
) -> Float[np.ndarray, "draw example feature"]:
    """The base's columns beside those of each draw."""
    repeated = np.broadcast_to(base, (len(extra), *base.shape))
    return np.concatenate([repeated, _powers(extra)], axis=-1)


def _standard(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores by rank in the training part: perplexity must do as well as its logarithm."""
    ordered = np.sort(train)

    def ranked(part: np.ndarray) -> np.ndarray:
        below = np.searchsorted(ordered, part, side="left")
        up_to = np.searchsorted(ordered, part, side="right")
        share = (below + up_to) / (2 * len(ordered))
        return norm.ppf(share.clip(0.5 / len(ordered), 1 - 0.5 / len(ordered)))

    return ranked(train), ranked(test)


def _powers(score: Float[np.ndarray, "*draw example"]) -> Float[np.ndarray, "*draw example 2"]:
    """A score and its square: a rival that is bent, not blind, must not leave us a gain."""
    return np.stack([score, score**2], axis=-1)


def _log_likelihoods(designs: Designs, labels: Labels) -> Float[np.ndarray, "draw row"]:
    """Log-likelihood of each test row by logistic models fitted in training, one a draw.

    Newton's method on all draws at once: two hundred fits of five weights each are one small
    batch. A ridge of 0.1 (a prior standard deviation of 3.2) keeps separated classes finite.
    """
    train, test = (np.concatenate([np.ones((*d.shape[:2], 1)), d], axis=-1) for d in designs)
    truth = labels[0].astype(float)
    ridge = 0.1 * np.diag([0.0] + [1.0] * (train.shape[-1] - 1))
    weights = np.zeros((len(train), train.shape[-1]))
    for _ in range(_STEPS):
        p = expit(np.einsum("dnf,df->dn", train, weights))
        slope = np.einsum("dnf,dn->df", train, truth - p) - weights @ ridge
        bend = np.einsum("dnf,dn,dng->dfg", train, p * (1 - p), train, optimize=True) + ridge
        step = np.linalg.solve(bend, slope[..., None])[..., 0]
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    odds = np.einsum("dnf,df->dn", test, weights)
    return log_expit(np.where(labels[1], odds, -odds))


def _predicted(base: Sequence[np.ndarray], target: np.ndarray) -> list[np.ndarray]:
    """What the base says of the target in both parts, by least squares in training."""
    with_one = [np.hstack([np.ones((len(part), 1)), part]) for part in base]
    weights = np.linalg.lstsq(with_one[0], target, rcond=None)[0]
    return [part @ weights for part in with_one]


def _dealt(groups: Sequence[str], draw: np.random.Generator) -> np.ndarray:
    """Rows of other groups, whole groups at a time."""
    code = np.unique(np.asarray(groups), return_inverse=True)[1]
    place = draw.permutation(int(code.max()) + 1)
    dealt = np.empty(len(code), dtype=np.int64)
    dealt[np.argsort(code, kind="stable")] = np.argsort(place[code], kind="stable")
    return dealt


def _mean(each: np.ndarray, groups: Sequence[str], n_boot: int, seed: int) -> Estimate:
    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        return weights @ each / weights.sum(axis=1)

    return bootstrapped(float(each.mean()), statistic, groups, len(each), n_boot, seed)
