"""Where in a long answer the detector sees a hallucination, beside what a reader marked."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd
import torch

from hlens import figures
from hlens.counting import count
from hlens.drawing.html import Html
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.tables import Tables
from hlens.steps import detection, levels
from hlens.types import Detector, Estimate, ScoredAnswer
from hlens.types.estimate import from_chance
from hlens.types.labels import Level, LevelScore

HEADING = "Where in a long answer?"
NEEDS = (levels.has_several_spans, levels.scored_answers, levels.levels, detection.detector)
SHOWN = 4  # answers that are drawn
MOST_TOKENS = 800  # of an answer that is shown
QUESTION = 300  # characters of a question that are shown
UNITS = {Level.RESPONSE: "responses", Level.SPAN: "spans", Level.TOKEN: "labelled tokens"}


def section(tables: Tables) -> Section | None:
    """The section of a study whose answers hold several labelled spans."""
    if not tables[levels.has_several_spans]:
        return None
    return draw(
        tables[levels.levels], tables[levels.scored_answers], detector=tables[detection.detector]
    )


def draw(
    evaluated: pd.DataFrame, answers: Sequence[ScoredAnswer], *, detector: Detector
) -> Section | None:
    """The section of long answers; None where none was scored.

    Args:
        evaluated: What `hlens.evaluation.evaluate_levels` returns.
        answers: The scored answers; some of them are shown.
        detector: Gives the probability of a token.
    """
    if not len(evaluated):
        return None
    chosen = choose(answers)
    return Section(
        HEADING,
        "Can the detector tell which span, which token or which response is wrong, and does it do "
        "so better than length or position alone? Then some answers: colour is the detector's "
        "risk, underlines are what a reader marked.",
        (
            *describe(evaluated),
            table(_shown(evaluated), "Each score at each level, with 95 % intervals by group."),
            *(_strip(answer, detector) for answer in chosen),
        ),
        "Controls are turned to the side that serves them. Average precision is to be read beside "
        "the share that is hallucinated; recall is at 10 % false alarms, at a threshold chosen on "
        "these answers. The detector was fitted on means over spans: the colour of a single token "
        "only illustrates.",
    )


def describe(evaluated: pd.DataFrame) -> Iterator[str]:
    """A sentence for each level: the detector's AUROC, and that of its best control."""
    for level, units in UNITS.items():
        rows = evaluated.loc[evaluated["level"] == level].to_dict("records")
        known = [row for row in rows if Estimate.from_row(row).known]
        counts = f"{rows[0]['hallucinated']:,} of {rows[0]['n']:,} {units} are hallucinated"
        if not known:
            yield f"{counts}: not enough of both labels for an AUROC."
            continue
        own = ", ".join(_with_interval(row) for row in known if not _is_control(row))
        best = max(filter(_is_control, known), key=lambda row: from_chance(row["auroc"]))
        way = "" if best["auroc"] >= 0.5 else ", which tells the other way round"
        yield f"{counts}. AUROC: {own}; best control {best['score']}, {best['auroc']:.3f}{way}."


def choose(answers: Sequence[ScoredAnswer], n: int = SHOWN) -> list[ScoredAnswer]:
    """The first `n` marked answers with a hallucination; one place is kept for any without."""
    marked = [answer for answer in answers if answer.spans]
    wrong = [answer for answer in marked if answer.marked(True).any()]
    right = [answer for answer in marked if not answer.marked(True).any()]
    first = wrong[: n - 1] if right else wrong[:n]
    return [*first, *right[: n - len(first)]]


def _with_interval(row: dict) -> str:
    """``0.812 [0.75, 0.86] (mean)``; without "(mean)" where the detector has one score only."""
    kind = str(row["score"]).removeprefix(LevelScore.DETECTOR).removeprefix(", ")
    return f"{Estimate.from_row(row):.3f}" + (f" ({kind})" if kind else "")


def _is_control(row: dict) -> bool:
    return LevelScore(row["score"]).is_control


def _shown(evaluated: pd.DataFrame) -> pd.DataFrame:
    """The table as it is shown: intervals beside their numbers, counts and notes in words."""
    rows = evaluated.to_dict("records")
    shown = pd.DataFrame(
        {
            "level": evaluated["level"],
            "score": [", ".join(filter(None, (row["score"], row["note"]))) for row in rows],
            "AUROC": [_cell(row, "auroc", "") for row in rows],
            "average precision": [_cell(row, "average_precision", "precision_") for row in rows],
            "recall at 10 %": [_cell(row, "recall", "recall_") for row in rows],
            "hallucinated": [f"{row['hallucinated']:,} of {row['n']:,}" for row in rows],
        }
    )
    return shown.dropna(axis="columns", how="all")


def _cell(row: dict, value: str, ends: str) -> Estimate | None:
    estimate = Estimate.from_row(row, value, ends=ends)
    return estimate if estimate.known else None


def _strip(answer: ScoredAnswer, detector: Detector) -> Html:
    """One answer after its question; the verdict says so where only its first tokens are drawn."""
    n = min(len(answer), MOST_TOKENS)
    risk = detector.probability_of(torch.from_numpy(answer.scores[:n])).tolist()
    spans = [span for span in answer.spans if span.stop <= n]
    label = {True: "judged hallucinated", False: "judged true", None: "not judged"}
    whole = float(detector.probability_of(torch.tensor(answer.score)))
    said = [label[answer.hallucinated], f"risk of the whole {whole:.2f}"]
    if n < len(answer):
        said.append(f"the first {n} of {count(len(answer), 'token')}")
    return figures.tokens(
        [f"{_shorten(answer.question)}\n", *answer.tokens[:n]],
        [math.nan, *risk],
        n_prompt=1,
        spans=spans,
        verdict=" · ".join(said),
    )


def _shorten(question: str) -> str:
    text = " ".join(question.split())
    return text if len(text) <= QUESTION else f"{text[:QUESTION]}…"
