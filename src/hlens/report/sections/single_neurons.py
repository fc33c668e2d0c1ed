"""What single neurons tell by themselves."""

from functools import partial

from hlens import figures
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import detection

HEADING = "Does one neuron alone tell it?"
NEEDS = (detection.alone, detection.detector, detection.split)


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    return Section(
        HEADING,
        "AUROC and corrected p of every neuron by itself, on the training part.",
        (
            partial(
                figures.volcano,
                tables[detection.alone],
                selected=tables[detection.detector].selected,
                n=len(tables[detection.split].train),
            ),
        ),
        "A neuron that tells wrong from right may tell short from long, or domain from domain.",
    )
