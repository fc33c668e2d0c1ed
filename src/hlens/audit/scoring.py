"""Every detector on the same examples, out of fold in the training part."""

from collections.abc import Callable, Mapping, Sequence

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
        progress: Called with the number of rivals done and of all.

    Returns:
        Columns ``detector, part, score, passes, samples, note``: for every detector its rows of
        ``train`` and then of ``test``, in the order of the evidence. One that could not be run has
        a single row with the reason as note.
    """
    inside = torch.from_numpy(~in_test)
    train, test = evidence.select(inside), evidence.select(~inside)
    own = nested_scores(train.contributions, probe, FOLDS)
    both = {TRAIN: own.scores, TEST: detector(test.contributions).double().numpy()}
    tables = [_scored(REFERENCE, both, OWN_COST)]
    for done, rival in enumerate(rivals, start=1):
        try:
            cost = rival.cost(evidence)
            both = _of_rival(rival, train, test, own.fold, seed)
            tables.append(_scored(rival.name, both, (cost.passes, cost.samples)))
        except NotAvailableError as error:
            tables.append(_absent(rival.name, str(error)))
        if progress is not None:
            progress(done, len(rivals))
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


def _of_rival(
    rival: Rival, train: Evidence, test: Evidence, fold: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    found = rival(train, test, seed).double().numpy()
    if not rival.learns:  # nothing is fitted, so nothing needs to be out of fold
        return {TRAIN: rival(train, train, seed).double().numpy(), TEST: found}
    own = np.empty(len(train))
    for part in np.unique(fold):
        held_out = torch.from_numpy(fold == part)
        own[fold == part] = rival(train.select(~held_out), train.select(held_out), seed).numpy()
    return {TRAIN: own, TEST: found}


def _scored(name: str, both: Mapping[str, np.ndarray], cost: tuple[int, int]) -> pd.DataFrame:
    rows = [
        pd.DataFrame({"detector": name, "part": part, "score": score})
        for part, score in both.items()
    ]
    return pd.concat(rows).assign(passes=cost[0], samples=cost[1], note="")


def _absent(name: str, why: str) -> pd.DataFrame:
    row = {"detector": name, "part": "", "score": np.nan, "passes": 0, "samples": 0, "note": why}
    return pd.DataFrame([row])
