"""Where in time it is readable: AUROC against the token at which neurons are read.

Problem: a detector that reads the answer's tokens knows what was written there. Whether the neurons
knew before a word was written, and whether they know more than the probabilities of the words
written so far, is another question at every token.

Idea: the probe is fitted anew on the neurons at one token: the last ones of the prompt, then each
token of the answer. Token t can be read where it is the input, or one token earlier, where the
model predicts it; both are read on the same answers, those that have a token t. Beside the neurons
stand the output numbers of what is written so far, neurons and numbers together, and what gives a
label away at any place: the words of the question, and how long the answer will be.

Example: the answer "Port Louis" has two tokens. At ``prompt-1``, and where its first token is
predicted, no word of it is there; at token 0, read, "Port" is, and its log-probability is known.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool

from hlens import baselines
from hlens.errors import HlensError
from hlens.evaluation import estimate_auroc
from hlens.evaluation.paired import compare_auroc
from hlens.evaluation.significance import holm
from hlens.probe import SparseProbe
from hlens.probe.finding import fit_out_of_fold
from hlens.probe.stacking import stack
from hlens.types import Contributions, Evidence
from hlens.types.combined import NEURONS
from hlens.types.labels import COMBINED, H_NEURONS, OUTPUT, Place
from hlens.types.output_numbers import numbers_so_far

BEFORE = 4  # tokens of the prompt
MOST = 8  # tokens of the answer
FEWEST = 15  # answers of the rarer label in either part, below which a place is left out
RIVALS = ("question", "length")
COLUMNS = [
    "place", "token", "detector", "auroc", "low", "high", "n", "neurons", "difference",
    "difference_low", "difference_high", "p", "p_corrected",
]  # fmt: skip


@dataclass(frozen=True)
class Position:
    """Where the neurons are read.

    Attributes:
        place: Of the prompt; or where a token of the answer is predicted, or read.
        token: Number of the answer's token, from 0; of the prompt counted back from -1.
    """

    place: Place
    token: int

    @property
    def region(self) -> str:
        """The region that is measured, as `hlens.measure` takes it."""
        if self.place == Place.PROMPT:
            return f"prompt{self.token}"
        return f"answer{self.token - (self.place == Place.PREDICTED):+d}"

    @property
    def n_written(self) -> int:
        """How many of the answer's tokens are there to be read."""
        return 0 if self.place == Place.PROMPT else self.token + int(self.place == Place.READ)


def positions_of(evidence: Evidence, in_test: Bool[np.ndarray, " example"]) -> list[Position]:
    """The positions that leave enough answers of both labels in both parts."""
    behind = []
    for token in range(MOST):
        rows = has_token(evidence, token)
        parts = [evidence.labels.numpy()[rows & part] for part in (in_test, ~in_test)]
        if min(min(part.sum(), (~part).sum()) for part in parts) < FEWEST:
            break
        behind += [Position(Place.PREDICTED, token), Position(Place.READ, token)]
    shortest = int(evidence.n_prompt.min())
    before = [Position(Place.PROMPT, -back) for back in range(min(BEFORE, shortest), 0, -1)]
    return before + behind


def has_token(evidence: Evidence, token: int) -> Bool[np.ndarray, " example"]:
    """Which answers have this token."""
    return evidence.n_tokens.numpy() > token


def position_curve(
    evidence: Evidence,
    in_test: Bool[np.ndarray, " example"],
    measured: Mapping[str, Contributions],
    *,
    probe: SparseProbe,
    rivals: Sequence[str] = RIVALS,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """AUROC at each token, on held-out answers.

    Args:
        evidence: What is known of the answers.
        in_test: Which are held out; a group is on one side.
        measured: Contributions at the regions of `positions_of`, by region; of the answers that
            have such a token, in the order of the evidence.
        probe: Fitted anew at every place on the training part.
        rivals: Members of `hlens.baselines` that are read at each place, too.
        progress: Called with the number of places done and of all.

    Returns:
        Rows of ``place`` (of `Place`), ``token`` and ``detector``: the neurons, the output numbers
        so far, both together and the rivals, each with its AUROC and interval.
        ``neurons`` is how many the probe selects. Of both together ``difference`` is the AUROC less
        that of the output numbers so far, with DeLong's paired interval, ``p`` and, over all
        places, Holm's ``p_corrected``.
    """
    evidence = replace(evidence, measured={})  # which no rival reads, and each place would copy
    positions, rows = positions_of(evidence, in_test), list[dict[str, Any]]()
    for number, position in enumerate(positions):
        there = np.flatnonzero(has_token(evidence, max(0, position.token)))
        data = _rows_of(measured[position.region], evidence, position, there)
        rows += _read(
            evidence.select(there.tolist()), in_test[there], data, position, probe, rivals
        )
        if progress is not None:
            progress(number + 1, len(positions))
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    table["p_corrected"] = holm(table["p"].to_numpy(dtype=float))
    return table


def _rows_of(
    data: Contributions, evidence: Evidence, position: Position, there: np.ndarray
) -> Contributions:
    """The contributions of these answers, of those that were measured."""
    known = np.arange(len(evidence))
    if position.place != Place.PROMPT:  # region answer+k has a row for each answer of k + 1 tokens
        known = np.flatnonzero(has_token(evidence, max(0, position.n_written - 1)))
    if len(known) != len(data):
        raise HlensError(
            f"{data.region}: {len(data)} answers were measured, and {len(known)} have that token; "
            "measure the answers of the evidence"
        )
    return data.select(np.searchsorted(known, there).tolist())


def _read(
    evidence: Evidence,
    in_test: Bool[np.ndarray, " example"],
    data: Contributions,
    position: Position,
    probe: SparseProbe,
    rivals: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """The rows of one place."""
    inside = torch.from_numpy(~in_test)
    train, test = evidence.select(inside), evidence.select(~inside)
    own_train, own_test = data.select(inside), data.select(~inside)
    found = fit_out_of_fold(own_train, probe)
    detector, labels = found.freeze(own_train), train.labels.numpy()
    scores = {H_NEURONS: detector(own_test).double().numpy()}
    so_far = [numbers_so_far(part, position.n_written) for part in (train, test)]
    if position.place == Place.PROMPT and position.token < -1:
        so_far = [{}, {}]  # the model predicts a word of the prompt there
    if so_far[0]:
        scores[OUTPUT] = stack(so_far[0], labels, fold=found.fold)(so_far[1])
        joined = stack(so_far[0] | {NEURONS: found.scores}, labels, fold=found.fold)
        scores[COMBINED] = joined(so_far[1] | {NEURONS: scores[H_NEURONS]})
    for name in rivals:
        scores[name] = baselines.named(name)(train, test).double().numpy()
    for name, score in scores.items():
        own = estimate_auroc(score, test.labels.numpy(), groups=test.groups)
        row = {"place": str(position.place), "token": position.token, "detector": name}
        row |= own.to_row()
        if name == H_NEURONS:
            row["neurons"] = len(detector.selected)
        if name == COMBINED:
            row |= compare_auroc(
                score, scores[OUTPUT], labels=test.labels.numpy(), groups=test.groups
            )
        yield row
