"""How few neurons carry the signal."""

from functools import partial

from hlens import figures
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import detection
from hlens.types.labels import Heading

HEADING = Heading.SPARSITY
NEEDS = (detection.sparsity,)


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    return Section(
        HEADING,
        "The top neurons of the probe beside as many random ones, refitted alike, and all of them.",
        (partial(figures.k_sweep, tables[detection.sparsity]),),
        "Where random neurons do as well, the signal is spread out and its place means little.",
    )
