"""Which domains were asked about, in which formats."""

import pandas as pd

from hlens.display import display_name
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.tables import Tables
from hlens.steps import domains

HEADING = "What was asked?"
NEEDS = (domains.domains, domains.formats, domains.has_formats)


def section(tables: Tables) -> Section | None:
    """The section of a study of several domains."""
    if len(tables.recipe.domains) < 2:
        return None
    formats, compared = tables[domains.formats], tables[domains.domains]
    left_out = sorted(set(formats["domain"]) - set(compared))
    names = display_name("domains", ", ".join(left_out))
    missing = [f"Left out of the comparisons: {names}."] if left_out else []
    return Section(
        HEADING,
        "Domains and the formats of their answers. A domain is compared where it has "
        f"{domains.groups_needed(tables.recipe.evaluation.folds)} groups of each label or more.",
        (table(formats, "Questions and examples of each domain, by format."), *missing),
        _confounded(formats.loc[formats["domain"].isin(compared)], tables[domains.has_formats]),
    )


def _confounded(formats: pd.DataFrame, separable: bool) -> str:
    names = sorted(set(formats["format"]))
    if len(names) == 1:
        name = display_name("", names[0])
        return f"All domains are of one format ({name}): no drop is one of format."
    if separable:
        return "Formats differ; their part in a drop is measured below."
    return "Formats differ with the domains: a drop may be one of format."
