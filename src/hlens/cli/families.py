"""What there is to choose from, by family. Only the family that is asked for is imported."""

from importlib import import_module as package

from hlens import lookup

FAMILIES = {
    "models": lambda: sorted(package("hlens.model").ALIASES),
    "quantizations": lambda: sorted(package("hlens.model").QUANTIZATIONS),
    "engines": lambda: package("hlens.engines").names(),
    "domains": lambda: package("hlens.domains").names(),
    "layouts": lambda: package("hlens.labelled.layouts").names(),
    "judges": lambda: package("hlens.judges").names(),
    "behaviours": lambda: package("hlens.behaviours").names(),
    "metrics": lambda: package("hlens.metrics").names(),
    "baselines": lambda: package("hlens.baselines").names(),
    "selectors": lambda: package("hlens.selectors").names(),
    "steps": lambda: [step.label for step in package("hlens.steps").all_steps() if step.storage],
    "figures": lambda: lookup.names("figures"),
    "sections": lambda: package("hlens.report.sections").names(),
    "recipes": lambda: package("hlens.recipe.shipped").shipped_recipes(),
}


def listed(family: str | None) -> dict[str, list[str]]:
    """Members of one family, or of all.

    Raises:
        HlensError: No family of that name.
    """
    if family is None:
        return {name: members() for name, members in FAMILIES.items()}
    if family not in FAMILIES:
        raise lookup.unknown("family", family, FAMILIES)
    return {family: FAMILIES[family]()}
