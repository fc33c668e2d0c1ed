"""Does one detector add to another? The gain in held-out log-likelihood of nested logistic models.

Problem: two detectors with the same AUROC may know the same thing, or different things.

Idea: fit two logistic models on out-of-fold scores of the training part, one on the rival's score,
one on both, and compare their log-likelihood on the test part. The null keeps what the rival
predicts of our score and deals the remainder out to other groups (Freedman and Lane 1983, J. Bus.
Econ. Stat. 1), so that a score which only repeats the rival gains nothing.

Example: our score is the rival's plus noise. Its remainder is the noise alone, so the true gain is
no larger than that of dealt noise, and the permutation p is not small.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.special import expit, log_expit
from scipy.stats import norm

from hlens.evaluation.auroc import check_both_classes, placements
from hlens.evaluation.bootstrap import estimate_statistic
from hlens.evaluation.significance import deal_by_group, holm
from hlens.types import Estimate
from hlens.types.labels import H_NEURONS

COLUMNS = [
    "detector", "gain", "low", "high", "p", "p_corrected", "gain_of_rival", "gain_of_rival_low",
    "gain_of_rival_high", "n",
]  # fmt: skip
_STEPS = 30  # of Newton's method; a handful is enough

# Of the training part and of the test part.
Scores = tuple[Float[np.ndarray, " example"], Float[np.ndarray, " row"]]
Known = tuple[Float[np.ndarray, "example *number"], Float[np.ndarray, "row *number"]]
Labels = tuple[Bool[np.ndarray, " example"], Bool[np.ndarray, " row"]]
Groups = tuple[Sequence[str], Sequence[str]]
Designs = tuple[Float[np.ndarray, "draw example feature"], Float[np.ndarray, "draw row feature"]]


def added_value(
    train: Mapping[str, Float[np.ndarray, " example"]],
    test: Mapping[str, Float[np.ndarray, " row"]],
    *,
    labels: Labels,
    groups: Groups,
    permutations: int = 999,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """What the H-neurons add to each rival, and each rival to the H-neurons.

    `train` holds the out-of-fold scores of each detector, `test` those on the test part, whose
    groups are resampled whole, `n_boot` times; `labels` and `groups` are of both parts.

    Returns:
        One row per rival: ``detector, gain, low, high, p, p_corrected, gain_of_rival,
        gain_of_rival_low, gain_of_rival_high, n``. ``gain`` is the mean log-likelihood of a
        test answer (millinats) with rival and H-neurons less that with the rival alone.
    """
    rows: list[dict[str, Any]] = []
    own = train[H_NEURONS], test[H_NEURONS]
    parts: dict[str, Any] = {"labels": labels, "groups": groups, "n_boot": n_boot, "seed": seed}
    for name in train:
        if name == H_NEURONS:
            continue
        rival = train[name], test[name]
        ours, p = gain(rival, own, permutations=permutations, **parts)
        theirs, _ = gain(own, rival, permutations=0, **parts)
        both = ours.to_row("gain") | theirs.to_row("gain_of_rival", ends="gain_of_rival_")
        rows.append({"detector": name, **both, "p": p})
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["p_corrected"] = holm(table["p"].to_numpy(dtype=float))
    return table


def gain(
    base: Known,
    extra: Scores,
    *,
    labels: Labels,
    groups: Groups,
    permutations: int = 999,
    n_boot: int = 1000,
    seed: int = 0,
) -> tuple[Estimate, float]:
    """Gain in held-out log-likelihood by one more score, in millinats an answer, and its p.

    Scores are those in training (out of fold) and test; the base may be several numbers of each
    answer, which the null then keeps all of. Without permutations the p is NaN; one class only in
    training raises `HlensError`.
    """
    check_both_classes(labels[0], "added value")
    added = normal_scores(*extra)
    columns = [part.reshape(len(part), -1).T for part in base]
    known = [normal_scores(*pair) for pair in zip(*columns, strict=True)]
    known_powers = tuple(np.hstack([powers(pair[part]) for pair in known]) for part in (0, 1))
    alone = _log_likelihoods((known_powers[0][None], known_powers[1][None]), labels)

    def gain_of_each(train: np.ndarray, test: np.ndarray) -> Float[np.ndarray, "draw row"]:
        designs = _append(known_powers[0], train), _append(known_powers[1], test)
        return 1000 * (_log_likelihoods(designs, labels) - alone)

    each = gain_of_each(added[0][None], added[1][None])[0]
    value = float(each.mean())
    estimate = estimate_statistic(
        lambda weights: weights @ each / weights.sum(axis=1), len(each),
        value=value, groups=groups[1], n_boot=n_boot, seed=seed,
    )  # fmt: skip
    if not permutations:
        return estimate, float("nan")
    # Only the remainder is dealt out: a null that also lost what the base predicts would call any
    # score that repeats the base a gain.
    draw = np.random.default_rng(seed)
    dealt = [
        share + (value - share)[np.stack([deal_by_group(group, draw) for _ in range(permutations)])]
        for value, share, group in zip(added, _predict(known_powers, added[0]), groups, strict=True)
    ]
    reached = int((gain_of_each(*dealt).mean(axis=1) >= estimate.value).sum())
    return estimate, (1 + reached) / (1 + permutations)


def _append(
    base: Float[np.ndarray, "example power"], extra: Float[np.ndarray, "draw example"]
) -> Float[np.ndarray, "draw example feature"]:
    """The base's columns, then those of each draw."""
    repeated = np.broadcast_to(base, (len(extra), *base.shape))
    return np.concatenate([repeated, powers(extra)], axis=-1)


def normal_scores(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal scores by rank in the training part: perplexity must do as well as its logarithm."""
    least = 0.5 / len(train)  # beyond all of the training part a rank has no finite normal score
    first, second = (placements(part, train).clip(least, 1 - least) for part in (train, test))
    return norm.ppf(first), norm.ppf(second)


def powers(score: Float[np.ndarray, "*draw example"]) -> Float[np.ndarray, "*draw example 2"]:
    """A score and its square: curvature that the rival already has must not count as our gain."""
    return np.stack([score, score**2], axis=-1)


def _log_likelihoods(designs: Designs, labels: Labels) -> Float[np.ndarray, "draw row"]:
    """Log-likelihood of each test row by logistic models fitted in training, one for each draw.

    Newton's method on all draws at once: two hundred fits of five weights each are one small
    batch. A ridge of 0.1 (a prior standard deviation of 3.2) keeps separated classes finite.
    """
    train, test = (np.concatenate([np.ones((*d.shape[:2], 1)), d], axis=-1) for d in designs)
    truth = labels[0].astype(float)
    ridge = 0.1 * np.diag([0.0] + [1.0] * (train.shape[-1] - 1))
    weights = np.zeros((len(train), train.shape[-1]))
    for _ in range(_STEPS):
        p = expit(np.einsum("dnf,df->dn", train, weights))
        gradient = np.einsum("dnf,dn->df", train, truth - p) - weights @ ridge
        hessian = np.einsum("dnf,dn,dng->dfg", train, p * (1 - p), train, optimize=True) + ridge
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    odds = np.einsum("dnf,df->dn", test, weights)
    return log_expit(np.where(labels[1], odds, -odds))


def _predict(base: Sequence[np.ndarray], target: np.ndarray) -> list[np.ndarray]:
    """What the base says of the target in both parts, by least squares in training."""
    with_one = [np.hstack([np.ones((len(part), 1)), part]) for part in base]
    weights = np.linalg.lstsq(with_one[0], target, rcond=None)[0]
    return [part @ weights for part in with_one]
