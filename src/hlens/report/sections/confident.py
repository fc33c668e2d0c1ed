"""The detector where the model does not waver."""

import pandas as pd

from hlens.report.data import Section
from hlens.report.html_table import auroc_column, table
from hlens.report.tables import Tables
from hlens.steps import detection
from hlens.types import Estimate
from hlens.types.labels import Answers, Control

HEADING = "Does it tell the confidently wrong?"
NEEDS = (detection.confident,)


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    return draw(tables[detection.confident])


def draw(confident: pd.DataFrame) -> Section:
    """The section of a table of `hlens.evaluation.confidently_wrong`."""
    return Section(
        HEADING,
        "AUROC among the answers that more than half of their question's samples give: right ones "
        "against wrong ones. What reads that the model wavers has little to read here.",
        (
            _describe(confident),
            table(auroc_column(confident), "The detector and its controls, by how samples agree."),
        ),
        "Wrong answers agree where their text does: one answer in two wordings counts as two.",
    )


def _describe(confident: pd.DataFrame) -> str:
    agreed = confident.loc[confident["answers"] == Answers.AGREED]
    probe = agreed.loc[agreed["detector"] == Control.PROBE].to_dict("records")[0]
    auroc, wrong = Estimate.from_row(probe), f"{probe['hallucinated']} of {probe['n']:,}"
    if not auroc.known:
        return f"Not available: {probe['note']}."
    return (
        f"{wrong} held-out answers on which most samples agree are hallucinated. Among them the "
        f"probe's AUROC is {auroc:.3f}."
    )
