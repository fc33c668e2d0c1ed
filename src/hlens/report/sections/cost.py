"""What an edit costs: behaviour moved beside capability lost."""

from functools import partial

from hlens import figures
from hlens.effects import labels, pareto, rates
from hlens.report.data import Section
from hlens.report.sections.dose_response import asked, costs
from hlens.report.tables import Tables
from hlens.steps import effects

HEADING = "What does it cost?"
NEEDS = (effects.outcomes,)


def section(tables: Tables) -> Section | None:
    """The section of a study whose neurons were edited and whose capability was measured."""
    outcomes, words = tables[effects.outcomes], labels()
    table, measured = rates(outcomes), costs(outcomes)
    if not measured:
        return None
    cost = measured[0]
    return Section(
        HEADING,
        "Every edit by what it moves, to the rules of each behaviour, and what it breaks.",
        [
            partial(
                figures.pareto,
                pareto(table, name, cost=cost),
                behaviour=words[name],
                cost=words[cost],
            )
            for name in asked(outcomes)
        ],
        "Perplexity is one capability of many; see multiple choice and the replies themselves.",
    )
