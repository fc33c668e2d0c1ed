"""Whether it matters who selects the neurons."""

from functools import partial
from typing import Any

import pandas as pd

from hlens import figures
from hlens.report.data import Section
from hlens.report.html_table import auroc_column, difference_column, estimate_column, table
from hlens.report.tables import Tables
from hlens.steps import audit
from hlens.types.labels import Heading

HEADING = Heading.SELECTORS
NEEDS = (audit.audit,)


def section(tables: Tables) -> Section | None:
    """The section of an audited study."""
    audited = tables[audit.audit]
    return draw(audited.selectors, audited.across)


def draw(selectors: pd.DataFrame, across: pd.DataFrame | None = None) -> Section | None:
    """The section of a table of `hlens.audit.compare_selectors`; None where none was run.

    `across` is a table of `hlens.audit.selectors_across`.
    """
    run: Any = selectors["auroc"].notna()
    if not run.any():
        return None
    shown = difference_column(auroc_column(selectors), "L1 less it")
    shown = estimate_column(shown, "shared", "shared_low", "shared_high", "shared by halves")
    content: list[Any] = [
        partial(figures.selectors, selectors),
        table(shown, "Each way to name the neurons."),
    ]
    if across is not None and len(across):
        said = "Between domains: mean AUROC of a domain's neurons in their own and in others, and "
        content.append(table(across, f"{said}the part of their sets that two domains share."))
    return Section(
        HEADING,
        "As many neurons by each selector, refitted alike on the training part.",
        tuple(content),
        "Where another selector reads as well, the reading is no property of these neurons.",
    )
