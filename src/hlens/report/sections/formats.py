"""Whether a drop between domains is one of domain or of format."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from hlens import figures
from hlens.claims.conventions import LEVEL
from hlens.counting import count
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.tables import Tables
from hlens.steps import domains
from hlens.types import Estimate
from hlens.types.labels import Changed

HEADING = "Domain or format?"
NEEDS = (domains.domains, domains.has_formats, domains.format_transfer)


def section(tables: Tables) -> Section | None:
    """The section of a study in which domain and format vary apart."""
    if len(tables[domains.domains]) < 2 or not tables[domains.has_formats]:
        return None
    transfer = tables[domains.format_transfer]
    return Section(
        HEADING,
        "Each domain in each of its formats, trained on and tested on by itself; the pairs are "
        "sorted by what changes between them.",
        (
            *describe_formats(transfer.effect),
            table(
                transfer.effect,
                "Mean AUROC and mean drop where the domain, the format or both change.",
            ),
            partial(figures.transfer, transfer.pairs),
            table(transfer.pairs, "AUROC of each pair of cells.", tall=True),
        ),
        "Cells are small, and formats differ in more than looks: a yes or no is right half the "
        "time by chance.",
    )


def describe_formats(effect: pd.DataFrame) -> Iterator[str]:
    """What a table of format effects says, a sentence a kind of change."""
    for row in effect.to_dict("records"):
        if row["changed"] == Changed.NOTHING:
            yield f"Where nothing changes the mean AUROC is {row['auroc']:.3f}."
            continue
        drop = Estimate.from_row(row, "auroc_drop", ends="drop_")
        sure = "" if row["p_corrected"] <= LEVEL else ", which is not sure"
        yield (
            f"Where the {row['changed']} changes it is {row['auroc']:.3f}: "
            f"{drop.change('a drop of', 'a rise of', '.3f')}{sure} "
            f"({count(row['n_pairs'], 'pair')})."
        )
