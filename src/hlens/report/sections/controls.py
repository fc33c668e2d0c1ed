"""What the controls say, in sentences."""

from hlens.report.data import Section
from hlens.report.summary import describe_scores
from hlens.report.tables import Tables
from hlens.steps import detection

HEADING = "What the controls say"
NEEDS = (detection.scores,)


def section(tables: Tables) -> Section | None:
    """The section of a study; its first sentence is the finding at the head of the report."""
    return Section(HEADING, content=describe_scores(tables[detection.scores])[1:])
