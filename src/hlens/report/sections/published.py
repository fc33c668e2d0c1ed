"""The published table: what the detector is only tested on, and the other way beside it."""

from typing import Any

import pandas as pd

from hlens.drawing.html import Html
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.summary import describe_stand_ins
from hlens.report.tables import Tables
from hlens.steps import detection, tested
from hlens.types import Estimate

HEADING = "Does it hold on other questions?"
NEEDS = (
    detection.published,
    tested.tested,
    tested.held_out_beside,
    tested.tested_beside,
)


def section(tables: Tables) -> Section | None:
    """The section of a study that is tested on other domains, or has another way beside it."""
    steps = tested.rows_of(tables.recipe)
    if len(steps) < 2:
        return None
    rows = pd.concat([tables[one] for one in steps], ignore_index=True)
    return draw(rows, describe_stand_ins(tables.recipe))


def draw(rows: pd.DataFrame, stand_ins: list[str]) -> Section:
    """The section of rows of `hlens.evaluation.published_rows`, and of what stands in for what."""
    return Section(
        HEADING,
        "In the form of the published table (arXiv 2512.01797): balanced accuracy of as many "
        "random neurons and of those that the probe selected. 50 is chance.",
        (draw_rows(rows), *stand_ins),
        "What is held out are answers that the study kept, as the detector was trained on them. A "
        "domain that is only tested on is asked once a question, and every judged answer counts. "
        "Random neurons are refitted on the training part, matched by layer.",
    )


def draw_rows(rows: pd.DataFrame) -> Html:
    """Rows of the published table, random neurons and H-neurons in one column."""
    several = len(set(rows["model"])) > 1
    shown = [
        {
            **({"model": row["model"]} if several else {}),
            "way": row["way"],
            "trained on": row["domains"],
            "tested on": row["test"],
            "neurons": row["neurons"],
            "per mille": row["per_mille"],
            "random neurons \u2192 H-neurons, %": _both(row),
            "n": row["n"],
        }
        for row in rows.to_dict("records")
    ]
    return table(pd.DataFrame(shown), "A row a test set, of each way to find.")


def _both(row: dict[str, Any]) -> str:
    if row["note"]:
        return str(row["note"])
    random = Estimate.from_row(row, "random", ends="random_")
    return f"{random:.1f} \u2192 {Estimate.from_row(row, 'h_neurons'):.1f}"
