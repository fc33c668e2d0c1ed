"""The detector on held-out answers, beside its controls."""

from functools import partial

import pandas as pd

from hlens import figures
from hlens.drawing.html import Html
from hlens.report.data import Section
from hlens.report.html_table import auroc_column, estimate_column, table
from hlens.report.tables import Tables
from hlens.steps import detection
from hlens.types import Estimate

HEADING = "Does it tell wrong from right?"
NEEDS = (detection.scores, detection.published)
_ACCURACY = ("accuracy", "balanced_")  # how its columns begin


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    scores = tables[detection.scores]
    earlier = "accuracy" not in scores  # made by a version that gave none
    return draw(scores, None if earlier else tables[detection.published])


def draw(scores: pd.DataFrame, published: pd.DataFrame | None = None) -> Section:
    """The section of a table of scores.

    Args:
        scores: Columns ``control, auroc, low, high, n`` and any more: what
            `hlens.evaluation.controls` returns.
        published: The study as a row of `hlens.evaluation.published_row`.
    """
    further = [] if published is None else [_draw_accuracy(scores), _draw_published(published)]
    shown = scores.drop(columns=[name for name in scores if str(name).startswith(_ACCURACY)])
    return Section(
        HEADING,
        "AUROC on held-out answers: 0.5 is chance, 1 is perfect. A claim holds only above its "
        "controls.",
        (
            partial(figures.scores, scores),
            table(auroc_column(shown), "Every score with its interval and number of answers."),
            *further,
        ),
        "The interval of random neurons and of shuffled labels is the spread of repeats; all "
        "others are intervals over samples of groups of questions.",
    )


def _draw_accuracy(scores: pd.DataFrame) -> Html:
    known = scores.loc[scores["accuracy"].notna()]
    shown = known[["control", *(name for name in known if str(name).startswith(_ACCURACY)), "n"]]
    for name, ends in (("accuracy", "accuracy_"), ("balanced_accuracy", "balanced_")):
        shown = estimate_column(shown, name, f"{ends}low", f"{ends}high", name)
    return table(
        shown,
        "Accuracy at the threshold of highest balanced accuracy in the training part, beside "
        "always saying the commoner label.",
    )


def _draw_published(published: pd.DataFrame) -> Html:
    row = published.to_dict("records")[0]
    random = Estimate.from_row(row, "random", ends="random_")
    own = Estimate.from_row(row, "h_neurons")
    shown = {
        "model": row["model"],
        "domains": row["domains"],
        "neurons": row["neurons"],
        "per mille": row["per_mille"],
        "random neurons → H-neurons, %": f"{random:.1f} → {own:.1f}",
        "n": row["n"],
    }
    return table(
        pd.DataFrame([shown]),
        "In the form of the published table (arXiv 2512.01797): balanced accuracy of as many "
        "random neurons and of those that the probe selected, and how many in a thousand of the "
        "model's these are. 50 is chance.",
    )
