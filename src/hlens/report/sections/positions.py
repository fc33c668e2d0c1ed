"""Where in time it can be read: at the prompt's end, and at each token of the answer."""

from functools import partial

import pandas as pd

from hlens import figures
from hlens.report.data import Section
from hlens.report.html_table import auroc_column, difference_column, table
from hlens.report.tables import Tables
from hlens.steps import audit
from hlens.types.labels import Heading, Place

HEADING = Heading.POSITIONS
NEEDS = (audit.audit,)


def section(tables: Tables) -> Section | None:
    """The section of an audited study."""
    return draw(tables[audit.audit].positions)


def draw(positions: pd.DataFrame) -> Section | None:
    """The section of a table of `hlens.audit.position_curve`; None where nothing was read."""
    if positions.empty:
        return None
    shown = difference_column(auroc_column(positions), "above the output so far")
    of_answer = positions["place"] != Place.PROMPT
    token = positions["token"] + of_answer  # the answer's first is number one
    shown = shown.assign(token=token)
    return Section(
        HEADING,
        "The probe, fitted anew on the neurons at one token: the last ones of the prompt, then "
        "each token of the answer, where it is predicted (one token earlier) and where it is read. "
        "The output so far is the log-probabilities and entropies that are known there.",
        (partial(figures.positions, positions), table(shown, "Each place.", tall=True)),
        "Fewer answers have a second and third token, so that later points are of other answers.",
    )
