"""``hlens recalibrate``: labelled answers and a detector are read, its thresholds are shown."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hlens.cli import scoring, show
from hlens.errors import HlensError
from hlens.evaluation import RATES, answers_needed
from hlens.monitor import recalibrate
from hlens.steps import levels
from hlens.store import check_replaceable, save_detector
from hlens.store.tensor_file import safetensors_path
from hlens.study import Study
from hlens.types import Detector, Estimate


def recalibrate_detector(
    source: str,
    file: Path | None,
    *,
    to: Path | None,
    model: str | None,
    loading: Mapping[str, str],
    asked: Mapping[str, str | None],
    reading: Mapping[str, Any],
    progress: Callable[[str, int, int], None],
) -> Detector:
    """The detector with thresholds of a file of labelled answers, or of a study's held-out ones.

    Raises:
        HlensError: No detector, model or answers that can be read, no labels, too few of either, or
            a file that cannot be written.
    """
    if to is not None:
        check_replaceable(safetensors_path(to), b'"hlens"')
    if file is None:
        if not (Path(source) / "recipe.toml").is_file():
            raise HlensError(
                f"{source} is no study; a detector alone is recalibrated on labelled answers: name "
                "their file after it"
            )
        found = Study(source, progress=progress)[levels.live_detector]
        if not found.thresholds:
            raise HlensError(
                "the study held too few answers out; name a file of labelled answers after it"
            )
    else:
        found = recalibrate(
            *scoring.score_answers(
                source,
                file,
                model=model,
                loading=loading,
                asked=asked,
                reading=reading,
                progress=progress,
            )
        )
    if to is not None:
        save_detector(found, to)
    return found


def show_thresholds(detector: Detector, to: Path | None, as_json: bool) -> None:
    """A row a domain and rate of false alarms: where to flag, and what that is worth."""
    if as_json:
        rows = [asdict(threshold) for threshold in detector.thresholds]
        show.write({"thresholds": rows, "to": None if to is None else str(to)})
        return
    show.table(
        "where to flag whole answers, and what that is worth [95 % interval]", _rows(detector)
    )
    there = {one.false_alarms for one in detector.thresholds if not one.domain}
    for rate in RATES:
        if rate not in there:
            show.say(
                f"{rate:.0%}", f"needs {answers_needed(rate)} true answers, not equal in score"
            )
    show.say("watch with it", "hlens monitor STUDY QUESTION --threshold false-alarms=0.05")
    if to is not None:
        show.say("detector", to)


def _rows(detector: Detector) -> pd.DataFrame:
    def cell(estimate: Estimate) -> str:
        return f"{estimate:.0%} (n={estimate.n})" if estimate.known else ""

    return pd.DataFrame(
        [
            {
                "domain": one.domain or "all",
                "asked": f"{one.false_alarms:.0%}",
                "from risk": float(detector.probability_of(torch.tensor(one.score))),
                "false alarms": f"{one.alarm_rate:.1%}",
                "recall": cell(one.recall),
                "precision": cell(one.precision),
            }
            for one in detector.thresholds
        ]
    )
