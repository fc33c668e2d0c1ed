"""The probe fitted again with one thing changed: seed, scale, penalty, tokens, labels or neurons.

The AUROC of each row says whether the reading survives the change, ``shared`` whether the same
neurons do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hlens.audit.leaderboard import compare_auroc
from hlens.counting import count
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
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC and neurons of the probe when one thing at a time is changed.

    Fits on the same measure keep the C that the probe chose when it found the detector. `others`
    are the same examples (training and test, any order of groups) measured another way, by what was
    changed, such as ``"where tokens are predicted"``; C is chosen again. `second` has the labels of
    both parts by a second judge: 1 for hallucinated, 0 for true, -1 where it gives no label.
    `draws` counts sets of random directions, `flip_draws` wrong labels for each share of them.

    Returns:
        Columns ``control, auroc, low, high, n, neurons, shared, difference, difference_low,
        difference_high, p, note``. ``shared`` is the part of the smaller of both sets of
        H-neurons that is also in the other; ``difference`` the AUROC as found less this one, where
        the test examples are the same.

    Raises:
        HlensError: A fit that fails on these data, such as for want of one label.
    """
    rows = _Refits(train, test, probe, detector, seed)
    table = [rows.row(Refit.AS_FOUND, detector), *rows.other_settings(), rows.other_split()]
    table += [rows.without_neurons(), rows.random_directions(draws)]
    table += [rows.other_measure(name, data) for name, data in (others or {}).items()]
    if second is not None:
        table += rows.second_judge(second)
    table += rows.flipped_labels(flip_draws)
    return pd.DataFrame(table).reindex(columns=COLUMNS)


def under_second_judge(
    train: Contributions,
    test: Contributions,
    *,
    probe: SparseProbe,
    detector: Detector,
    second: tuple[Tensor, Tensor],
    seed: int = 0,
) -> pd.DataFrame:
    """The rows of `refits` that say what becomes of the finding under a second judge's labels.

    Returns:
        Columns as of `refits`; rows as found, the same detector scored by the second judge's
        labels, and a detector fitted to these labels and scored by them.
    """
    rows = _Refits(train, test, probe, detector, seed)
    table = [rows.row(Refit.AS_FOUND, detector), *rows.second_judge(second)]
    return pd.DataFrame(table).reindex(columns=COLUMNS)


@dataclass(eq=False)
class _Refits:
    """Rows of the table: every fit is compared with the detector as found."""

    train: Contributions
    test: Contributions
    probe: SparseProbe
    as_found: Detector
    seed: int

    def __post_init__(self) -> None:
        self.fixed = fix_C(self.probe, self.as_found)
        self.scores = self.as_found(self.test).double().numpy()

    def row(
        self,
        name: str,
        detector: Detector,
        test: Contributions | None = None,
        *,
        paired: bool = True,
        note: str = "",
    ) -> Row:
        test = self.test if test is None else test
        scores, labels = detector(test).double().numpy(), test.labels.numpy()
        own = estimate_auroc(scores, labels, groups=test.groups)
        row: Row = {"control": name, **own.to_row(), "neurons": len(detector.selected)}
        row |= {"shared": shared_part(self.as_found.neurons, detector.neurons), "note": note}
        if paired and detector is not self.as_found:
            row |= compare_auroc(self.scores, scores, labels=labels, groups=test.groups)
        return row

    def other_settings(self) -> Iterator[Row]:
        """Neighbours on the path, then the other scales."""
        chosen = self.as_found.fit.get("C")
        if chosen is not None:
            for factor, name in ((0.5, Refit.HALF_C), (2.0, Refit.TWICE_C)):
                other = SparseProbe(**{**self.fixed.get_params(), "C": factor * float(chosen)})
                yield self.row(name, fit_detector(self.train, other))
        by_neuron, by_layer = Refit.SCALED_BY_NEURON, Refit.SCALED_BY_LAYER
        for scale, name in ((None, Refit.UNSCALED), ("feature", by_neuron), ("layer", by_layer)):
            if scale != self.probe.scale:
                # C is in the units of the contributions: another scale needs a C of its own, which
                # liblinear cannot choose.
                own = {"scale": scale, "C": "cv", "solver": "exact"}
                other = SparseProbe(**{**self.probe.get_params(), **own})
                yield self.row(name, fit_detector(self.train, other))

    def other_split(self) -> Row:
        """Trained and tested on other parts of the same data, of the same sizes."""
        whole = Contributions.concatenate([self.train, self.test])
        first, second = split_by_group(whole, len(self.test) / len(whole), seed=self.seed + 1)
        return self.row(Refit.OTHER_SPLIT, fit_detector(first, self.fixed), second, paired=False)

    def without_neurons(self) -> Row:
        """Fitted with the selected neurons set to zero: a probe cannot use them."""
        train = self.train
        values = train.neuron_major.clone()
        values[self.as_found.weights.flatten() != 0] = 0
        values = values.reshape(train.n_layers, train.d_mlp, len(train)).permute(2, 0, 1)
        other = fit_detector(replace(train, values=values), self.fixed)
        return self.row(Refit.WITHOUT_NEURONS, other)

    def other_measure(self, name: str, data: Contributions) -> Row:
        """The same examples, measured another way; paired when they are in the same order."""
        inside = set(self.train.groups)
        in_train = torch.tensor([group in inside for group in data.groups])
        test = data.select(~in_train)
        paired = test.question_ids == self.test.question_ids
        other = fit_detector(data.select(in_train), self.probe)
        return self.row(name, other, test, paired=paired)

    def random_directions(self, draws: int) -> Row:
        """As many random directions through all neurons as neurons were selected, refitted."""
        train, test, k = self.train, self.test, max(1, len(self.as_found.selected))
        deviation = train.neuron_major.float().std(dim=1)
        # Directions in units of standard deviations: large neurons must not make them all alike.
        unit = torch.where(deviation > 0, 1 / deviation.clamp_min(1e-12), 0)
        areas: list[float] = []
        for draw in range(draws):
            maker = torch.Generator().manual_seed(self.seed * draws + draw)
            mix = torch.randn(k, len(unit), generator=maker) * unit
            scores = refit_scores(_project(train, mix), _project(test, mix), neurons=range(k))
            areas.append(auroc(scores, test.labels.numpy()))
        spread = summarise_repeats(areas, len(test))
        note = f"as many as neurons; mean and central 95 % of {count(draws, 'draw')}"
        return {"control": Refit.RANDOM_DIRECTIONS, **spread.to_row(), "neurons": 0, "note": note}

    def second_judge(self, second: tuple[Tensor, Tensor]) -> Iterator[Row]:
        """As found and fitted anew, tested on another judge's labels; what it leaves open is left.

        The first row says whether the detector found under one judge reads what the other calls
        hallucinated, the second whether the finding can be made under the other judge alone.
        """
        parts, changed, left = [], 0, 0
        for part, given in zip((self.train, self.test), second, strict=True):
            labelled = part.select(given >= 0)
            labels = given[given >= 0] > 0
            changed += int((labels != labelled.labels).sum())
            left += int((given < 0).sum())
            parts.append(replace(labelled, labels=labels))
        note = f"{count(changed, 'label')} differ, {left} are left open"
        fits = {
            Refit.SECOND_LABELS: lambda: self.as_found,
            Refit.SECOND_JUDGE: lambda: fit_detector(parts[0], self.fixed),
        }
        for name, fit in fits.items():
            try:
                yield self.row(name, fit(), parts[1], paired=False, note=note)
            except HlensError as error:  # the other judge may leave one label only
                yield {"control": name, "n": len(parts[1]), "note": f"{note}; {error}"}

    def flipped_labels(self, draws: int) -> Iterator[Row]:
        """A share of the training labels made wrong at random; the test labels stay."""
        train, test = self.train, self.test

        def score(labels: np.ndarray) -> float:
            wrong = replace(train, labels=torch.from_numpy(labels))
            return auroc(fit_detector(wrong, self.fixed)(test).numpy(), test.labels.numpy())

        table = flip_sensitivity(
            train.labels.numpy(), score, rates=FLIPS, draws=draws, seed=self.seed
        )
        for row in table.to_dict("records"):
            spread = replace(Estimate.from_row(row, "value"), n=len(test))
            note = f"training labels only; mean, least and greatest of {count(draws, 'draw')}"
            name = f"{100 * row['rate']:g} % of labels flipped"
            yield {"control": name, **spread.to_row(), "note": note}


def shared_part(a: NeuronSet, b: NeuronSet) -> float:
    """Part of the smaller set that is also in the other; NaN where one is empty."""
    smaller = min(len(a), len(b))
    return len(a & b) / smaller if smaller else float("nan")


def _project(data: Contributions, mix: Tensor) -> Contributions:
    return replace(data, values=(mix @ data.neuron_major.float()).T[:, None, :])
