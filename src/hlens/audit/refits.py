"""The probe fitted again with one thing changed: seed, scale, penalty, tokens, labels or neurons.

The AUROC of each row says whether the reading survives the change, ``shared`` whether the same
neurons do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from hlens.audit.leaderboard import compare_auroc
from hlens.errors import HlensError
from hlens.evaluation import auroc, estimate_auroc, fit_detector, split_by_group
from hlens.evaluation.bootstrap import summarise_repeats
from hlens.evaluation.fitting import fix_C, refit_scores
from hlens.judges import flip_sensitivity
from hlens.probe import SparseProbe
from hlens.types import Contributions, Detector, Estimate, NeuronSet
from hlens.types.labels import Refit

COLUMNS = [
    "control", "auroc", "low", "high", "n", "neurons", "shared", "difference", "difference_low",
    "difference_high", "p", "note",
]  # fmt: skip
FLIPS = (0.05, 0.1, 0.2)

Row = dict[str, Any]


def refits(
    train: Contributions,
    test: Contributions,
    *,
    probe: SparseProbe,
    detector: Detector,
    others: Mapping[str, Contributions] | None = None,
    second: tuple[Tensor, Tensor] | None = None,
    draws: int = 20,
    flip_draws: int = 3,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC and neurons of the probe when one thing at a time is changed.

    Args:
        train: Contributions that the detector was found on.
        test: Held-out contributions.
        probe: The probe that found it. Fits on the same measure keep the C that it chose.
        detector: What it found.
        others: The same examples (training and test, any order of groups) measured another way,
            by what was changed, such as ``"where tokens are predicted"``; C is chosen again.
        second: Labels of the training and of the test part by a second judge, 1 for hallucinated,
            0 for true, -1 where it gives no label.
        draws: Sets of random directions.
        flip_draws: Draws of wrong labels for each share of them.
        n_boot: Resamples of whole groups for the intervals.
        seed: Seed of every draw.

    Returns:
        Columns ``control, auroc, low, high, n, neurons, shared, difference, difference_low,
        difference_high, p, note``. ``shared`` is the part of the smaller of both sets of
        H-neurons that is also in the other; ``difference`` the AUROC as found less this one, where
        the test examples are the same.

    Raises:
        HlensError: A fit that fails on these data, such as for want of one label.
    """
    table = _Rows(test, detector, n_boot, seed)
    fixed = fix_C(probe, detector)
    rows = [table.row(Refit.AS_FOUND, detector, test)]
    for name, other in _other_settings(probe, fixed, detector):
        rows.append(table.row(name, fit_detector(train, other), test))
    first, held_out = _split_again(train, test, seed)
    other = fit_detector(first, fixed)
    rows.append(table.row(Refit.OTHER_SPLIT, other, held_out, paired=False))
    other = fit_detector(_without_neurons(train, detector), fixed)
    rows.append(table.row(Refit.WITHOUT_NEURONS, other, test))
    rows.append(_random_directions(train, test, detector, draws=draws, seed=seed))
    for name, measured in (others or {}).items():
        rows.append(table.row_of_measure(name, measured, train, probe))
    if second is not None:
        rows.append(_second_judge(train, test, fixed, second=second, table=table))
    rows += _flipped_labels(train, test, fixed, draws=flip_draws, seed=seed)
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


class _Rows:
    """Rows of the table: every fit is compared with the detector as found."""

    def __init__(self, test: Contributions, detector: Detector, n_boot: int, seed: int) -> None:
        self.test, self.as_found = test, detector
        self.scores = detector(test).double().numpy()
        self.n_boot, self.seed = n_boot, seed

    def row(
        self,
        name: str,
        detector: Detector,
        test: Contributions,
        *,
        paired: bool = True,
        note: str = "",
    ) -> Row:
        scores, labels = detector(test).double().numpy(), test.labels.numpy()
        auroc = estimate_auroc(
            scores, labels, groups=test.groups, n_boot=self.n_boot, seed=self.seed
        )
        row: Row = {"control": name, **auroc.to_row(), "neurons": len(detector.selected)}
        row |= {"shared": shared_part(self.as_found.neurons, detector.neurons), "note": note}
        if paired and detector is not self.as_found:
            row |= compare_auroc(self.scores, scores, labels=labels, groups=test.groups)
        return row

    def row_of_measure(
        self, name: str, data: Contributions, train: Contributions, probe: SparseProbe
    ) -> Row:
        """The same examples, measured another way; paired when they are in the same order."""
        inside = set(train.groups)
        in_train = torch.tensor([group in inside for group in data.groups])
        test = data.select(~in_train)
        paired = test.question_ids == self.test.question_ids
        return self.row(name, fit_detector(data.select(in_train), probe), test, paired=paired)


def shared_part(a: NeuronSet, b: NeuronSet) -> float:
    """Part of the smaller set that is also in the other; NaN where one is empty."""
    smaller = min(len(a), len(b))
    return len(a & b) / smaller if smaller else float("nan")


def _other_settings(
    probe: SparseProbe, fixed: BaseEstimator, detector: Detector
) -> Iterator[tuple[Refit, SparseProbe]]:
    """Neighbours on the path, then the other scales."""
    chosen = detector.fit.get("C")
    if chosen is not None:
        for factor, name in ((0.5, Refit.HALF_C), (2.0, Refit.TWICE_C)):
            yield name, SparseProbe(**{**fixed.get_params(), "C": factor * float(chosen)})
    scales = {
        None: Refit.UNSCALED, "feature": Refit.SCALED_BY_NEURON, "layer": Refit.SCALED_BY_LAYER
    }  # fmt: skip
    for scale, name in scales.items():
        if scale != probe.scale:
            # C is in the units of the contributions: another scale needs a C of its own.
            yield name, SparseProbe(**{**probe.get_params(), "scale": scale, "C": "cv"})


def _split_again(
    train: Contributions, test: Contributions, seed: int
) -> tuple[Contributions, Contributions]:
    """Other parts of the same data, of the same sizes, by another seed of the split."""
    whole = joined(train, test)
    return split_by_group(whole, len(test) / len(whole), seed=seed + 1)


def joined(first: Contributions, second: Contributions) -> Contributions:
    """Two parts in one."""
    values = torch.cat([part.values.permute(1, 2, 0) for part in (first, second)], dim=-1)
    return replace(
        first,
        values=values.permute(2, 0, 1),
        labels=torch.cat([first.labels, second.labels]),
        groups=first.groups + second.groups,
        domains=first.domains + second.domains,
        question_ids=first.question_ids + second.question_ids,
        n_tokens=torch.cat([first.n_tokens, second.n_tokens]),
    )


def _without_neurons(data: Contributions, detector: Detector) -> Contributions:
    """The contributions with the selected neurons set to zero: a probe cannot use them."""
    values = data.neuron_major.clone()
    values[detector.weights.flatten() != 0] = 0
    shape = (data.n_layers, data.d_mlp, len(data))
    return replace(data, values=values.reshape(shape).permute(2, 0, 1))


def _random_directions(
    train: Contributions, test: Contributions, detector: Detector, *, draws: int, seed: int
) -> Row:
    """As many random directions through all neurons as neurons were selected, refitted alike."""
    k = max(1, len(detector.selected))
    deviation = train.neuron_major.float().std(dim=1)
    unit = torch.where(deviation > 0, 1 / deviation.clamp_min(1e-12), 0)
    areas: list[float] = []
    for draw in range(draws):
        maker = torch.Generator().manual_seed(seed * draws + draw)
        mix = torch.randn(k, len(unit), generator=maker) * unit
        scores = refit_scores(_project(train, mix), _project(test, mix), neurons=range(k))
        areas.append(auroc(scores, test.labels.numpy()))
    spread = summarise_repeats(areas, len(test))
    note = f"as many as neurons; mean and central 95 % of {draws} draws"
    return {"control": Refit.RANDOM_DIRECTIONS, **spread.to_row(), "neurons": 0, "note": note}


def _project(data: Contributions, mix: Tensor) -> Contributions:
    return replace(data, values=(mix @ data.neuron_major.float()).T[:, None, :])


def _second_judge(
    train: Contributions,
    test: Contributions,
    fixed: BaseEstimator,
    *,
    second: tuple[Tensor, Tensor],
    table: _Rows,
) -> Row:
    """Fitted to and tested on the labels of another judge; answers it leaves open are left out."""
    labelled = [given >= 0 for given in second]
    parts = [
        replace(part.select(rows), labels=given[rows] > 0)
        for part, given, rows in zip((train, test), second, labelled, strict=True)
    ]
    changed = sum(
        int((relabelled.labels != part.labels[rows]).sum())
        for part, relabelled, rows in zip((train, test), parts, labelled, strict=True)
    )
    left = sum(int((~rows).sum()) for rows in labelled)
    note = f"{changed} labels differ, {left} are left open"
    try:
        other = fit_detector(parts[0], fixed)
        return table.row(Refit.SECOND_JUDGE, other, parts[1], paired=False, note=note)
    except HlensError as error:  # the other judge may leave one label only
        return {"control": Refit.SECOND_JUDGE, "n": len(parts[1]), "note": f"{note}; {error}"}


def _flipped_labels(
    train: Contributions, test: Contributions, fixed: BaseEstimator, *, draws: int, seed: int
) -> Iterator[Row]:
    """A share of the training labels made wrong at random; the test labels stay."""

    def score(labels: np.ndarray) -> float:
        wrong = replace(train, labels=torch.from_numpy(labels))
        return auroc(fit_detector(wrong, fixed)(test).numpy(), test.labels.numpy())

    table = flip_sensitivity(train.labels.numpy(), score, FLIPS, draws, seed)
    for row in table.to_dict("records"):
        spread = replace(Estimate.from_row(row, "value"), n=len(test))
        note = f"training labels only; mean, least and greatest of {draws} draws"
        name = f"{100 * row['rate']:g} % of labels flipped"
        yield {"control": name, **spread.to_row(), "note": note}
