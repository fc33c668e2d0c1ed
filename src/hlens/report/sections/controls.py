"""What the claims say, in sentences."""

from hlens.report.data import Section
from hlens.report.summary import describe_study
from hlens.report.tables import Tables
from hlens.steps import audit, detection
from hlens.steps.runner import NotMadeError

HEADING = "What the controls say"
NEEDS = (detection.scores, audit.first_claims, audit.card)


def section(tables: Tables) -> Section | None:
    """The section of a study; its first sentence is the finding at the head of the report."""
    try:
        claims, audited = tables[audit.card].claims, True
    except NotMadeError:
        claims, audited = tables[audit.first_claims], False
    told = describe_study(tables[detection.scores], claims, audited=audited)
    return Section(HEADING, content=told[1:])
