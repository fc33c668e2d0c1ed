"""What a user pays for: what the neurons add to the numbers of the model's own output.

Problem: the probabilities of an answer's tokens cost nothing, and read well. A detector that beats
each of them may add nothing to all of them together.

Idea: one logistic model of the output numbers, one with the neurons' score among them, both fitted
in the training part; how far is the held-out AUROC of the second above that of the first? Beside
it the gain in likelihood when the neurons' score joins the output numbers and their squares, with a
permutation p whose null keeps all that these say of the neurons (`hlens.audit.added`): kept is each
number, not the first model's score alone, or else a copy of one of them would pass for a gain.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from hlens.audit.added import Groups, Known, Labels, gain
from hlens.evaluation import estimate_auroc
from hlens.evaluation.paired import compare_auroc
from hlens.probe.nested import NestedScores
from hlens.probe.stacking import combine, stacked_scores
from hlens.types import Detector, Evidence
from hlens.types.combined import NEURONS
from hlens.types.labels import COMBINED, H_NEURONS, OUTPUT, Part
from hlens.types.output_numbers import output_numbers

COLUMNS = [
    "output", "output_low", "output_high", "both", "both_low", "both_high", "difference",
    "difference_low", "difference_high", "gain", "gain_low", "gain_high", "p", "n",
]  # fmt: skip

InTraining = Mapping[str, Float[np.ndarray, " example"]]
InTest = Mapping[str, Float[np.ndarray, " row"]]


def combined_scores(
    train: Evidence, test: Evidence, *, detector: Detector, own: NestedScores
) -> dict[Part, np.ndarray]:
    """Scores by the output numbers with the neurons: of the training part out of fold, of the test.

    `own` are the neurons' scores of the training part.

    Raises:
        HlensError: Evidence without output numbers.
    """
    found = combine(train, detector, own.scores, fold=own.fold, calibration=None)
    both = output_numbers(train) | {NEURONS: own.scores}
    inside = stacked_scores(both, train.labels.numpy(), fold=own.fold)
    return {Part.TRAIN: inside, Part.TEST: found(test)}


def numbers_of(evidence: Evidence, in_test: np.ndarray) -> Known:
    """The output numbers of each answer of both parts; no column where they are not known."""
    if evidence.logprobs is None:
        columns = np.empty((len(in_test), 0))
    else:
        columns = np.stack(list(output_numbers(evidence).values()), axis=1)
    return columns[~in_test], columns[in_test]


def over_output(
    train: InTraining,
    test: InTest,
    *,
    numbers: Known,
    labels: Labels,
    groups: Groups,
    permutations: int = 999,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """What the neurons add to the output numbers, in one row.

    `train` and `test` hold the scores of each detector by its name, as `score_all` gives them:
    the H-neurons, the output numbers, and both; none of the last two gives an empty table.
    `numbers` (of `numbers_of`), `labels` and `groups` are of both parts, whose groups are never
    split.

    Returns:
        Columns ``output`` and ``both`` (held-out AUROC without and with the neurons, each with
        ``_low`` and ``_high``), ``difference, difference_low, difference_high`` (DeLong's paired
        interval, clustered by group), ``gain, gain_low, gain_high`` (mean log-likelihood of an
        answer, millinats), ``p`` (of the gain, by permutation) and ``n``.
    """
    if COMBINED not in test:
        return pd.DataFrame(columns=COLUMNS)
    more, p = gain(
        numbers,
        (train[H_NEURONS], test[H_NEURONS]),
        labels=labels,
        groups=groups,
        permutations=permutations,
        n_boot=n_boot,
        seed=seed,
    )
    row: dict[str, Any] = {}
    for name, which in (("output", OUTPUT), ("both", COMBINED)):
        auroc = estimate_auroc(test[which], labels[1], groups=groups[1])
        row |= auroc.to_row(name, ends=f"{name}_")
    paired = compare_auroc(test[COMBINED], test[OUTPUT], labels=labels[1], groups=groups[1])
    row |= {name: value for name, value in paired.items() if name != "p"}
    row |= more.to_row("gain", ends="gain_") | {"p": p, "n": len(labels[1])}
    return pd.DataFrame([row]).reindex(columns=COLUMNS)
