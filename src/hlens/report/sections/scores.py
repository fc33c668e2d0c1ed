"""The detector on held-out answers, beside its controls."""

from functools import partial

import pandas as pd

from hlens import figures
from hlens.drawing.html import Html
from hlens.report.data import Section
from hlens.report.html_table import auroc_column, estimate_column, table
from hlens.report.tables import Tables
from hlens.steps import detection

HEADING = "Does it tell wrong from right?"
NEEDS = (detection.scores, detection.published)


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    scores = tables[detection.scores]
    # Scores of an earlier version hold no accuracy.
    has_accuracy = "accuracy" in scores
    return draw(scores, tables[detection.published] if has_accuracy else None)


def draw(scores: pd.DataFrame, published: pd.DataFrame | None = None) -> Section:
    """The section of a table of scores.

    Args:
        scores: Columns ``control, auroc, low, high, n`` and any more: what
            `hlens.evaluation.controls` returns.
        published: The study as a row of `hlens.evaluation.published_row`.
    """
    more = [] if published is None else [_draw_published(published)]
    return Section(
        HEADING,
        "AUROC on held-out answers: 0.5 is chance, 1 is perfect. A claim holds only above its "
        "controls.",
        (
            partial(figures.scores, scores),
            table(
                _with_intervals(scores),
                "Every score with its interval and number of answers. Accuracy is taken at the "
                "threshold of highest balanced accuracy in the training part; compare it with "
                "always saying the commoner label.",
            ),
            *more,
        ),
        "The interval of random neurons and of shuffled labels is the spread of repeats; all "
        "others are bootstrap intervals over whole groups of questions.",
    )


def _with_intervals(scores: pd.DataFrame) -> pd.DataFrame:
    shown = auroc_column(scores)
    for name, ends in (("accuracy", "accuracy_"), ("balanced_accuracy", "balanced_")):
        if name in shown:
            shown = estimate_column(shown, name, f"{ends}low", f"{ends}high", name)
    return shown


def _draw_published(published: pd.DataFrame) -> Html:
    row = estimate_column(published, "random", "random_low", "random_high", "random neurons, %")
    row = estimate_column(row, "h_neurons", "low", "high", "H-neurons, %")
    return table(
        row.rename(columns={"per_mille": "selected, ‰"}),
        "In the form of the published table (arXiv 2512.01797): balanced accuracy of as many "
        "random neurons and of the probe's, and how many in a thousand these are. 50 is chance.",
    )
