"""What domains share, to be looked through: pairs, exclusive groups, map and neurons in one."""

from collections.abc import Sequence

import pandas as pd

from hlens import figures
from hlens.evaluation.exclusive import MOST_IN_LAYER, MOST_SETS
from hlens.figures.explorer import Neuron, NeuronPage
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import domains, neuron_pages
from hlens.steps.runner import NotMadeError
from hlens.types import NeuronSet

HEADING = "What do domains share?"
NEEDS = (
    domains.domains,
    domains.neuron_sets,
    domains.alone_in_domains,
    neuron_pages.pages_by_domain,
)


def section(tables: Tables) -> Section | None:
    """The section of a study of two domains or more; an older one's has no words and answers."""
    if len(tables[domains.domains]) < 2:
        return None
    try:
        pages = tables[neuron_pages.pages_by_domain]
    except NotMadeError:
        pages = {}
    return draw(tables[domains.neuron_sets], tables[domains.alone_in_domains], pages)


def draw(
    sets: Sequence[NeuronSet],
    alone: pd.DataFrame | None = None,
    pages: dict[str, dict[Neuron, NeuronPage]] | None = None,
) -> Section | None:
    """The section of some sets; see `hlens.figures.overlap_explorer` for the arguments."""
    # A set of much of the model is none of H-neurons, and its exact chance would take minutes.
    fits = [one for one in sets if max(one.per_layer()) <= MOST_IN_LAYER]
    shown = fits[:MOST_SETS]
    if len(shown) < 2:
        return None
    names = {one.name for one in shown}
    left_out = [one.name for one in sets if one.name not in names]
    more = [f"Not among the sets: {', '.join(left_out)}."] if left_out else []
    return Section(
        HEADING,
        "Choose domains, then a pair, a group or a neuron: matrix, columns, map and list show the "
        "same selection. Beside every count is what chance gives within layers.",
        (
            figures.overlap_explorer.inline(
                shown,
                None if alone is None else alone.loc[alone["domain"].isin(list(names))],
                {name: own for name, own in (pages or {}).items() if name in names},
            ),
            *more,
        ),
        "A neuron was selected in a domain for its AUROC there: only its AUROC in other domains "
        "tests it. Two strongest answers are no description of a neuron.",
    )
