"""Whether domains share neurons, beside what chance gives."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from hlens import figures
from hlens.claims.conventions import LEVEL
from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.tables import Tables
from hlens.steps import domains

HEADING = "Do domains share neurons?"
NEEDS = (domains.domains, domains.overlap, domains.shared_neurons, domains.neuron_sets)
SHOWN = 200  # shared neurons in the report; the study's table holds all


def section(tables: Tables) -> Section | None:
    """The section of a study of two domains or more."""
    if len(tables[domains.domains]) < 2:
        return None
    overlap, shared = tables[domains.overlap], tables[domains.shared_neurons]
    return Section(
        HEADING,
        "H-neurons selected separately in each domain: overlap, and how far it lies above chance.",
        (
            partial(figures.overlap, overlap),
            *describe_overlap(overlap),
            partial(figures.upset, tables[domains.neuron_sets]),
            "Each pair in numbers, beside what chance gives: within layers (the plain columns), "
            "over the whole model (hypergeometric), and among neurons of like contribution in a "
            "layer (contribution); p corrected by Holm over the pairs.",
            table(overlap, "Overlap of each pair.", tall=True),
            table(shared, "Neurons of two domains or more, with their weight in each.", SHOWN)
            if len(shared)
            else "No neuron is in two sets.",
        ),
        "L1 picks one of several like neurons: a small overlap does not show that domains differ.",
    )


def describe_overlap(overlap: pd.DataFrame) -> Iterator[str]:
    """How many pairs share more than chance, under each null."""
    nulls = {
        "_hypergeometric": "drawn from the whole model",
        "": "drawn within layers",
        "_contribution": "drawn among neurons of like contribution in a layer",
    }
    counts = [
        f"{np.count_nonzero(overlap[f'p_corrected{suffix}'] <= LEVEL)} where sets are {words}"
        for suffix, words in nulls.items()
        if f"p_corrected{suffix}" in overlap
    ]
    yield f"Of {len(overlap)} pairs, more than chance (corrected p ≤ .05): {', '.join(counts)}."
