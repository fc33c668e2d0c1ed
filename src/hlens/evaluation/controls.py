"""The three controls that stand beside every AUROC: shuffled labels, random neurons, length.

Each answers one doubt: does the probe find structure in noise, are *these* neurons needed, and
does the number of tokens already tell the classes apart?
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from sklearn.base import BaseEstimator
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.auroc import auroc, check_both_classes
from hlens.evaluation.bootstrap import estimate_auroc
from hlens.evaluation.fitting import fit_detector, refit_scores
from hlens.probe import SparseProbe
from hlens.types import Contributions, Detector, Estimate, NeuronSet
from hlens.types.labels import Control

Row = dict[str, object]


def controls(
    train: Contributions,
    test: Contributions,
    probe: BaseEstimator,
    detector: Detector | None = None,
    shuffles: int = 20,
    draws: int = 20,
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
      that chooses its C keeps the one chosen on the real labels: noise has no best C, and to look
      for it takes far longer than the fit.
    - ``answer length``: the number of answer tokens alone, its direction learned in training.
    - ``domain alone``: the training rate of hallucination of each domain; only where there are
      several domains, since their base rates can carry a pooled AUROC.

    Args:
        train: Contributions to fit on.
        test: Held-out contributions, of other groups.
        probe: The estimator; cloned for each fit.
        detector: What `probe` found on `train`, when it is known already; else it is fitted.
        shuffles: Number of fits on shuffled labels.
        draws: Number of random sets of neurons.
        n_boot: Resamples of whole groups for the bootstrap intervals.
        seed: Seed of permutations, draws and resamples.

    Returns:
        Columns ``control, auroc, low, high, n, neurons, repeats, p, note``.

    Raises:
        HlensError: One class only, or a group on both sides of the split.
    """
    check_split(train, test)
    detector = fit_detector(train, probe) if detector is None else detector
    labels = test.labels.numpy()
    own = estimate_auroc(detector(test).numpy(), labels, test.groups, n_boot, seed)
    shuffled, lost = shuffled_aurocs(train, test, settled(probe, detector), shuffles, seed)
    refit, drawn, note = _against_random(train, test, detector.selected, draws, n_boot, seed)
    n_selected, n_test = len(detector.selected), len(test)
    rows = [
        _row(Control.PROBE, own, n_selected, 1, permutation_p(own.value, shuffled)),
        _row(Control.SELECTED_REFIT, refit, n_selected, 1, permutation_p(refit.value, drawn)),
        _row(Control.RANDOM_NEURONS, spread(drawn, n_test), n_selected, len(drawn), note=note),
        _row(Control.SHUFFLED_LABELS, spread(shuffled, n_test), None, len(shuffled), note=lost),
        _row(Control.ANSWER_LENGTH, _length(train, test, n_boot, seed), 0, 1),
    ]
    if len(set(train.domains)) > 1:
        rows.append(_row(Control.DOMAIN_ALONE, _domain_rate(train, test, n_boot, seed), 0, 1))
    return pd.DataFrame(rows)


def shuffled_aurocs(
    train: Contributions, test: Contributions, probe: BaseEstimator, repeats: int, seed: int = 0
) -> tuple[list[float], str]:
    """Held-out AUROC of the whole fit, each time on labels permuted by group.

    Returns:
        The AUROC of each repeat that could be fitted, and what became of the others (a fold may
        be left with one class), or nothing.
    """
    found, lost = [], []
    for repeat in range(repeats):
        permuted = replace(train, labels=permute_by_group(train, [seed, repeat]))
        try:
            found.append(auroc(fit_detector(permuted, probe)(test).numpy(), test.labels.numpy()))
        except HlensError as error:
            lost.append(str(error))
    return found, f"{len(lost)} of {repeats} could not be fitted: {lost[0]}" if lost else ""


def settled(probe: BaseEstimator, detector: Detector) -> BaseEstimator:
    """The probe with the C that it chose, where it chooses one and the detector tells it.

    Args:
        probe: Any estimator; only a `SparseProbe` with ``C="cv"`` is changed, and it is copied.
        detector: What it found.
    """
    chosen = detector.fit.get("C")
    if not isinstance(probe, SparseProbe) or probe.C != "cv" or chosen is None:
        return probe
    settled = SparseProbe(**probe.get_params())
    settled.C = float(chosen)
    return settled


def permute_by_group(data: Contributions, seed: int | Sequence[int]) -> Bool[Tensor, " example"]:
    """Labels dealt out to other groups: the balance is kept, and labels of one group stay together.

    The label lists of the groups are laid end to end in a random order of groups and read off by
    the groups in their own order; with groups of one size each list lands on one whole group.
    """
    _, code = np.unique(np.asarray(data.groups), return_inverse=True)
    draw = np.random.default_rng(seed)
    own_order = np.argsort(code, kind="stable")
    place = draw.permutation(int(code.max()) + 1)
    dealt = np.argsort(place[code], kind="stable")
    permuted = np.empty(len(code), dtype=bool)
    permuted[own_order] = data.labels.numpy()[dealt]
    return torch.from_numpy(permuted)


def permutation_p(value: float, null: Sequence[float]) -> float | None:
    """Share of the null at or above `value`, the value itself counted: never zero.

    >>> permutation_p(0.8, [0.5, 0.6, 0.4])
    0.25
    """
    if len(null) == 0 or not np.isfinite(value):
        return None
    return (1 + int(np.sum(np.asarray(null) >= value))) / (1 + len(null))


def spread(values: Sequence[float], n: int) -> Estimate:
    """Mean and central 95 % of repeats on `n` examples."""
    if len(values) == 0:
        return Estimate.missing(n)
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(np.mean(values)), float(low), float(high), n)


def flat_indices(neurons: NeuronSet) -> list[int]:
    """Flat index (layer * d_mlp + neuron) of each member, ascending."""
    return [layer * neurons.d_mlp + neuron for layer, neuron in neurons]


def _against_random(
    train: Contributions,
    test: Contributions,
    selected: NeuronSet,
    draws: int,
    n_boot: int,
    seed: int,
) -> tuple[Estimate, list[float], str]:
    """The refit on the selected neurons, the same on random ones, and why some are missing."""
    labels = test.labels.numpy()
    if len(selected) == 0:
        return spread([], len(test)), [], "the probe selected no neuron"
    scores = refit_scores(train, test, flat_indices(selected))
    own = estimate_auroc(scores, labels, test.groups, n_boot, seed)
    drawn: list[float] = []
    try:
        for draw in range(draws):
            other = selected.random_like(seed * draws + draw, match="layer")
            drawn.append(auroc(refit_scores(train, test, flat_indices(other)), labels))
    except HlensError as error:  # too few other neurons: the row says so, the table still stands
        return own, drawn, str(error)
    return own, drawn, "matched by layer"


def _length(train: Contributions, test: Contributions, n_boot: int, seed: int) -> Estimate:
    """Longer or shorter means hallucination: whichever holds in training."""
    longer = auroc(train.n_tokens.double().numpy(), train.labels.numpy()) >= 0.5
    score = test.n_tokens.double().numpy() * (1 if longer else -1)
    return estimate_auroc(score, test.labels.numpy(), test.groups, n_boot, seed)


def _domain_rate(train: Contributions, test: Contributions, n_boot: int, seed: int) -> Estimate:
    """Score each example by the rate of hallucination that its domain has in training."""
    domains, label = np.asarray(train.domains), train.labels.numpy()
    rate = {domain: label[domains == domain].mean() for domain in set(train.domains)}
    score = [rate.get(domain, label.mean()) for domain in test.domains]
    return estimate_auroc(score, test.labels.numpy(), test.groups, n_boot, seed)


def _row(
    control: Control,
    estimate: Estimate,
    neurons: int | None,
    repeats: int,
    p: float | None = None,
    note: str = "",
) -> Row:
    about = {"neurons": neurons, "repeats": repeats, "p": p, "note": note}
    return {"control": control, **estimate.to_row(), **about}


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
