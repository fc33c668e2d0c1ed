"""The detector among its rivals."""

from functools import partial

import pandas as pd

from hlens import figures
from hlens.figures.leaderboard import cost_words
from hlens.report.data import Section
from hlens.report.html_table import auroc_column, difference_column, estimate_column, table
from hlens.report.tables import Tables
from hlens.steps import audit
from hlens.types.labels import NOT_AVAILABLE, Heading

HEADING = Heading.RIVALS
NEEDS = (audit.audit,)


def section(tables: Tables) -> Section | None:
    """The section of an audited study."""
    audited = tables[audit.audit]
    return Section(
        HEADING,
        "Every detector on the same held-out answers. Right: how much more likely the labels "
        "become when the neurons' score joins the rival's.",
        (
            partial(figures.leaderboard, audited.leaderboard, audited.added),
            table(
                _board(audited.leaderboard),
                "Detectors, the farthest from chance first; p by DeLong, then Holm's.",
            ),
            table(_added(audited.added), "What each adds to the other, in millinats an answer."),
        ),
        "A rival that is not shown to be worse is not shown to be as good either. Costs are those "
        "of scoring one new answer, beside having sampled it.",
    )


def _board(leaderboard: pd.DataFrame) -> pd.DataFrame:
    cost = [
        cost_words(row["passes"], row["samples"]) or row["note"].removeprefix(NOT_AVAILABLE)
        for row in leaderboard.to_dict("records")
    ]
    rows = leaderboard.drop(columns=["n", "passes", "samples", "note"]).assign(extra_cost=cost)
    return difference_column(auroc_column(rows), "H-neurons less it")


def _added(added: pd.DataFrame) -> pd.DataFrame:
    rows = estimate_column(added, "gain", "low", "high", "the H-neurons add")
    value, low, high = (f"gain_of_rival{end}" for end in ("", "_low", "_high"))
    return estimate_column(rows, value, low, high, "it adds to them").drop(columns="n")
