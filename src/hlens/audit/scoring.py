"""Every detector on the same examples, out of fold in the training part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool

from hlens.audit.leaderboard import REFERENCE
from hlens.baselines import NotAvailableError, Rival
from hlens.probe import SparseProbe
from hlens.selection.nested import nested_scores
from hlens.types import Detector, Evidence, Example, Judgement, Verdict

TRAIN, TEST = "train", "test"
FOLDS = 5
OWN_COST = (1, 0)  # the pass in which neurons are read, as rivals that read the inside are charged


def score_all(
    evidence: Evidence,
    in_test: Bool[np.ndarray, " example"],
    probe: SparseProbe,
    detector: Detector,
    rivals: Sequence[Rival],
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Scores of the H-neurons and of all rivals.

    Args:
        evidence: What the rivals read, one row an example.
        in_test: Which rows are held out.
        probe: Refitted in folds of the training part, its choice of C included.
        detector: What it found on the whole training part; scores the test part.
        rivals: The rivals; they are scored on the same folds.
        seed: Seed of whatever a rival draws.
        progress: Called with the number of scorings done and of all.

    Returns:
        Columns ``detector, part, score, passes, samples, note``: for every detector its rows of
        ``train`` and then of ``test``, in the order of the evidence. One that could not be run has
        a single row with the reason as note.
    """
    inside = torch.from_numpy(~in_test)
    evidence = replace(evidence, measured={})  # no rival reads it, and a fold would copy it
    train, test = evidence.select(inside), evidence.select(~inside)
    own = nested_scores(train.contributions, probe, folds=FOLDS)
    both = {TRAIN: own.scores, TEST: detector(test.contributions).double().numpy()}
    scoring = _Scoring(seed, progress, sum(1 + (FOLDS if rival.learns else 1) for rival in rivals))
    of_test = scoring(rivals, train, test)
    of_train = _out_of_fold(scoring, rivals, train, own.fold)
    tables = [_scored(REFERENCE, both, OWN_COST)]
    for rival in rivals:
        name, cost = rival.name, rival.cost(evidence)
        if name in scoring.missing:
            tables.append(_absent(name, scoring.missing[name]))
            continue
        parts = {TRAIN: of_train[name], TEST: of_test[name]}
        tables.append(_scored(name, parts, (cost.passes, cost.samples)))
    return pd.concat(tables, ignore_index=True)


def second_labels(examples: Sequence[Example], judgements: Sequence[Judgement]) -> torch.Tensor:
    """What another judge says of each example: 1 hallucinated, 0 true, -1 neither.

    Args:
        examples: The examples.
        judgements: The other judge's, of the responses that they were located in.
    """
    code = {Verdict.HALLUCINATED: 1, Verdict.CORRECT: 0}
    given = {
        (j.response.question.domain, j.response.question.id, j.response.sample): code.get(
            j.verdict, -1
        )
        for j in judgements
    }
    return torch.tensor([given.get((e.domain, e.question_id, e.sample), -1) for e in examples])


class _Scoring:
    """Lets rivals score; one that cannot is not asked again, and the reason is kept."""

    def __init__(self, seed: int, progress: Callable[[int, int], None] | None, total: int) -> None:
        self.seed, self.progress, self.total = seed, progress, total
        self.done = 0
        self.missing: dict[str, str] = {}

    def __call__(
        self, rivals: Sequence[Rival], train: Evidence, test: Evidence
    ) -> dict[str, np.ndarray]:
        found = {}
        for rival in rivals:
            try:
                if rival.name not in self.missing:
                    found[rival.name] = rival(train, test, self.seed).double().numpy()
            except NotAvailableError as error:
                self.missing[rival.name] = str(error)
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)
        return found


def _out_of_fold(
    scoring: _Scoring, rivals: Sequence[Rival], train: Evidence, fold: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores of the training part; where nothing is fitted, nothing needs to be out of fold."""
    found = scoring([rival for rival in rivals if not rival.learns], train, train)
    learners = [rival for rival in rivals if rival.learns]
    found |= {rival.name: np.empty(len(train)) for rival in learners}
    for part in np.unique(fold):  # a fold's evidence is picked out once for all rivals
        held_out = torch.from_numpy(fold == part)
        scores = scoring(learners, train.select(~held_out), train.select(held_out))
        for name, of_fold in scores.items():
            found[name][fold == part] = of_fold
    return found


def _scored(name: str, both: Mapping[str, np.ndarray], cost: tuple[int, int]) -> pd.DataFrame:
    rows = [
        pd.DataFrame({"detector": name, "part": part, "score": score})
        for part, score in both.items()
    ]
    return pd.concat(rows).assign(passes=cost[0], samples=cost[1], note="")


def _absent(name: str, why: str) -> pd.DataFrame:
    row = {"detector": name, "part": "", "score": np.nan, "passes": 0, "samples": 0, "note": why}
    return pd.DataFrame([row])
