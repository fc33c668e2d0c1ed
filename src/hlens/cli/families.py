"""What there is to choose from, by family."""

from hlens import (
    baselines,
    behaviours,
    domains,
    engines,
    judges,
    lookup,
    metrics,
    selectors,
    steps,
)
from hlens.labelled import layouts
from hlens.model import ALIASES, QUANTIZATIONS
from hlens.recipe.shipped import shipped_recipes
from hlens.report import sections


def listed(family: str | None) -> dict[str, list[str]]:
    """Members of one family, or of all.

    Raises:
        HlensError: No family of that name.
    """
    families = {
        "models": lambda: sorted(ALIASES),
        "quantizations": lambda: sorted(QUANTIZATIONS),
        "engines": engines.names,
        "domains": domains.names,
        "layouts": layouts.names,
        "judges": judges.names,
        "behaviours": behaviours.names,
        "metrics": metrics.names,
        "baselines": baselines.names,
        "selectors": selectors.names,
        "steps": lambda: [step.label for step in steps.all_steps() if step.storage],
        "figures": lambda: lookup.names("figures"),
        "sections": sections.names,
        "recipes": shipped_recipes,
    }
    if family is None:
        return {name: members() for name, members in families.items()}
    if family not in families:
        raise lookup.unknown("family", family, families)
    return {family: families[family]()}
