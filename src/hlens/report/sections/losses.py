"""How many responses became no example."""

from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import answers

HEADING = "What became of the responses"
NEEDS = (answers.losses,)


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    return Section(
        HEADING,
        "Refused and unscored responses are no examples, and are counted here.",
        (tables[answers.losses],),
        "A label that loses more responses than the other would be a confound.",
    )
