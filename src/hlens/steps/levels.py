"""Long answers: those held out scored token by token, evaluated as tokens, spans and responses."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pandas as pd

from hlens.errors import HlensError
from hlens.evaluation import evaluate_levels
from hlens.evaluation.levels import COLUMNS
from hlens.model import Model
from hlens.monitor import check_labels, measure_answers, recalibrate, score
from hlens.spans import LABELS
from hlens.steps.answers import examples, judgements
from hlens.steps.detection import DETECTOR, Split, detector, split
from hlens.steps.sources import model
from hlens.steps.step import TABLE, Storage, step
from hlens.store import write_text
from hlens.store.checked import read_rows
from hlens.types import Detector, Example, Judgement, MarkedSpan, ScoredAnswer

log = logging.getLogger("hlens")
JSONL = ".jsonl"


class _AnswerRow(TypedDict):
    question_id: str
    domain: str
    group: str
    sample: int
    question: str
    tokens: list[str]
    scores: list[float]
    spans: list[tuple[int, int, bool]]
    hallucinated: NotRequired[bool]


def _save_answers(answers: list[ScoredAnswer], path: Path) -> None:
    lines = (json.dumps(_row_of(answer), ensure_ascii=False) + "\n" for answer in answers)
    write_text(path, "".join(lines))


def _row_of(answer: ScoredAnswer) -> _AnswerRow:
    row: _AnswerRow = {
        "question_id": answer.question_id,
        "domain": answer.domain,
        "group": answer.group,
        "sample": answer.sample,
        "question": answer.question,
        "tokens": list(answer.tokens),
        "scores": answer.scores.tolist(),
        "spans": [(span.start, span.stop, span.hallucinated) for span in answer.spans],
    }
    if answer.hallucinated is not None:
        row["hallucinated"] = answer.hallucinated
    return row


def _load_answers(path: Path) -> list[ScoredAnswer]:
    return read_rows(path, _answer_of, _AnswerRow)


def _answer_of(row: dict[str, Any]) -> ScoredAnswer:
    return ScoredAnswer(
        question_id=row["question_id"],
        domain=row["domain"],
        group=row["group"],
        tokens=tuple(row["tokens"]),
        scores=np.array(row["scores"], dtype=np.float64),
        spans=tuple(MarkedSpan(*span) for span in row["spans"]),
        hallucinated=row.get("hallucinated"),
        sample=row["sample"],
        question=row["question"],
    )


@step(needs=(examples,))
def has_several_spans(examples: list[Example]) -> bool:
    """Whether any answer holds several labelled spans; with one each there are no levels."""
    counts = Counter((e.domain, e.question_id, e.sample) for e in examples)
    return max(counts.values(), default=0) > 1


@step(
    needs=(detector, split, judgements, examples, model),
    storage=Storage(JSONL, _save_answers, _load_answers),
    verb="evaluate",
)
def scored_answers(
    detector: Detector,
    split: Split,
    judgements: list[Judgement],
    examples: list[Example],
    model: Model,
    *,
    progress: Callable[[int, int], None],
) -> list[ScoredAnswer]:
    """Labelled answers that the detector was not found on, scored token by token.

    An answer without spans is scored, too, where it has a verdict: it counts as a response.
    """
    seen = set(split.train.groups)
    own = [example for example in examples if example.group not in seen]
    spanned = {(e.domain, e.question_id, e.sample) for e in own}

    def is_labelled(judged: Judgement) -> bool:
        is_known = judged.verdict in LABELS or _key_of(judged) in spanned
        return judged.response.question.group not in seen and is_known

    kept = [judged for judged in judgements if is_labelled(judged)]
    if not kept or not len(detector.selected):
        return []  # without neurons the score is the same at every token
    return score(model, detector, kept, examples=own, progress=progress)


def _key_of(judged: Judgement) -> tuple[str, str, int]:
    question = judged.response.question
    return question.domain, question.id, judged.response.sample


@step(
    needs=(detector, scored_answers, judgements, model),
    storage=DETECTOR,
    verb="recalibrate",
    facts=lambda detector: {"thresholds": len(detector.thresholds)},
)
def live_detector(
    detector: Detector,
    scored_answers: list[ScoredAnswer],
    judgements: list[Judgement],
    model: Model,
    *,
    progress: Callable[[int, int], None],
) -> Detector:
    """Take thresholds and probabilities of whole answers from those held out.

    The neurons stay, and what they contributed to these answers is kept for `hlens drift`. Where
    too few answers were held out, the detector stays as it was found.
    """
    try:
        check_labels(scored_answers)
    except HlensError as error:
        log.warning("not recalibrated: %s", error)
        return detector
    by_key = {_key_of(judged): judged for judged in judgements}
    own = [by_key[one.domain, one.question_id, one.sample] for one in scored_answers]
    neurons = measure_answers(model, detector, own, progress=progress)
    return recalibrate(detector, scored_answers, neurons=neurons)


@step(
    needs=(scored_answers, detector),
    options=("evaluation.n_boot", "seed"),
    storage=TABLE,
    verb="evaluate",
)
def levels(
    scored_answers: list[ScoredAnswer], detector: Detector, *, n_boot: int, seed: int
) -> pd.DataFrame:
    """Tokens, spans and responses: the detector beside length and position."""
    if not scored_answers:
        return pd.DataFrame(columns=COLUMNS)
    return evaluate_levels(
        scored_answers, calibration=detector.calibration, n_boot=n_boot, seed=seed
    )
