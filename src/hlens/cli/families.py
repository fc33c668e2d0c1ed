"""What there is to choose from, by family."""

from hlens import lookup


def listed(family: str | None) -> dict[str, list[str]]:
    """Members of one family, or of all.

    Raises:
        HlensError: No family of that name.
    """
    families = {
        "models": _models,
        "domains": _domains,
        "judges": _judges,
        "behaviours": _behaviours,
        "metrics": _metrics,
        "baselines": lambda: lookup.names("baselines"),
        "figures": lambda: lookup.names("figures"),
        "recipes": _recipes,
    }
    if family is None:
        return {name: members() for name, members in families.items()}
    if family not in families:
        raise lookup.unknown("family", family, families)
    return {family: families[family]()}


def _models() -> list[str]:
    from hlens.model import ALIASES

    return sorted(ALIASES)


def _domains() -> list[str]:
    from hlens import domains

    return domains.names()


def _judges() -> list[str]:
    from hlens import judges

    return judges.names()


def _behaviours() -> list[str]:
    from hlens import behaviours

    return behaviours.names()


def _metrics() -> list[str]:
    from hlens import metrics

    return sorted(metrics.names())


def _recipes() -> list[str]:
    from hlens.cli.studies import shipped_recipes

    return shipped_recipes()
