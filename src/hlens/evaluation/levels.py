"""Long answers: does a detector find the token, the span or the response that is wrong?

Problem: one number on whole responses says little about an answer of 400 tokens, four of which are
wrong. A detector may find the wrong span and miss the response, whose mean drowns it, or rank
responses by their length and find no span at all.

Idea: one table over three levels. A token takes the label of the span that covers it; one that no
span covers has none. A span has its own label, a response that of its judge. The response's score
is the mean of its tokens, their maximum, or calibrated: the chance that at least one of its spans
is hallucinated, 1 - product of (1 - probability), as if they were independent. Length and position
stand in the same table, in whichever direction serves them better.

Example: tokens score -2, -2, 4, -2 and the third is marked. The span scores 4, the response's mean
is -0.5 and its maximum 4; without a calibration its chance is that of the one span, 0.98.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from hlens.errors import HlensError
from hlens.evaluation.auroc import auroc, check_both_classes
from hlens.evaluation.detections import (
    FALSE_ALARMS,
    estimate_average_precision,
    estimate_recall,
)
from hlens.evaluation.intervals import estimate_auroc
from hlens.types import Calibration, Estimate, ScoredAnswer
from hlens.types.labels import Level, LevelScore

COLUMNS = [
    "level", "score", "auroc", "low", "high", "average_precision", "precision_low",
    "precision_high", "recall", "recall_low", "recall_high", "n", "hallucinated", "groups", "note",
]  # fmt: skip
# The note of a control that was turned around.
_TURNED = {
    LevelScore.LENGTH: "shorter is worse",
    LevelScore.POSITION: "earlier is worse",
    LevelScore.SPANS: "fewer is worse",
}

Scores = Mapping[LevelScore, Float[np.ndarray, " unit"]]


def evaluate_levels(
    answers: Sequence[ScoredAnswer],
    *,
    calibration: Calibration | None = None,
    calibrations: Sequence[Calibration] = (),
    false_alarms: float = FALSE_ALARMS,
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """How well a detector tells hallucinated tokens, spans and responses from true ones.

    The controls read no neuron: the ``length`` of a span (of its response, for tokens and
    responses) in tokens, the ``position`` of a token or span (tokens of the response before it),
    and the ``number of spans`` of a response, which gives the labels away where only what is wrong
    was marked. Each is turned in the direction in which its AUROC on these very units is at least
    0.5, which can only flatter it.

    Args:
        answers: Scored answers that the detector was not found on, from `hlens.monitor.score`.
            Empty ones are left out.
        calibration: The detector's, for the probability of a span; None: the logistic function.
        calibrations: Its maps of single domains, which go before.
        false_alarms: Share of the true units that may be called hallucinated for ``recall``.
        n_boot: Resamples of whole groups for the intervals of average precision and recall.
        seed: Of the resamples.

    Returns:
        Columns ``level`` (`Level`), ``score`` (`LevelScore`), ``auroc, low, high``,
        ``average_precision, precision_low, precision_high``, ``recall, recall_low, recall_high``,
        ``n`` (labelled units of the level), ``hallucinated``, ``groups`` and ``note``. Numbers are
        missing, and the note says why, where a level holds one label only.

    Raises:
        HlensError: No answer, or a share of false alarms outside 0 to 1.
    """
    scored = [answer for answer in answers if len(answer)]
    if not scored:
        raise HlensError("no scored answers to evaluate; give some, from hlens.monitor.score")
    units = {
        Level.RESPONSE: _responses(scored, calibration, calibrations),
        Level.SPAN: _spans(scored),
        Level.TOKEN: _tokens(scored),
    }
    rows = [
        {"level": level, "score": name, **row}
        for level, own in units.items()
        for name, row in own.evaluate(false_alarms=false_alarms, n_boot=n_boot, seed=seed)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


@dataclass(frozen=True, eq=False)
class _Units:
    """The labelled units of one level."""

    labels: Bool[np.ndarray, " unit"]
    groups: np.ndarray
    scores: Scores

    def evaluate(self, **options: Any) -> list[tuple[LevelScore, dict[str, object]]]:
        """The numbers of each score."""
        return [(name, self._row(name, score, **options)) for name, score in self.scores.items()]

    def _row(
        self, name: LevelScore, score: np.ndarray, *, false_alarms: float, n_boot: int, seed: int
    ) -> dict[str, object]:
        n = len(self.labels)
        counts = {"hallucinated": int(self.labels.sum()), "groups": len(set(self.groups))}
        area = precision = recall = Estimate.missing(n)
        try:
            check_both_classes(self.labels, "this level")
        except HlensError as error:
            note = str(error).partition(";")[0]
        else:
            score, note = _turned(name, score, self.labels)
            how = {"groups": self.groups, "n_boot": n_boot, "seed": seed}
            area = estimate_auroc(score, self.labels, groups=self.groups)
            precision = estimate_average_precision(score, self.labels, **how)
            recall = estimate_recall(score, self.labels, false_alarms=false_alarms, **how)
        return {
            **area.to_row(),
            **precision.to_row("average_precision", ends="precision_"),
            **recall.to_row("recall", ends="recall_"),
            **counts,
            "note": note,
        }


def _turned(name: LevelScore, score: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, str]:
    """A control in the direction that serves it better, and that direction in words."""
    if not name.is_control or auroc(score, labels) >= 0.5:
        return score, ""
    return -score, _TURNED[name]


def _tokens(answers: Sequence[ScoredAnswer]) -> _Units:
    """All tokens that a span covers; a token in spans of both labels is hallucinated."""
    wrong = [answer.marked(True) for answer in answers]
    known = [own | answer.marked(False) for own, answer in zip(wrong, answers, strict=True)]

    def gather(values: Callable[[ScoredAnswer], np.ndarray]) -> np.ndarray:
        pairs = zip(answers, known, strict=True)
        return np.concatenate([values(answer)[covered] for answer, covered in pairs])

    return _Units(
        np.concatenate([own[covered] for own, covered in zip(wrong, known, strict=True)]),
        gather(lambda answer: np.full(len(answer), answer.group, dtype=object)).astype(str),
        {
            LevelScore.DETECTOR: gather(lambda answer: answer.scores),
            LevelScore.LENGTH: gather(lambda answer: np.full(len(answer), float(len(answer)))),
            LevelScore.POSITION: gather(lambda answer: np.arange(len(answer), dtype=np.float64)),
        },
    )


def _spans(answers: Sequence[ScoredAnswer]) -> _Units:
    pairs = [(answer, span) for answer in answers for span in answer.spans]
    return _Units(
        np.array([span.hallucinated for _, span in pairs], dtype=bool),
        np.array([answer.group for answer, _ in pairs], dtype=str),
        {
            LevelScore.DETECTOR: np.concatenate([answer.span_scores for answer in answers]),
            LevelScore.LENGTH: np.array([float(len(span)) for _, span in pairs]),
            LevelScore.POSITION: np.array([float(span.start) for _, span in pairs]),
        },
    )


def _responses(
    answers: Sequence[ScoredAnswer],
    calibration: Calibration | None,
    calibrations: Sequence[Calibration],
) -> _Units:
    own = {one.domain: one for one in calibrations}
    known = [answer for answer in answers if answer.hallucinated is not None]
    scores = {
        LevelScore.MEAN: [answer.score for answer in known],
        LevelScore.MAXIMUM: [float(answer.scores.max()) for answer in known],
        LevelScore.CALIBRATED: [
            any_span(answer, own.get(answer.domain, calibration)) for answer in known
        ],
        LevelScore.LENGTH: [float(len(answer)) for answer in known],
        LevelScore.SPANS: [float(len(answer.spans)) for answer in known],
    }
    return _Units(
        np.array([bool(answer.hallucinated) for answer in known], dtype=bool),
        np.array([answer.group for answer in known], dtype=str),
        {name: np.array(values, dtype=np.float64) for name, values in scores.items()},
    )


def any_span(answer: ScoredAnswer, calibration: Calibration | None = None) -> float:
    """Chance that at least one span of an answer is hallucinated, as if spans were independent.

    Where none is marked the whole answer counts as one span. Two spans at log-odds of 0, each with
    a probability of 0.5, make 1 - 0.5 * 0.5:

    >>> from hlens.types import MarkedSpan
    >>> spans = (MarkedSpan(0, 1, True), MarkedSpan(1, 2, False))
    >>> any_span(ScoredAnswer("1", "d", "g", ("a", "b"), np.zeros(2), spans))
    0.75
    """
    scores = answer.span_scores if answer.spans else np.array([answer.score])
    log_odds = torch.from_numpy(scores)
    risk = torch.sigmoid(log_odds) if calibration is None else calibration(log_odds)
    return 1 - float(np.prod(1 - risk.double().numpy()))
