"""Which replies an edit turns, both ways."""

from functools import partial

from hlens import figures
from hlens.effects import flips, labels
from hlens.report.data import Section
from hlens.report.sections.dose_response import asked
from hlens.report.tables import Tables
from hlens.steps import effects
from hlens.types.labels import SetKind

HEADING = "Which replies turn?"
NEEDS = (effects.outcomes,)


def section(tables: Tables) -> Section | None:
    """The section of a study whose neurons were edited."""
    outcomes = tables[effects.outcomes]
    turned = flips(outcomes)
    own = turned.loc[turned["behaviour"].isin(asked(outcomes))]
    drawn = list[str | partial]()
    for grader in dict.fromkeys(own["grader"]):
        rows = own.loc[own["grader"] == grader]
        # Where no reply could be graded both without and with the edit there is none to draw.
        read = set(rows.loc[rows["kind"] == SetKind.TARGET, "behaviour"])
        rows = rows.loc[rows["behaviour"].isin(read)]
        if rows.empty:
            continue
        drawn += [f"Graded by {grader}:", partial(figures.flips, rows, labels=labels())]
    if not drawn:
        return None
    return Section(
        HEADING,
        "Replies that turned against the unmodified model's, both ways. A degree above one half "
        "counts as a hit.",
        drawn,
        "An edit that turns as many replies one way as the other changes much and moves nothing.",
    )
