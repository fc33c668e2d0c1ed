"""The controls that are shown beside every AUROC: shuffled labels, random neurons, length, domain.

Each answers one doubt: does the probe find structure in noise, are *these* neurons needed, and
does the number of tokens (or the domain, or whether the reply was cut off or attempts an answer at
all) already separate the classes? Accuracy is given beside AUROC, and beside that of always saying
the commoner label.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlens.counting import count
from hlens.errors import HlensError
from hlens.evaluation.auroc import auroc, check_both_classes
from hlens.evaluation.bootstrap import summarise_repeats
from hlens.evaluation.designs import three_vs_one
from hlens.evaluation.fitting import (
    Probe,
    fit_detector,
    fix_C,
    over_random_sets,
    refit_scores,
    refit_threshold,
)
from hlens.evaluation.intervals import estimate_auroc
from hlens.evaluation.scores import balanced_accuracy, estimate_accuracy
from hlens.evaluation.significance import permutation_p, permute_labels
from hlens.evaluation.usage import match_of
from hlens.probe.ways import probe_of
from hlens.types import Contributions, Detector, Estimate
from hlens.types.labels import Control, Covariate

Row = dict[str, object]
Accuracies = tuple[Estimate, Estimate]  # plain and balanced
# Controls of what a reply is: the covariate, and how the note says that replies are it.
REPLY = (
    (Control.CUT_OFF, Covariate.CUT_OFF, "was cut off", "were cut off"),
    (Control.ATTEMPTED, Covariate.ATTEMPTED, "attempts an answer", "attempt an answer"),
)


def controls(
    train: Contributions,
    test: Contributions,
    *,
    probe: Probe | None = None,
    detector: Detector | None = None,
    replies: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    negatives: Contributions | None = None,
    shuffles: int = 200,
    draws: int = 200,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of a probe on held-out examples, beside its controls.

    Rows (column ``control``):

    - ``probe``: the probe itself, interval by group; its ``p`` is the share
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
    - ``cut off alone``, ``attempted alone``: the training rate of hallucination of replies that the
      token limit ended or not, and of those that attempt an answer or not; only with `replies`.
    - ``commoner label``: always saying the label that is commoner in training. Its AUROC is 0.5.

    The probe is that of `hlens.find` when None. `detector` is what it found on `train`, if it was
    fitted before; else it is fitted here.
    `replies` are the covariates of the training and of the held-out examples
    (`hlens.audit.covariates`), in their order.
    `negatives` are the other tokens of the training part, where the probe is fitted to them beside
    its answers (`hlens.evaluation.designs.three_vs_one`): they keep their label under every
    shuffle. Neurons are refitted to answers alone.

    Accuracy and balanced accuracy (0.5 is chance) are taken at a threshold fixed in the training
    part: the detector's own, which `hlens.find` sets where the balanced accuracy of out-of-fold
    scores is highest, as is done here for refitted neurons. A detector that is fitted here calls
    from log-odds of 0.

    Returns:
        Columns ``control, auroc, low, high, n, accuracy, accuracy_low, accuracy_high,
        balanced_accuracy, balanced_low, balanced_high, neurons, repeats, p, note``. The accuracies
        are those of the probe, of refitted neurons and of the commoner label.

    Raises:
        HlensError: One class only, or a group on both sides of the split.
    """
    check_split(train, test)
    probe = probe_of("hlens") if probe is None else probe
    fitted = train if negatives is None else three_vs_one(train, negatives)
    detector = fit_detector(fitted, probe) if detector is None else detector
    selected, label = detector.selected, test.labels.numpy()

    def estimate(scores: ArrayLike) -> Estimate:
        return estimate_auroc(scores, label, groups=test.groups)

    def accuracies(said: np.ndarray) -> Accuracies:
        accuracy, balanced = (
            estimate_accuracy(
                said, label, balanced=kind, groups=test.groups, n_boot=n_boot, seed=seed
            )
            for kind in (False, True)
        )
        return accuracy, balanced

    scores = detector(test).numpy()
    own = estimate(scores)
    fixed = fix_C(probe, detector)
    shuffled, failed = shuffled_aurocs(
        train, test, fitted=fitted, probe=fixed, repeats=shuffles, seed=seed
    )
    k, n = len(selected), len(test)
    refit, right, drawn, note = Estimate.missing(n), None, [], "the probe selected no neuron"
    if k:
        again, said = _refit(train, test, selected.flat_indices, seed=seed)
        refit, right = estimate(again), None if said is None else accuracies(said)
        matched = match_of(train)
        sets = selected.random_sets(draws, seed=seed, **matched)
        drawn, shortage = over_random_sets(
            sets, lambda neurons: _refit_numbers(train, test, neurons, seed=seed)
        )
        by_use = " and by how often their expert is used" if "usage" in matched else ""
        note = shortage or f"matched by layer{by_use}"
    random, *by_chance = (
        summarise_repeats([float(value) for value in values if np.isfinite(value)], n)
        for values in np.reshape(drawn, (len(drawn), 3)).T
    )
    noise, areas = summarise_repeats(shuffled, n), [numbers[0] for numbers in drawn]
    commoner = bool(train.labels.double().mean() >= 0.5)
    always = accuracies(np.full(n, commoner))
    rows = [
        _control(
            Control.PROBE,
            own,
            accuracies(scores >= detector.threshold),
            neurons=k,
            p=permutation_p(own.value, shuffled),
        ),
        _control(
            Control.SELECTED_REFIT, refit, right, neurons=k, p=permutation_p(refit.value, areas)
        ),
        _control(
            Control.RANDOM_NEURONS,
            random,
            (by_chance[0], by_chance[1]),
            neurons=k,
            repeats=len(drawn),
            note=note,
        ),
        _control(Control.SHUFFLED_LABELS, noise, neurons=None, repeats=len(shuffled), note=failed),
        _control(Control.ANSWER_LENGTH, estimate(score_length(train, test))),
    ]
    if len(set(train.domains)) > 1:
        rates = _training_rates(train.domains, test.domains, train.labels.numpy())
        rows.append(_control(Control.DOMAIN_ALONE, estimate(rates)))
    for control, covariate, one, many in REPLY if replies is not None else ():
        before, after = (list(part[covariate]) for part in replies or ())
        rates = _training_rates(before, after, train.labels.numpy())
        note = _count_replies(before, after, one, many)
        rows.append(_control(control, estimate(rates), note=note))
    note = f"always says {'hallucinated' if commoner else 'true'}"
    rows.append(_control(Control.COMMONER_LABEL, estimate(np.zeros(n)), always, note=note))
    return pd.DataFrame(rows)


def _refit(
    train: Contributions, test: Contributions, neurons: Sequence[int], *, seed: int
) -> tuple[Float[np.ndarray, " example"], np.ndarray | None]:
    """Held-out scores of the refit on some neurons, and whether each reaches its threshold.

    The second is None where the training part is too small to choose a threshold.
    """
    scores = refit_scores(train, test, neurons=neurons)
    threshold = refit_threshold(train, neurons=neurons, seed=seed)
    return scores, None if np.isnan(threshold) else scores >= threshold


def _refit_numbers(
    train: Contributions, test: Contributions, neurons: Sequence[int], *, seed: int
) -> tuple[float, float, float]:
    """AUROC, accuracy and balanced accuracy of the refit on some neurons."""
    label = test.labels.numpy()
    scores, said = _refit(train, test, neurons, seed=seed)
    if said is None:
        return auroc(scores, label), float("nan"), float("nan")
    right = float((said == label).mean())
    return auroc(scores, label), right, balanced_accuracy(said, label)


def shuffled_aurocs(
    train: Contributions,
    test: Contributions,
    *,
    probe: Probe,
    repeats: int,
    seed: int = 0,
    fitted: Contributions | None = None,
) -> tuple[list[float], str]:
    """Held-out AUROC of the whole fit on labels permuted by group, and why some repeats failed.

    A fold may be left with one class. `fitted` is what the probe is fitted to where that is `train`
    with further rows behind it, whose labels stay.
    """
    areas, errors = [], []
    fitted = train if fitted is None else fitted
    for repeat in range(repeats):
        own = permute_labels(train, [seed, repeat])
        permuted = replace(fitted, labels=torch.cat([own, fitted.labels[len(train) :]]))
        try:
            areas.append(auroc(fit_detector(permuted, probe)(test).numpy(), test.labels.numpy()))
        except HlensError as error:
            errors.append(str(error))
    note = f"{len(errors)} of {repeats} could not be fitted: {errors[0]}" if errors else ""
    return areas, note


def score_length(train: Contributions, test: Contributions) -> Float[np.ndarray, " example"]:
    """Longer or shorter means hallucination: whichever holds in training."""
    longer = auroc(train.n_tokens.double().numpy(), train.labels.numpy()) >= 0.5
    return test.n_tokens.double().numpy() * (1 if longer else -1)


def _training_rates(
    train: Sequence[str], test: Sequence[str], label: np.ndarray
) -> Float[np.ndarray, " example"]:
    """Score each held-out example by the rate of hallucination that its value has in training."""
    values = np.asarray(train)
    rate = {value: label[values == value].mean() for value in set(train)}
    return np.array([rate.get(value, label.mean()) for value in test])


def _count_replies(train: Sequence[str], test: Sequence[str], one: str, many: str) -> str:
    """How many replies are so.

    >>> _count_replies(["no"], ["no", "yes"], "was cut off", "were cut off")
    '1 of 2 held-out replies were cut off'
    >>> _count_replies(["no"], ["no", "no"], "was cut off", "were cut off")
    'no reply was cut off'
    """
    if len({*train, *test}) == 1:
        return f"{'every' if test[0] == 'yes' else 'no'} reply {one}"
    return (
        f"{list(test).count('yes')} of "
        f"{count(len(test), 'held-out reply', 'held-out replies')} {many}"
    )


def _control(
    control: Control, auroc: Estimate, accuracies: Accuracies | None = None, **columns: object
) -> Row:
    accuracy, balanced = accuracies or (Estimate.missing(auroc.n),) * 2
    about: Row = {"neurons": 0, "repeats": 1, "p": None, "note": ""}
    return {
        "control": control,
        **auroc.to_row(),
        **accuracy.to_row("accuracy", ends="accuracy_"),
        **balanced.to_row("balanced_accuracy", ends="balanced_"),
        **about,
        **columns,
    }


def check_split(train: Contributions, test: Contributions) -> None:
    """Raise `HlensError` unless both parts hold both classes and share no group."""
    check_both_classes(train.labels.numpy(), "training")
    check_both_classes(test.labels.numpy(), "testing")
    check_shares_no_group(train, test)


def check_shares_no_group(train: Contributions, test: Contributions) -> None:
    """Raise `HlensError` where a group is in the training and in the test part."""
    shared = sorted(set(train.groups) & set(test.groups))
    if shared:
        raise HlensError(
            f"{len(shared)} groups are in the training and in the test part (such as "
            f"{shared[0]!r}); split with split_by_group, so that no group is in both"
        )
