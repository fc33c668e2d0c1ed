"""Training designs: what a detector is fitted to beside the answers (`hlens.evaluation.designs`).

Problem: the paper also trains on the other tokens of each response, as true ones. A study that does
not ask for it must not measure them, and what was made before there was a choice must stay current.

Idea: the steps that fit the detector have a stand-in of the same name and storage that reads the
other tokens, too (`DESIGNED`). It runs where the recipe's `labels.design` is not 1-vs-1. Tables
that fit again in another way (paths, halves, domains, the audit's refits) fit answers alone.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hlens.contributions import Ask
from hlens.errors import HlensError
from hlens.evaluation import three_vs_one
from hlens.model import Model
from hlens.probe import SparseProbe
from hlens.recipe import MeasureRecipe
from hlens.steps.answers import examples
from hlens.steps.detection import (
    MEASURED,
    Measured,
    Split,
    detector,
    in_test,
    measure_new,
    scores,
)
from hlens.steps.sources import ask_of, model
from hlens.steps.step import Step, step
from hlens.types import Detector, Example

# The region of the other tokens, by the design that takes them for true.
REGION_OF = {"3-vs-1": "other", "3-vs-1-response": "response_other"}


@step(
    needs=(examples, in_test, model),
    options=("measure", "labels.design"),
    storage=MEASURED,
    verb="find",
)
def other_tokens(
    examples: list[Example],
    in_test: np.ndarray,
    model: Model,
    *,
    measure: MeasureRecipe,
    design: str,
    earlier: Path | None,
    parts: Path,
    progress: Callable[[int, int], None],
) -> Measured:
    """Measure the tokens beside each answer of the training part; an answer may have none."""
    options = replace(measure, region=REGION_OF[design])
    ask: Ask = ask_of(options)
    train = [example for example, held in zip(examples, in_test, strict=True) if not held]
    own = [example for example in train if len(ask.positions(example))]
    if not own:
        raise HlensError(
            f"labels.design = {design!r}: none of {len(train)} responses to train on has a token "
            'beside its answer; give design = "1-vs-1", or "3-vs-1", which takes the prompt, too'
        )
    return measure_new(own, model, measure=options, earlier=earlier, parts=parts, progress=progress)


def _detector(split: Split, probe: SparseProbe, others: Measured, *, calibration: str) -> Detector:
    """Fit the sparse probe on the training part: answers, and the tokens beside them."""
    train = three_vs_one(split.train, others.contributions)
    return detector.make(split._replace(train=train), probe, calibration=calibration)


def _scores(*made: Any, **options: int) -> pd.DataFrame:
    """Held-out AUROC and accuracy beside their controls, answers alone being held out."""
    *own, others = made
    return scores.make(*own, negatives=others.contributions, **options)


DESIGNED: dict[Step[Any], Step[Any]] = {
    detector: replace(detector, make=_detector, needs=(*detector.needs, other_tokens)),
    scores: replace(scores, make=_scores, needs=(*scores.needs, other_tokens)),
}
