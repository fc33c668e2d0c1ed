"""The confidently wrong: can a detector tell them from the confidently right?

Problem: where a model wavers, its samples differ, and anything that reads uncertainty tells wrong
from right. Where it gives one wrong answer again and again, uncertainty has nothing to say.

Idea: keep the answers that most samples of their question give, right or wrong, and score these
alone. Right answers are one answer however they are worded; wrong ones agree where their text does.

Example: of three samples "Lyon", "lyon" and "Paris", the first two are confidently wrong. The third
is right, and among "all others".

Source of the question: arXiv 2607.11414 (15 to 23 % of the answers given 8 of 8 times are wrong).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from hlens.errors import HlensError
from hlens.evaluation.auroc import auroc
from hlens.evaluation.bootstrap import summarise_repeats
from hlens.evaluation.intervals import estimate_auroc
from hlens.spans import LABELS, answer_text, by_question
from hlens.types import Estimate, Example, Judgement, Verdict
from hlens.types.labels import Answers

COLUMNS = ["answers", "detector", "auroc", "low", "high", "n", "hallucinated", "note"]
FEWEST = 10  # examples of a label below which they are counted, not judged

Key = tuple[str, str, int]  # domain, question and sample
Scores = Mapping[str, Float[np.ndarray, "*draw example"]]


def agreed_samples(judgements: Iterable[Judgement]) -> set[Key]:
    """The samples whose answer more than half of all samples of their question give.

    Named by domain, question and sample. All samples count, also those that `labels.per_question`
    keeps out of the examples; refused and unscored ones agree with nothing. A question with one
    sample has no agreed ones, since nothing is known of it.
    """
    agreed: set[Key] = set()
    for samples in by_question(judgements):
        answers = [_answer(judged) for judged in samples]
        counts = Counter(answer for answer in answers if answer)
        for judged, answer in zip(samples, answers, strict=True):
            response = judged.response
            if answer and len(samples) > 1 and 2 * counts[answer] > len(samples):
                agreed.add((response.question.domain, response.question.id, response.sample))
    return agreed


def confidently_wrong(
    scores: Scores, examples: Sequence[Example], judgements: Sequence[Judgement]
) -> pd.DataFrame:
    """AUROC of detectors among the answers that most samples of their question give.

    Args:
        scores: Of each detector, for every example; higher means hallucination. Several rows are
            repeats of one control, such as draws of random neurons.
        examples: Held-out examples.
        judgements: Those of all samples of their questions.

    Returns:
        Columns ``answers, detector, auroc, low, high, n, hallucinated, note``; ``answers`` is
        ``most samples agree``, ``all others`` or ``all answers``. Of repeats ``low`` and ``high``
        span the central 95 %. No AUROC, and the reason as note, where every question was asked
        once, or a label has fewer than 10 examples.

    Raises:
        HlensError: Scores of another number of examples.
    """
    agreed = agreed_samples(judgements)
    most = np.array([(e.domain, e.question_id, e.sample) in agreed for e in examples], dtype=bool)
    asked_once = all(len(samples) == 1 for samples in by_question(judgements))
    parts = {Answers.AGREED: most, Answers.OTHERS: ~most, Answers.ALL: np.full(len(most), True)}
    label = np.array([example.hallucinated for example in examples], dtype=bool)
    groups = np.array([example.group for example in examples])
    rows: list[dict[str, object]] = []
    for answers, part in parts.items():
        n, wrong = int(part.sum()), int(label[part].sum())
        note = "" if min(wrong, n - wrong) >= FEWEST else f"fewer than {FEWEST} of a label"
        if asked_once and answers != Answers.ALL:
            note = "one sample a question: whether samples agree is not known"
        for name, score in scores.items():
            if score.shape[-1] != len(examples):
                raise HlensError(
                    f"{score.shape[-1]} scores of {name!r} for {len(examples)} examples; give one "
                    "for each"
                )
            estimate = Estimate.missing(n)
            if not note and score.ndim == 1:
                estimate = estimate_auroc(score[part], label[part], groups=groups[part])
            elif not note:
                estimate = summarise_repeats([auroc(s[part], label[part]) for s in score], n)
            row = {"answers": answers, "detector": name, **estimate.to_row()}
            rows.append({**row, "hallucinated": wrong, "note": note})
    return pd.DataFrame(rows, columns=COLUMNS)


def _answer(judged: Judgement) -> tuple[Verdict, str] | None:
    """What the sample says, as far as it is compared; None where it gives no answer."""
    if judged.verdict is Verdict.CORRECT:
        return judged.verdict, ""  # an alias is the same answer
    return (judged.verdict, answer_text(judged)) if judged.verdict in LABELS else None
