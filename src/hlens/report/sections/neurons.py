"""The table of all selected neurons, strongest first."""

from collections.abc import Mapping

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from hlens.report.data import Section
from hlens.report.html_table import table
from hlens.report.sections import neuron_map
from hlens.report.tables import Tables
from hlens.steps import detection
from hlens.types import Contributions, Detector, NeuronSet

HEADING = "All neurons"
NEEDS = neuron_map.NEEDS


def section(tables: Tables) -> Section | None:
    """The section of a study."""
    return draw(tables[detection.detector], **neuron_map.measured(tables))


def draw(
    detector: Detector,
    *,
    frequency: Float[Tensor, "layer neuron"] | None = None,
    auroc: Float[Tensor, "layer neuron"] | None = None,
    contribution: Contributions | None = None,
    shared: Mapping[str, NeuronSet] | None = None,
) -> Section:
    """The section of a detector; see `hlens.report.sections.neuron_map.draw` for the arguments."""
    chosen = detector.selected
    weights = chosen.weights or {}
    members = sorted(chosen, key=lambda neuron: (-abs(weights[neuron]), neuron))
    columns: dict[str, list] = {
        "neuron": [chosen.address(neuron) for neuron in members],
        "layer": [layer for layer, _ in members],
        "weight": [weights[neuron] for neuron in members],
        "associated with": ["hallucination" if weights[n] > 0 else "truth" for n in members],
    }
    if auroc is not None:
        columns["AUROC alone"] = [float(auroc[neuron]) for neuron in members]
    if frequency is not None:
        columns["kept in resamples"] = [float(frequency[neuron]) for neuron in members]
    if contribution is not None:
        rows = [layer * contribution.d_mlp + neuron for layer, neuron in members]
        values, wrong = contribution.rows(rows).float(), contribution.labels
        columns["mean when wrong"] = values[:, wrong].mean(dim=1).tolist()
        columns["mean when right"] = values[:, ~wrong].mean(dim=1).tolist()
    if shared:
        holders = [[k for k, s in shared.items() if n in s.members] for n in members]
        columns["domains"] = [len(names) for names in holders]
        columns["which"] = [", ".join(names) for names in holders]
    rows_of = table(
        pd.DataFrame(columns),
        "Selected neurons, strongest first; click a heading to sort.",
        tall=True,
    )
    return Section(HEADING, "", (rows_of,))
