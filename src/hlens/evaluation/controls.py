"""The controls that are shown beside every AUROC: shuffled labels, random neurons, length, domain.

Each answers one doubt: does the probe find structure in noise, are *these* neurons needed, and
does the number of tokens (or the domain) already separate the classes?
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from hlens.errors import HlensError
from hlens.evaluation.auroc import auroc, check_both_classes
from hlens.evaluation.bootstrap import estimate_auroc, summarise_repeats
from hlens.evaluation.fitting import fit_detector, fix_C, refit_random_sets, refit_scores
from hlens.evaluation.significance import permutation_p, permute_labels
from hlens.types import Contributions, Detector, Estimate
from hlens.types.labels import Control

Row = dict[str, object]


def controls(
    train: Contributions,
    test: Contributions,
    *,
    probe: BaseEstimator,
    detector: Detector | None = None,
    shuffles: int = 200,
    draws: int = 200,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of a probe on held-out examples, beside its controls.

    Rows (column ``control``):

    - ``probe``: the probe itself, interval by bootstrap of whole groups; its ``p`` is the share
      of shuffled fits that do as well (permutation p).
    - ``selected neurons, refit``: L2 logistic regression on the neurons that the probe selected;
      its ``p`` is the share of random draws that do as well.
    - ``random neurons``: the same on as many random other neurons, matched by layer; mean and
      central 95 % of the draws.
    - ``shuffled labels``: the fit on labels permuted by group; mean and central 95 %. A probe
      that chooses its C keeps the one chosen on the real labels: noise has no best C, and the
      search takes far longer than the fit.
    - ``answer length``: the number of answer tokens alone, its direction learned in training.
    - ``domain alone``: the training rate of hallucination of each domain; only where there are
      several domains, since their base rates can carry a pooled AUROC.

    `detector` is what `probe` found on `train`, if it was fitted before; else it is fitted here.

    Returns:
        Columns ``control, auroc, low, high, n, neurons, repeats, p, note``.

    Raises:
        HlensError: One class only, or a group on both sides of the split.
    """
    check_split(train, test)
    detector = fit_detector(train, probe) if detector is None else detector
    selected = detector.selected

    def estimate(scores: ArrayLike) -> Estimate:
        label, groups = test.labels.numpy(), test.groups
        return estimate_auroc(scores, label, groups=groups, n_boot=n_boot, seed=seed)

    own = estimate(detector(test).numpy())
    fixed = fix_C(probe, detector)
    shuffled, failed = shuffled_aurocs(train, test, probe=fixed, repeats=shuffles, seed=seed)
    if len(selected):
        refit = estimate(refit_scores(train, test, neurons=selected.flat_indices))
        sets = selected.random_sets(draws, seed=seed, match="layer")
        drawn, shortage = refit_random_sets(train, test, sets=sets)
        note = shortage or "matched by layer"
    else:
        refit, drawn, note = Estimate.missing(len(test)), [], "the probe selected no neuron"
    k, n = len(selected), len(test)
    random, noise = summarise_repeats(drawn, n), summarise_repeats(shuffled, n)
    rows = [
        _control(Control.PROBE, own, neurons=k, p=permutation_p(own.value, shuffled)),
        _control(Control.SELECTED_REFIT, refit, neurons=k, p=permutation_p(refit.value, drawn)),
        _control(Control.RANDOM_NEURONS, random, neurons=k, repeats=len(drawn), note=note),
        _control(Control.SHUFFLED_LABELS, noise, neurons=None, repeats=len(shuffled), note=failed),
        _control(Control.ANSWER_LENGTH, estimate(_length_score(train, test))),
    ]
    if len(set(train.domains)) > 1:
        rows.append(_control(Control.DOMAIN_ALONE, estimate(_domain_rate(train, test))))
    return pd.DataFrame(rows)


def shuffled_aurocs(
    train: Contributions, test: Contributions, *, probe: BaseEstimator, repeats: int, seed: int = 0
) -> tuple[list[float], str]:
    """Held-out AUROC of the whole fit on labels permuted by group, and why some repeats failed.

    A fold may be left with one class.
    """
    areas, errors = [], []
    for repeat in range(repeats):
        permuted = replace(train, labels=permute_labels(train, [seed, repeat]))
        try:
            areas.append(auroc(fit_detector(permuted, probe)(test).numpy(), test.labels.numpy()))
        except HlensError as error:
            errors.append(str(error))
    note = f"{len(errors)} of {repeats} could not be fitted: {errors[0]}" if errors else ""
    return areas, note


def _length_score(train: Contributions, test: Contributions) -> Float[np.ndarray, " example"]:
    """Longer or shorter means hallucination: whichever holds in training."""
    longer = auroc(train.n_tokens.double().numpy(), train.labels.numpy()) >= 0.5
    return test.n_tokens.double().numpy() * (1 if longer else -1)


def _domain_rate(train: Contributions, test: Contributions) -> list[float]:
    """Score each example by the rate of hallucination that its domain has in training."""
    domains, label = np.asarray(train.domains), train.labels.numpy()
    rate = {domain: label[domains == domain].mean() for domain in set(train.domains)}
    return [rate.get(domain, label.mean()) for domain in test.domains]


def _control(control: Control, estimate: Estimate, **columns: object) -> Row:
    about: Row = {"neurons": 0, "repeats": 1, "p": None, "note": ""}
    return {"control": control, **estimate.to_row(), **about, **columns}


def check_split(train: Contributions, test: Contributions) -> None:
    """Raise `HlensError` unless both parts hold both classes and share no group."""
    check_both_classes(train.labels.numpy(), "training")
    check_both_classes(test.labels.numpy(), "testing")
    shared = sorted(set(train.groups) & set(test.groups))
    if shared:
        raise HlensError(
            f"{len(shared)} groups are in the training and in the test part (such as "
            f"{shared[0]!r}); split with split_by_group, so that no group is in both"
        )
