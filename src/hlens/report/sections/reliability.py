"""How much overlap could be expected at most."""

from functools import partial

from hlens import figures
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.tables import Tables
from hlens.steps import domains

HEADING = "How much overlap could there be?"
NEEDS = (domains.domains, domains.reliability, domains.selection_correlation)


def section(tables: Tables) -> Section | None:
    """The section of a study of two domains or more."""
    if len(tables[domains.domains]) < 2:
        return None
    reliability = tables[domains.reliability]
    same = reliability["a"] == reliability["b"]
    own, other = reliability.loc[same], reliability.loc[~same]
    return Section(
        HEADING,
        "Sets found on two random halves of one domain are the ceiling: no other domain can be "
        "expected to share more. Halves of two domains are shown beside them, at the same size.",
        (
            partial(figures.reliability, reliability),
            f"Halves of one domain have a mean Jaccard of {own['jaccard'].mean():.3f}, halves of "
            f"two domains {other['jaccard'].mean():.3f}.",
            table(
                reliability,
                "Jaccard and overlap coefficient of halves, mean over repeats; low and high span "
                "the central 95 % of repeats.",
            ),
            table(
                tables[domains.selection_correlation],
                "Rank correlation, over all neurons, of how often halves select them; how many "
                "were ever selected in either domain, and in both.",
            ),
        ),
        "Repeats share their examples: their spread is no confidence interval.",
    )
