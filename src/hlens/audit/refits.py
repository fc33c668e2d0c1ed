"""The same finding, made otherwise: other seeds, scales, penalties, tokens, labels, neurons.

Each row changes one thing. The AUROC says whether the reading survives it, ``shared`` whether the
same neurons do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from hlens.audit.leaderboard import paired_difference
from hlens.errors import HlensError
from hlens.evaluation import auroc, estimate_auroc, fit_detector, split_by_group
from hlens.evaluation.controls import settled, spread
from hlens.evaluation.fitting import refit_scores
from hlens.judges import flip_sensitivity
from hlens.probe import SparseProbe
from hlens.types import Contributions, Detector, NeuronSet
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
    probe: SparseProbe,
    detector: Detector,
    others: Mapping[str, Contributions] | None = None,
    second: tuple[Tensor, Tensor] | None = None,
    draws: int = 20,
    flip_draws: int = 3,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC and neurons of the probe when one thing at a time is made otherwise.

    Args:
        train: Contributions that the detector was found on.
        test: Held-out contributions.
        probe: The probe that found it. Fits on the same measure keep the C that it chose.
        detector: What it found.
        others: The same examples (training and test, any order of groups) measured otherwise, by
            what was changed, such as ``"where tokens are predicted"``; C is chosen anew.
        second: Labels of the training and of the test part by a second judge, 1 for hallucinated,
            0 for true, -1 where it gives no label.
        draws: Sets of random directions.
        flip_draws: Draws of wrong labels for each share of them.
        n_boot: Resamples of whole groups for the intervals.
        seed: Seed of every draw.

    Returns:
        Columns ``control, auroc, low, high, n, neurons, shared, difference, difference_low,
        difference_high, p, note``. ``shared`` is the part of the smaller of both sets of
        H-neurons that stands in the other; ``difference`` the AUROC as found less this one, paired
        where the test examples are the same.

    Raises:
        HlensError: A fit that cannot be made as found.
    """
    told = _Told(test, detector, n_boot, seed)
    fixed = settled(probe, detector)
    rows = [told.row(Refit.AS_FOUND, detector, test)]
    rows += list(_penalties(train, test, fixed, detector, told))
    rows += list(_scales(train, test, probe, told))
    rows.append(_other_split(train, test, fixed, told, seed))
    rows.append(
        told.row(Refit.WITHOUT_NEURONS, fit_detector(_emptied(train, detector), fixed), test)
    )
    rows.append(_random_directions(train, test, detector, draws, seed))
    for name, measured in (others or {}).items():
        rows.append(told.measured(name, measured, train, probe))
    if second is not None:
        rows.append(_second_judge(train, test, fixed, second, told))
    rows += list(_flips(train, test, fixed, flip_draws, seed))
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


class _Told:
    """Rows of the table: every fit beside what was found."""

    def __init__(self, test: Contributions, detector: Detector, n_boot: int, seed: int) -> None:
        self.test, self.found = test, detector
        self.scores = detector(test).double().numpy()
        self.n_boot, self.seed = n_boot, seed

    def row(
        self, name: str, detector: Detector, on: Contributions, paired: bool = True, note: str = ""
    ) -> Row:
        scores, labels = detector(on).double().numpy(), on.labels.numpy()
        own = estimate_auroc(scores, labels, on.groups, self.n_boot, self.seed)
        row: Row = {"control": name, **own.to_row(), "neurons": len(detector.selected)}
        row |= {"shared": shared(self.found.neurons, detector.neurons), "note": note}
        if paired and detector is not self.found:
            row |= paired_difference(self.scores, scores, labels, on.groups)
        return row

    def measured(
        self, name: str, data: Contributions, train: Contributions, probe: SparseProbe
    ) -> Row:
        """The same examples, measured otherwise; paired when they stand in the same order."""
        inside = set(train.groups)
        in_train = torch.tensor([group in inside for group in data.groups])
        on = data.select(~in_train)
        paired = on.question_ids == self.test.question_ids
        return self.row(name, fit_detector(data.select(in_train), probe), on, paired)


def shared(a: NeuronSet, b: NeuronSet) -> float:
    """Part of the smaller set that stands in the other; NaN where one is empty."""
    smaller = min(len(a), len(b))
    return len(a & b) / smaller if smaller else float("nan")


def _penalties(
    train: Contributions, test: Contributions, fixed: BaseEstimator, detector: Detector, told: _Told
) -> Iterator[Row]:
    """Neighbours on the path."""
    chosen = detector.fit.get("C")
    if chosen is None:
        return
    for factor, words in ((0.5, Refit.HALF_C), (2.0, Refit.TWICE_C)):
        beside = SparseProbe(**{**fixed.get_params(), "C": factor * float(chosen)})
        yield told.row(words, fit_detector(train, beside), test)


def _scales(
    train: Contributions, test: Contributions, probe: SparseProbe, told: _Told
) -> Iterator[Row]:
    """On and off, C chosen anew, since it is in the units of the contributions."""
    ways = {None: Refit.UNSCALED, "feature": Refit.SCALED_BY_NEURON, "layer": Refit.SCALED_BY_LAYER}
    for scale, words in ways.items():
        if scale != probe.scale:
            other = SparseProbe(**{**probe.get_params(), "scale": scale, "C": "cv"})
            yield told.row(words, fit_detector(train, other), test)


def _other_split(
    train: Contributions, test: Contributions, fixed: BaseEstimator, told: _Told, seed: int
) -> Row:
    """Trained and tested on other halves of the same data, with another seed of the split."""
    whole = joined(train, test)
    share = len(test) / len(whole)
    first, second = split_by_group(whole, share, seed=seed + 1)
    return told.row(Refit.OTHER_SPLIT, fit_detector(first, fixed), second, paired=False)


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


def _emptied(data: Contributions, detector: Detector) -> Contributions:
    """The contributions with the selected neurons set to zero: a probe cannot use them."""
    values = data.neuron_major.clone()
    values[detector.weights.flatten() != 0] = 0
    shape = (data.n_layers, data.d_mlp, len(data))
    return replace(data, values=values.reshape(shape).permute(2, 0, 1))


def _random_directions(
    train: Contributions, test: Contributions, detector: Detector, draws: int, seed: int
) -> Row:
    """As many random directions through all neurons as neurons were selected, refitted alike."""
    k = max(1, len(detector.selected))
    deviation = train.neuron_major.float().std(dim=1)
    unit = torch.where(deviation > 0, 1 / deviation.clamp_min(1e-12), 0)
    found: list[float] = []
    for draw in range(draws):
        maker = torch.Generator().manual_seed(seed * draws + draw)
        mix = torch.randn(k, len(unit), generator=maker) * unit
        scores = refit_scores(_projected(train, mix), _projected(test, mix), range(k))
        found.append(auroc(scores, test.labels.numpy()))
    own = spread(found, len(test))
    note = f"as many as neurons; mean and central 95 % of {draws} draws"
    return {"control": Refit.RANDOM_DIRECTIONS, **own.to_row(), "neurons": 0, "note": note}


def _projected(data: Contributions, mix: Tensor) -> Contributions:
    return replace(data, values=(mix @ data.neuron_major.float()).T[:, None, :])


def _second_judge(
    train: Contributions,
    test: Contributions,
    fixed: BaseEstimator,
    second: tuple[Tensor, Tensor],
    told: _Told,
) -> Row:
    """Fitted to and tested on the labels of another judge; what it leaves open is left out."""
    parts = [
        replace(part.select(given >= 0), labels=given[given >= 0] > 0)
        for part, given in zip((train, test), second, strict=True)
    ]
    left = sum(int((given < 0).sum()) for given in second)
    changed = sum(
        int((given[given >= 0].bool() != part.labels[given >= 0]).sum())
        for part, given in zip((train, test), second, strict=True)
    )
    note = f"{changed} labels differ, {left} are left open"
    try:
        found = fit_detector(parts[0], fixed)
        return told.row(Refit.SECOND_JUDGE, found, parts[1], paired=False, note=note)
    except HlensError as error:  # the other judge may leave one label only
        return {"control": Refit.SECOND_JUDGE, "n": len(parts[1]), "note": f"{note}; {error}"}


def _flips(
    train: Contributions, test: Contributions, fixed: BaseEstimator, draws: int, seed: int
) -> Iterator[Row]:
    """A share of the training labels made wrong at random; the test labels stay."""

    def score(labels: np.ndarray) -> float:
        wrong = replace(train, labels=torch.from_numpy(labels))
        return auroc(fit_detector(wrong, fixed)(test).numpy(), test.labels.numpy())

    table = flip_sensitivity(train.labels.numpy(), score, FLIPS, draws, seed)
    for row in table.to_dict("records"):
        yield {
            "control": f"{100 * row['rate']:g} % of labels flipped", "auroc": row["value"],
            "low": row["low"], "high": row["high"], "n": len(test),
            "note": f"training labels only; mean, least and greatest of {draws} draws",
        }  # fmt: skip
