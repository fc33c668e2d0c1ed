"""``hlens score``: a file of answers and a detector are read, scores are written and shown."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from hlens import judges
from hlens.cli import show
from hlens.cli.answers import AnswerOptions
from hlens.cli.forms import Form
from hlens.cli.models import open_model
from hlens.counting import count
from hlens.evaluation import evaluate_levels
from hlens.labelled import Labelled, content_of, labelled
from hlens.model import Model
from hlens.monitor import (
    check_scores_file,
    measure_answers,
    save_scores,
    score,
    tabulate_scores,
    warn_of_another_region,
    warn_of_fallback,
)
from hlens.recipe import Recipe
from hlens.steps import levels
from hlens.store import load_detector
from hlens.study import Study
from hlens.types import Detector, Judgement, Response, ScoredAnswer, Verdict
from hlens.types.labels import Level

log = logging.getLogger("hlens")
SHOWN = 20  # answers that a terminal shows
TEXT = 48  # characters of each
CAPTIONS = {
    "answers": "Risk of answers, riskiest first.",
    "levels": "The detector with the labels of the file, with 95 % intervals.",
}


@dataclass(frozen=True, eq=False)
class Scored:
    """What came of scoring a file.

    Attributes:
        detector: The detector that scored.
        answers: Its scores, answer by answer.
        table: What `hlens.monitor.tabulate_scores` makes of them.
        levels: What `hlens.evaluation.evaluate_levels` makes of them; None without labels.
        to: Where the table was written, or None.
    """

    detector: Detector
    answers: list[ScoredAnswer]
    table: pd.DataFrame
    levels: pd.DataFrame | None
    to: Path | None


def score_file(
    source: str,
    file: Path,
    how: AnswerOptions,
    *,
    to: Path | None,
    batch_size: int | None,
    progress: Callable[[str, int, int], None],
) -> Scored:
    """Score the answers of a file.

    Args:
        source: The detector: a file, a folder, a study, or ``owner/name`` on the hub.
        file: The answers.
        how: How they are read. Where no judge is named, an answer with neither a label nor gold
            answers stays unlabelled.
        to: Where to write the table, or None.
        batch_size: Answers at a time; None fits them to the memory.
        progress: Called with what is done, and the number of answers done and of all.

    Raises:
        HlensError: No detector, model or answers that can be read, or a file that cannot be
            written.
    """
    if to is not None:
        check_scores_file(to)
    opened = open_answers(source, file, how)
    detector, answers = opened.detector, opened.score(progress, batch_size)
    table = tabulate_scores(answers, detector)
    levels = None
    if any(answer.hallucinated is not None for answer in answers if len(answer)):
        levels = evaluate_levels(
            answers, calibration=detector.calibration, calibrations=detector.calibrations
        )
    return Scored(detector, answers, table, levels, None if to is None else save_scores(table, to))


@dataclass(frozen=True, eq=False)
class Opened:
    """A detector, its model, and the answers of a file as that model's tokens."""

    detector: Detector
    model: Model
    labelled: Labelled

    def score(
        self, progress: Callable[[str, int, int], None], batch_size: int | None = None
    ) -> list[ScoredAnswer]:
        """The detector's scores of the answers."""
        return score(
            self.model,
            self.detector,
            self.labelled.judgements,
            examples=self.labelled.examples,
            batch_size=batch_size,
            progress=lambda done, n: progress("score", done, n),
        )

    def measure(self, progress: Callable[[str, int, int], None]) -> Float[np.ndarray, "answer n"]:
        """What the detector's neurons contributed to the answers."""
        return measure_answers(
            self.model,
            self.detector,
            self.labelled.judgements,
            progress=lambda done, n: progress("measure", done, n),
        )


def open_answers(
    source: str, file: Path, how: AnswerOptions, *, detector: Detector | None = None
) -> Opened:
    """Open the answers of a file for a detector; arguments are those of `score_file`.

    `detector` is one that was loaded from the source already.

    Raises:
        HlensError: No detector, model or answers that can be read.
    """
    detector, recipe = detector or load_detector(source), recipe_of(source)
    if recipe and recipe.labelled.content and recipe.labelled.content == content_of(file):
        log.warning(
            "%s is what this detector was found on, so that its numbers here flatter it; those of "
            "answers that it has not seen: hlens evaluate %s", file.name, source,
        )  # fmt: skip
    opened = open_model(how.model, recipe, [detector], how.loading)
    detector.provenance.check_same_model(opened.provenance, "the answers' model")
    defaults = {"judge": judge_if_answered, **_asked_as(recipe)}
    read = labelled(file, opened, **{**defaults, **how.reading})
    return Opened(detector, opened, read)


def judge_if_answered(response: Response) -> Judgement:
    """Judge a response whose question has gold answers; any other stays without a label."""
    if response.question.answers:
        return judges.judge([response])[0]
    return Judgement(response, Verdict.UNSCORED, "no label")


def show_scored(scored: Scored, form: Form) -> None:
    """Show the riskiest answers, how well the detector does on labels, and where the table is."""
    warn_of_another_region(scored.detector)
    warn_of_fallback(scored.detector, (answer.domain for answer in scored.answers))
    responses = scored.table.loc[scored.table["level"] == Level.RESPONSE]
    levels = [] if scored.levels is None else show.rows(scored.levels)
    if form == Form.JSON:
        show.write(
            {
                "n": len(responses),
                "calibrated": scored.detector.calibration is not None,
                "answers": show.rows(responses.drop(columns=["level", "span", "start"])),
                "levels": levels,
                "to": None if scored.to is None else str(scored.to),
            }
        )
        return
    if form:
        evaluated = {} if scored.levels is None else {"levels": scored.levels}
        facts = {"n": len(responses), "answers": _riskiest(scored), **evaluated}
        show.write(facts, form, captions=CAPTIONS)
        return
    show.table("risk of answers, riskiest first", _riskiest(scored))
    if len(responses) > SHOWN:
        show.say(f"{count(len(responses) - SHOWN, 'further answer')} not shown; --json has all")
    how = "calibrated on held-out folds" if scored.detector.calibration else "not calibrated"
    show.say("risk", f"probability of hallucination of the whole answer, {how}")
    if scored.levels is None:
        show.say("labels", "none, so nothing is evaluated")
    else:
        show.table("with the labels of the file", scored.levels)
    if scored.to is not None:
        show.say("scores", scored.to)


def _riskiest(scored: Scored) -> pd.DataFrame:
    """A row an answer: its risk, and the highest of its spans and tokens."""
    words = {True: "hallucinated", False: "correct", None: ""}

    def risk(scores: Iterable[float], domain: str) -> float:
        highest = max(scores, default=float("nan"))
        if highest != highest:  # of no tokens there is no risk
            return highest
        return float(scored.detector.probability_of(torch.tensor(highest), domain))

    rows = [
        {
            "question": answer.question_id,
            "sample": answer.sample,
            "risk": risk([answer.score], answer.domain),
            "highest span": risk(answer.span_scores, answer.domain),
            "highest token": risk(answer.scores, answer.domain),
            "tokens": len(answer),
            "label": words[answer.hallucinated],
            "answer": _shorten("".join(answer.tokens)),
        }
        for answer in scored.answers
    ]
    return pd.DataFrame(rows).sort_values("risk", ascending=False, kind="stable").head(SHOWN)


def _shorten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= TEXT else f"{flat[:TEXT]}…"


def recipe_of(source: str) -> Recipe | None:
    """The recipe of a study that holds the detector; None for any other detector."""
    path = Path(source) / "recipe.toml"
    return Recipe.read(path, of_study=True) if path.is_file() else None


def live_detector_of(
    source: str, progress: Callable[[str, int, int], None] | None = None
) -> Detector:
    """A study's detector as it is read while a model writes, which knows its home; or any other."""
    if recipe_of(source) is None:
        return load_detector(source)
    return Study(source, progress=progress)[levels.live_detector]


def _asked_as(recipe: Recipe | None) -> dict[str, Any]:
    """How a study asked for its answers."""
    if recipe is None:
        return {}
    if recipe.sampling.shots:
        log.warning(
            "the study showed %d worked examples before each question; these answers are read "
            "behind the question alone", recipe.sampling.shots,
        )  # fmt: skip
    return {"instruction": recipe.sampling.instruction, "style": recipe.sampling.style}
