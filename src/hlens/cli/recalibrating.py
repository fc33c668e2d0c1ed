"""``hlens recalibrate``: labelled answers and a detector are read, its thresholds are shown."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from hlens.cli import scoring, show
from hlens.cli.answers import AnswerOptions
from hlens.cli.forms import Form
from hlens.counting import count
from hlens.errors import HlensError
from hlens.evaluation import RATES, answers_needed
from hlens.monitor import check_labels, describe_labels, recalibrate
from hlens.monitor.recalibrating import FEWEST
from hlens.steps import levels
from hlens.store import check_detector_file, save_detector
from hlens.study import Study
from hlens.types import Detector, Estimate, ScoredAnswer

CAPTIONS = {
    "thresholds": "Where to flag whole answers, and what that is worth, with 95 % intervals.",
    "labels": "Probabilities, by groups of questions with labels.",
}


@dataclass(frozen=True, eq=False)
class Recalibrated:
    """A recalibrated detector.

    Attributes:
        detector: The detector.
        labels: From `hlens.monitor.describe_labels`.
        path: Where it was written, or None.
    """

    detector: Detector
    labels: pd.DataFrame
    path: Path | None


def recalibrate_detector(
    source: str,
    file: Path | None,
    how: AnswerOptions,
    *,
    to: Path | None,
    progress: Callable[[str, int, int], None],
) -> Recalibrated:
    """The detector with thresholds of a file of labelled answers, or of a study's held-out ones.

    Raises:
        HlensError: No detector, model or answers that can be read, no labels, too few of either,
            options of a file without a file, or a file that cannot be written.
    """
    path = None if to is None else check_detector_file(to)
    if file is None:
        how.refuse(f"a file of labelled answers; without one {source} takes those that it held out")
        detector, answers = _by_held_out(source, progress)
    else:
        opened = scoring.open_answers(source, file, how)
        answers = opened.score(progress)
        check_labels(answers)  # before the neurons are measured
        detector = recalibrate(opened.detector, answers, neurons=opened.measure(progress))
    if path is not None:
        save_detector(detector, path)
    return Recalibrated(detector, describe_labels(detector, answers), path)


def _by_held_out(
    source: str, progress: Callable[[str, int, int], None]
) -> tuple[Detector, list[ScoredAnswer]]:
    """A study's detector, recalibrated on the answers that it held out, and these."""
    if not (Path(source) / "recipe.toml").is_file():
        raise HlensError(
            f"{source} is no study; a detector alone is recalibrated on labelled answers: name "
            "their file after it"
        )
    study = Study(source, progress=progress)
    answers = study[levels.scored_answers]
    try:
        check_labels(answers)
    except HlensError as error:
        raise HlensError(
            f"the study held too few answers out ({error}); name a file of labelled answers after "
            "it"
        ) from None
    return study[levels.live_detector], answers


def show_recalibrated(found: Recalibrated, form: Form) -> None:
    """Where to flag, what that is worth, and whose probabilities each domain has."""
    detector, labels = found.detector, found.labels
    if form == Form.JSON:
        rows = [asdict(threshold) for threshold in detector.thresholds]
        to = None if found.path is None else str(found.path)
        show.write({"thresholds": rows, "labels": labels, "to": to})
        return
    if form:
        facts = {"thresholds": _rows(detector), "labels": _label_rows(labels)}
        show.write(facts, form, captions=CAPTIONS)
        return
    show.table(
        "where to flag whole answers, and what that is worth [95 % interval]", _rows(detector)
    )
    show.table("probabilities, by groups of questions with labels", _label_rows(labels))
    for line in _what_is_missing(labels):
        show.say(line)
    show.say("watch with it", "hlens monitor STUDY QUESTION --threshold false-alarms=0.05")
    if found.path is not None:
        show.say("detector", found.path)


def _label_rows(labels: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "domain": row["domain"] or "all",
                "correct": row["correct"],
                "hallucinated": row["hallucinated"],
                "probabilities": "its own" if row["own"] else "those of all",
                "calibration error": row["ece"],
            }
            for row in labels.to_dict("records")
        ]
    )


def _what_is_missing(labels: pd.DataFrame) -> Iterator[str]:
    """How many labels would be enough, where there are too few."""
    for row in labels.to_dict("records"):
        name, n = row["domain"] or "all", row["true_answers"]
        for rate in RATES:
            if rate not in row["rates"]:
                needed = answers_needed(rate)
                short = f"it has {n}" if n < needed else "its highest scores are equal"
                yield f"{name}, {rate:.0%}: needs {needed} true answers of unequal score; {short}"
        if not row["own"]:
            yield (
                f"{name}: probabilities of its own need {count(FEWEST, 'group')} of questions "
                "with correct "
                f"and as many with hallucinated answers; it has {row['correct']} and "
                f"{row['hallucinated']}"
            )


def _rows(detector: Detector) -> pd.DataFrame:
    def cell(estimate: Estimate) -> str:
        return f"{estimate:.0%} (n={estimate.n})" if estimate.known else ""

    return pd.DataFrame(
        [
            {
                "domain": one.domain or "all",
                "asked": f"{one.false_alarms:.0%}",
                "from risk": float(detector.probability_of(torch.tensor(one.score), one.domain)),
                "false alarms": f"{one.alarm_rate:.1%}",
                "recall": cell(one.recall),
                "precision": cell(one.precision),
            }
            for one in detector.thresholds
        ]
    )
