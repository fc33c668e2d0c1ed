"""The detector on held-out answers, beside its controls."""

from functools import partial

import pandas as pd

from hlens import figures
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.tables import Tables
from hlens.steps import detection

HEADING = "Does it tell wrong from right?"
NEEDS = (detection.scores,)


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    return draw(tables[detection.scores])


def draw(scores: pd.DataFrame) -> Section:
    """The section of a table of scores.

    Args:
        scores: Columns ``control, auroc, low, high, n`` and any more: what
            `hlens.evaluation.controls` returns.
    """
    return Section(
        HEADING,
        "AUROC on held-out answers: 0.5 is chance, 1 is perfect. A claim holds only above its "
        "controls.",
        (
            partial(figures.scores, scores),
            table(scores, "Every score with its interval and number of answers."),
        ),
        "The interval of random neurons and of shuffled labels is the spread of repeats; all "
        "others are bootstrap intervals over whole groups of questions.",
    )
