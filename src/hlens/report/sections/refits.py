"""Whether the finding comes out the same when it is made in another way."""

from functools import partial

from hlens import figures
from hlens.report.data import Section
from hlens.report.html_table import auroc_column, difference_column, estimate_column, table
from hlens.report.tables import Tables
from hlens.steps import audit
from hlens.types.labels import Heading

HEADING = Heading.REFITS
NEEDS = (audit.audit,)


def section(tables: Tables) -> Section | None:
    """The section of an audited study."""
    audited = tables[audit.audit]
    refits = difference_column(auroc_column(audited.refits), "as found less it")
    shared = estimate_column(audited.halves, "shared", "low", "high", "shared of the smaller set")
    return Section(
        HEADING,
        "The same finding, made with one thing changed at a time.",
        (
            partial(figures.refits, audited.refits, audited.halves),
            table(refits, "Each way to make the finding."),
            table(shared, "Sets found on halves of the training part."),
        ),
        "Another judge or other tokens pose another task; scales and penalties do not.",
    )
