"""The H-neuron detector among its rivals: scores, AUROC, paired differences, and what each costs.

Every detector scores the same held-out examples, and the training part out of fold, so that what
is learned from scores later (added value, confounds) never sees a score of its own fit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from hlens.audit.over_output import combined_scores
from hlens.baselines import Rival
from hlens.errors import HlensError
from hlens.evaluation import estimate_auroc
from hlens.evaluation.paired import compare_auroc
from hlens.evaluation.significance import holm
from hlens.probe import SparseProbe
from hlens.probe.nested import nested_scores
from hlens.types import Detector, Evidence
from hlens.types.estimate import from_chance
from hlens.types.labels import COMBINED, H_NEURONS, NOT_AVAILABLE, OUTPUT, Part

COLUMNS = [
    "detector", "auroc", "low", "high", "n", "difference", "difference_low", "difference_high",
    "p", "p_corrected", "passes", "samples", "note",
]  # fmt: skip
FOLDS = 5
OWN_COST = (1, 0)  # the pass in which neurons are read, as rivals that read the inside are charged

Scores = Mapping[str, Float[np.ndarray, " example"]]


def leaderboard(
    scores: Scores,
    labels: Bool[np.ndarray, " example"],
    *,
    groups: Sequence[str],
    costs: Mapping[str, tuple[int, int]] | None = None,
    missing: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """All detectors on the same held-out examples, the farthest from chance first.

    `scores` has those of each detector by its name; ``"H-neurons"`` is compared with all others.
    `costs` are extra forward passes and further samples for one new answer, `missing` says why a
    detector could not be run. Intervals are those of `estimate_auroc`.

    Returns:
        Columns ``detector, auroc, low, high, n, difference, difference_low, difference_high, p,
        p_corrected, passes, samples, note``. ``difference`` is the AUROC of the H-neurons less
        this one, with its 95 % interval and two-sided p by DeLong's paired test, clustered by
        group; ``p_corrected`` is Holm's over the table. A missing detector has its reason as note.
        ``"H-neurons + output"`` holds the H-neurons, so it is shown without a difference.

    Raises:
        HlensError: No scores of ``"H-neurons"``, one class only, or a score that is not finite.
    """
    if H_NEURONS not in scores:
        raise HlensError(f"no scores of {H_NEURONS!r} among {', '.join(scores) or 'none'}")
    rows: list[dict[str, Any]] = []
    for name, score in scores.items():
        auroc = estimate_auroc(score, labels, groups=groups)
        passes, samples = (costs or {}).get(name, (None, None))
        row = {"detector": name, **auroc.to_row(), "passes": passes, "samples": samples, "note": ""}
        if name not in (H_NEURONS, COMBINED):  # which is no rival: it holds them
            row |= compare_auroc(scores[H_NEURONS], score, labels=labels, groups=groups)
        rows.append(row)
    rows.sort(key=lambda row: -from_chance(row["auroc"]))
    for name, reason in (missing or {}).items():
        rows.append({"detector": name, "n": 0, "note": f"{NOT_AVAILABLE}{reason}"})
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["p_corrected"] = holm(table["p"].to_numpy(dtype=float))
    return table


def score_all(
    evidence: Evidence,
    in_test: Bool[np.ndarray, " example"],
    *,
    probe: SparseProbe,
    detector: Detector,
    rivals: Sequence[Rival],
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Scores of the H-neurons, of all rivals, and of the H-neurons beside the output numbers.

    The probe is refitted in folds of the training part, its choice of C included; `detector`, which
    it found on the whole of it, scores the rows that `in_test` holds out. Rivals are scored on the
    same folds. `progress` is called with the number of scorings done and of all.

    Returns:
        Columns ``detector, part, score, passes, samples, note``: for every detector its rows of
        ``train`` and then of ``test``, in the order of the evidence. One that could not be run has
        a single row with the reason as note.
    """
    inside = torch.from_numpy(~in_test)
    evidence = replace(evidence, measured={})  # no rival reads it, and a fold would copy it
    train, test = evidence.select(inside), evidence.select(~inside)
    own = nested_scores(train.contributions, probe, folds=FOLDS)
    both = {Part.TRAIN: own.scores, Part.TEST: detector(test.contributions).double().numpy()}
    score = _Scorer(seed, progress, sum(1 + (FOLDS if rival.learns else 1) for rival in rivals))
    of_test = score(rivals, train, test)
    of_train = _score_out_of_fold(score, rivals, train, own.fold)
    tables = [_score_rows(H_NEURONS, both, OWN_COST)]
    for rival in rivals:
        name, cost = rival.name, rival.cost(evidence)
        if name in score.missing:
            row = {"detector": name, "part": "", "score": np.nan, "passes": 0, "samples": 0}
            tables.append(pd.DataFrame([row | {"note": score.missing[name]}]))
            continue
        parts = {Part.TRAIN: of_train[name], Part.TEST: of_test[name]}
        tables.append(_score_rows(name, parts, (cost.passes, cost.samples)))
    if OUTPUT in of_train:
        both = combined_scores(train, test, detector=detector, own=own)
        tables.append(_score_rows(COMBINED, both, OWN_COST))
    return pd.concat(tables, ignore_index=True)


def scores_of(table: pd.DataFrame, part: Part) -> dict[str, np.ndarray]:
    """Scores of each detector that could be run, on one part of a table of `score_all`."""
    own = table.loc[table["part"] == part]
    return {
        str(name): rows["score"].to_numpy() for name, rows in own.groupby("detector", sort=False)
    }


class _Scorer:
    """Lets rivals score; one that cannot is left out from then on, and the reason is kept."""

    def __init__(self, seed: int, progress: Callable[[int, int], None] | None, total: int) -> None:
        self.seed, self.progress, self.total = seed, progress, total
        self.done = 0
        self.missing: dict[str, str] = {}

    def __call__(
        self, rivals: Sequence[Rival], train: Evidence, test: Evidence
    ) -> dict[str, np.ndarray]:
        scores = {}
        for rival in rivals:
            try:
                if rival.name not in self.missing:
                    scores[rival.name] = rival(train, test, self.seed).double().numpy()
            except HlensError as error:  # one that fails must not take the audit with it
                self.missing[rival.name] = str(error)
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)
        return scores


def _score_out_of_fold(
    score: _Scorer, rivals: Sequence[Rival], train: Evidence, fold: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores of the training part; where nothing is fitted, nothing needs to be out of fold."""
    scores = score([rival for rival in rivals if not rival.learns], train, train)
    learners = [rival for rival in rivals if rival.learns]
    scores |= {rival.name: np.empty(len(train)) for rival in learners}
    for part in np.unique(fold):  # a fold's evidence is selected once for all rivals
        held_out = torch.from_numpy(fold == part)
        of_fold = score(learners, train.select(~held_out), train.select(held_out))
        for name, values in of_fold.items():
            scores[name][fold == part] = values
    return scores


def _score_rows(name: str, both: Mapping[Part, np.ndarray], cost: tuple[int, int]) -> pd.DataFrame:
    parts = (pd.DataFrame({"part": str(part), "score": score}) for part, score in both.items())
    rows = pd.concat(parts)
    rows.insert(0, "detector", name)
    return rows.assign(passes=cost[0], samples=cost[1], note="")
