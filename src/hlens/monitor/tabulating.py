"""Scored answers as one flat table: a row for each answer, for each of its spans and its tokens."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hlens import store
from hlens.errors import HlensError
from hlens.types import Detector, ScoredAnswer
from hlens.types.labels import Level

COLUMNS = [
    "level", "domain", "question_id", "sample", "span", "start", "stop", "text", "score", "risk",
    "hallucinated",
]  # fmt: skip
SUFFIXES = (".csv", ".jsonl", ".parquet")
_MARK = b'{"level":"'  # how a .jsonl file that hlens wrote begins


def tabulate_scores(answers: Sequence[ScoredAnswer], detector: Detector) -> pd.DataFrame:
    """The risk of every answer, span and token.

    Returns:
        Columns ``level`` (``response``, ``span`` or ``token``), ``domain, question_id, sample``,
        ``span`` (index of a span among those of its answer), ``start, stop`` (tokens of the answer,
        counted from its first), ``text``, ``score`` (log-odds), ``risk`` (probability of
        hallucination: calibrated where the detector is, else logistic) and ``hallucinated`` (the
        label, missing where there is none). Each answer is followed by its spans and tokens.
    """
    rows = [row for answer in answers for row in _rows(answer)]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "risk"])
    scores = table["score"].to_numpy(dtype=np.float64)
    risk = detector.probability_of(torch.from_numpy(scores.copy())).double().numpy()
    # An answer without tokens has no risk; a calibration would make a number of its NaN.
    table.insert(COLUMNS.index("risk"), "risk", np.where(np.isnan(scores), np.nan, risk))
    return table.astype({"span": "Int64", "hallucinated": "boolean"})


def _rows(answer: ScoredAnswer) -> Iterator[tuple[object, ...]]:
    """The rows of an answer, its spans and its tokens: `COLUMNS` without the risk."""
    key = answer.domain, answer.question_id, answer.sample

    def row(
        level: Level, start: int, stop: int, score: float, label: bool | None, span: int | None
    ) -> tuple[object, ...]:
        text = "".join(answer.tokens[start:stop])
        return (str(level), *key, span, start, stop, text, score, label)

    yield row(Level.RESPONSE, 0, len(answer), answer.score, answer.hallucinated, None)
    scores = zip(answer.spans, answer.span_scores.tolist(), strict=True)
    for number, (span, score) in enumerate(scores):
        yield row(Level.SPAN, span.start, span.stop, score, span.hallucinated, number)
    wrong, right = answer.marked(True), answer.marked(False)
    for place, score in enumerate(answer.scores.tolist()):
        label = bool(wrong[place]) if wrong[place] or right[place] else None
        yield row(Level.TOKEN, place, place + 1, score, label, None)


def check_scores_file(path: str | Path) -> Path:
    """The path of a table of scores, checked before the work is done.

    Raises:
        HlensError: Another suffix, or a file there that hlens did not write.

    >>> check_scores_file("scores.xlsx")
    Traceback (most recent call last):
    hlens.errors.HlensError: cannot write scores as 'scores.xlsx'; expected .csv, .jsonl, .parquet
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise HlensError(f"cannot write scores as {path.name!r}; expected {', '.join(SUFFIXES)}")
    header = ",".join(f'"{name}"' for name in COLUMNS).encode()
    store.check_replaceable(path, {".csv": header, ".jsonl": _MARK}.get(kind, b"PAR1"))
    return path


def save_scores(table: pd.DataFrame, path: str | Path) -> Path:
    """Write a table of scores, by its suffix: .csv, .jsonl or .parquet.

    In a CSV no text can act as a formula of a spreadsheet (`hlens.store.save_table`).

    Raises:
        HlensError: Another suffix, or a file there that hlens did not write.
    """
    path = check_scores_file(path)
    if path.suffix.lower() == ".jsonl":
        lines = table.to_json(orient="records", lines=True, force_ascii=False, double_precision=12)
        store.write_text(path, lines or "", _MARK)
    else:
        store.save_table(table, path)
    return path
