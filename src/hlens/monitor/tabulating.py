"""Scored answers as one flat table: a row for each answer, for each of its spans and its tokens."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hlens import store
from hlens.checks import FINITE, check_real
from hlens.data_files import naming, read_objects
from hlens.errors import HlensError
from hlens.types import Detector, ReadAnswers, ScoredAnswer
from hlens.types.labels import Level

COLUMNS = [
    "level", "domain", "group", "question_id", "sample", "span", "start", "stop", "text", "score",
    "risk", "hallucinated", "detector",
]  # fmt: skip
OF_DETECTOR = ("risk", "detector")  # not of the answers themselves
SUFFIXES = (".csv", ".jsonl", ".parquet")
_MARK = b'{"level":"'  # how a .jsonl file that hlens wrote begins
_HEADER = b'"level","domain",'  # and a .csv file, of any version


def tabulate_scores(answers: Sequence[ScoredAnswer], detector: Detector) -> pd.DataFrame:
    """The risk of every answer, span and token.

    Returns:
        Columns ``level`` (``response``, ``span`` or ``token``), ``domain``, ``group`` (of its
        question), ``question_id, sample``, ``span`` (index of a span among those of its answer),
        ``start, stop`` (tokens of the answer, counted from its first), ``text``, ``score``
        (log-odds), ``risk`` (probability of hallucination: calibrated where the detector is, by
        domain where it has a map of it, else logistic), ``hallucinated`` (the label, missing where
        there is none) and ``detector`` (`Detector.identity`). Each answer is followed by its spans
        and tokens.
    """
    rows = [row for answer in answers for row in _rows(answer)]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in OF_DETECTOR])
    scores = table["score"].to_numpy(dtype=np.float64)
    risk = np.empty(len(scores))
    for domain in table["domain"].unique():
        own = (table["domain"] == domain).to_numpy()
        known = detector.probability_of(torch.from_numpy(scores[own]), str(domain))
        risk[own] = known.double().numpy()
    # An answer without tokens has no risk; a calibration would make a number of its NaN.
    table.insert(COLUMNS.index("risk"), "risk", np.where(np.isnan(scores), np.nan, risk))
    table["detector"] = detector.identity
    return table.astype({"span": "Int64", "hallucinated": "boolean"})


def _rows(answer: ScoredAnswer) -> Iterator[tuple[object, ...]]:
    """The rows of an answer, its spans and its tokens: `COLUMNS` without `OF_DETECTOR`."""
    key = answer.domain, answer.group, answer.question_id, answer.sample

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
    store.check_replaceable(path, {".csv": _HEADER, ".jsonl": _MARK}.get(kind, b"PAR1"))
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


def is_scores_file(path: str | Path) -> bool:
    """Whether a file has the columns of a table of scores; a file that is none of tables has not.

    Raises:
        HlensError: No such file, or a table that cannot be read.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".jsonl":
        _, first = next(read_objects(path), (0, {}))
        names = set(first)
    elif kind in SUFFIXES:
        names = set(store.load_table(path).columns)
    else:
        return False
    return {"level", "question_id", "score"} <= names


def read_scores(path: str | Path, detector: Detector | None = None) -> ReadAnswers:
    """The scores of whole answers in a table that `save_scores` wrote, of this detector if given.

    Answers without a token have no score and are left out. Rows of a file of an earlier version,
    without ``group`` and ``detector``, take their question for a group and are not checked.

    Raises:
        HlensError: No such file, no score of a whole answer in it, one that is no number, or scores
            of another detector.
    """
    path = Path(path)
    if not is_scores_file(path):
        raise HlensError(
            f"{path.name} holds no scores; expected a table that hlens score --to wrote"
        )
    if path.suffix.lower() == ".jsonl":
        rows = [row for _, row in read_objects(path)]
    else:
        rows = store.load_table(path).to_dict("records")
    read: list[tuple[float, str, str]] = []
    for number, row in enumerate(rows, start=1):
        score = row.get("score")
        if row.get("level") != Level.RESPONSE or score is None or score != score:
            continue
        whose = row.get("detector")
        if detector is not None and isinstance(whose, str) and whose != detector.identity:
            raise HlensError(
                f"{path.name} holds scores of the detector {whose!r:.40}, not of this one "
                f"({detector.identity}); score the answers with this one"
            )
        with naming(f"{path.name}, row {number}"):
            score = check_real("score", score, **FINITE)
        domain = str(row.get("domain", ""))
        group = row.get("group")
        if not isinstance(group, str) or not group:
            group = f"{domain}/{row.get('question_id')}"
        read.append((score, group, domain))
    if not read:
        raise HlensError(f"{path.name} holds no score of a whole answer (level 'response')")
    scores, groups, domains = zip(*read, strict=True)
    return ReadAnswers(np.array(scores), groups, domains)
