"""The four readings of one set of held-out answers, their paired differences, and the drift."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from hlens.errors import HlensError
from hlens.evaluation.auroc import check_both_classes, paired_difference
from hlens.evaluation.intervals import Sizes, difference_interval, estimate_auroc
from hlens.evaluation.scores import balanced_accuracy_difference, estimate_accuracy
from hlens.evaluation.significance import holm
from hlens.probe import SparseProbe, find
from hlens.siblings.describe import describe
from hlens.siblings.drift import check_same_examples, neuron_drift
from hlens.siblings.realignment import check_readable, realign
from hlens.types import Contributions, Detector, same_fingerprint
from hlens.types.labels import SiblingReading

# Which reading is compared with which, each the answer to a question of its own.
PAIRS = (
    (SiblingReading.AS_IS, SiblingReading.HOME),  # is anything lost?
    (SiblingReading.REALIGNED, SiblingReading.AS_IS),  # does realigning mend it?
    (SiblingReading.REALIGNED, SiblingReading.HOME),  # wholly?
    (SiblingReading.REFITTED, SiblingReading.REALIGNED),  # is there more to be had?
    (SiblingReading.REFITTED, SiblingReading.HOME),  # as much as at home?
)


@dataclass(frozen=True, eq=False)
class SiblingComparison:
    """A detector on a sibling of its model, beside itself at home.

    Attributes:
        scores: One row a `SiblingReading`: ``detector, model``, held-out ``auroc`` with ``low`` and
            ``high``, ``balanced_accuracy`` at the threshold fixed in training with
            ``accuracy_low`` and ``accuracy_high``, ``n``, the ``neurons`` that it reads, and how
            many of these are the home detector's (``shared``; ``shared_by_chance`` in sets that
            have as many neurons in each layer).
        differences: One row for each of `PAIRS`: ``detector, against``, ``difference`` of AUROC
            with ``difference_low``, ``difference_high``, ``p`` and ``p_corrected`` (Holm), and
            ``accuracy_difference`` of balanced accuracy with its ends, all paired.
        drift: One row a selected neuron; see `hlens.siblings.neuron_drift`.
    """

    scores: pd.DataFrame
    differences: pd.DataFrame
    drift: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """One row a reading, with its difference from home beside it."""
        own = self.differences.loc[self.differences["against"] == SiblingReading.HOME]
        return self.scores.merge(own.drop(columns=["against", "n"]), on="detector", how="left")

    def in_words(self) -> list[str]:
        """What the numbers say, a sentence or two each, by rules that follow the intervals."""
        return describe(self.scores, self.differences, self.drift)


def compare_siblings(
    detector: Detector,
    home: Contributions,
    sibling: Contributions,
    *,
    held_out: Collection[str],
    probe: SparseProbe | None = None,
    realigned: Detector | None = None,
    refitted: Detector | None = None,
    weights: pd.DataFrame | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> SiblingComparison:
    """A detector on held-out answers at home, on a sibling as is, realigned, and found afresh.

    This is the explicit way to read another model with a detector; everywhere else that is refused.
    The answers are the home model's. What the sibling would answer itself is not asked here: see
    `hlens.origin.trace_origin` for a base model's own answers.

    Args:
        detector: Found on the training part at home.
        home: Contributions of the home model, training and held-out part together.
        sibling: Those of the sibling to the same examples, in the same order.
        held_out: Groups of the held-out part, as in ``held_out=test.groups``.
        probe: What is fitted on the sibling's training part; that of `hlens.find` when None.
        realigned: The detector realigned on rows of your own; realigned on the training part,
            without its labels, when None.
        refitted: Found on the sibling's training part; found here when None.
        weights: From `compare_weights`, for the drift.
        n_boot: Bootstrap samples of the intervals of balanced accuracy; AUROCs need none.
        seed: Their seed.

    Raises:
        HlensError: No selected neuron, another shape, metric or region, other examples, the very
            same contributions, or a part of one class only.
    """
    check_readable(detector, home, sibling)
    check_same_examples(home, sibling)
    same_model = same_fingerprint(home.provenance.fingerprint, sibling.provenance.fingerprint)
    if same_model and torch.equal(home.values, sibling.values):
        raise HlensError(
            f"the sibling's contributions are those of {home.provenance.model or 'the home model'} "
            "itself, so it is no sibling; measure another model on the same examples"
        )
    outside = set(held_out)
    in_test = torch.tensor([group in outside for group in home.groups])
    if not bool(in_test.any()) or bool(in_test.all()):
        raise HlensError(
            f"{int(in_test.sum())} of {len(home)} examples are held out; expected some of each "
            "part: give the groups of the test part, held_out=test.groups"
        )
    there, train_there = sibling.select(in_test), sibling.select(~in_test)
    if realigned is None:
        realigned = realign(detector, home.select(~in_test), train_there)
    if refitted is None:
        refitted = find(train_there, probe, calibration=None)
    as_is = replace(detector, provenance=sibling.provenance)
    readings = {
        SiblingReading.HOME: _Reading.of(detector, home.select(in_test)),
        SiblingReading.AS_IS: _Reading.of(as_is, there),
        SiblingReading.REALIGNED: _Reading.of(realigned, there),
        SiblingReading.REFITTED: _Reading.of(refitted, there),
    }
    shared: dict[str, Any] = {"labels": there.labels.numpy(), "groups": there.groups}
    resampled = {**shared, "n_boot": n_boot, "seed": seed}
    check_both_classes(shared["labels"], "a sibling")
    return SiblingComparison(
        scores=_scores(readings, detector, resampled),
        differences=_differences(readings, shared, resampled),
        drift=neuron_drift(detector, home, sibling, weights=weights),
    )


@dataclass(frozen=True, eq=False)
class _Reading:
    """What one detector says of the held-out answers."""

    detector: Detector
    score: Float[np.ndarray, " example"]
    said: Bool[np.ndarray, " example"]

    @classmethod
    def of(cls, detector: Detector, data: Contributions) -> "_Reading":
        score = detector(data).double().numpy()
        return cls(detector, score, score >= detector.threshold)


def _scores(
    readings: dict[SiblingReading, _Reading], home: Detector, resampled: dict[str, Any]
) -> pd.DataFrame:
    labels, groups = resampled["labels"], resampled["groups"]
    rows = []
    for name, reading in readings.items():
        auroc = estimate_auroc(reading.score, labels, groups=groups)
        accuracy = estimate_accuracy(reading.said, balanced=True, **resampled)
        shared, by_chance = _shared(home, reading.detector)
        rows.append({
            "detector": name.value,
            "model": reading.detector.provenance.model,
            **auroc.to_row(),
            **accuracy.to_row("balanced_accuracy", ends="accuracy_"),
            "neurons": len(reading.detector.selected),
            "shared": shared,
            "shared_by_chance": by_chance,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _shared(home: Detector, other: Detector) -> tuple[int, float]:
    """Neurons that both selected, and how many sets of as many in each layer have by chance.

    Counted by place: as neurons of two models they are two sets, which `NeuronSet` does not mix.
    """
    one, two = home.selected, other.selected
    by_chance = sum(a * b for a, b in zip(one.per_layer(), two.per_layer(), strict=True))
    return len(one.members & two.members), by_chance / one.d_mlp


def _differences(
    readings: dict[SiblingReading, _Reading], shared: dict[str, Any], resampled: dict[str, Any]
) -> pd.DataFrame:
    sizes = Sizes.of(shared["labels"], shared["groups"])
    rows = []
    for first, second in PAIRS:
        one, two = readings[first], readings[second]
        difference, p = difference_interval(
            *paired_difference(one.score, two.score, **shared), sizes=sizes
        )
        accuracy = balanced_accuracy_difference(one.said, two.said, **resampled)
        rows.append({
            "detector": first.value,
            "against": second.value,
            **difference.to_row("difference", ends="difference_"),
            "p": p,
            **accuracy.to_row("accuracy_difference", ends="accuracy_difference_"),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    corrected = holm(table["p"].to_numpy(dtype=float))
    table.insert(list(table).index("p") + 1, "p_corrected", corrected)
    return table
