"""Where the selected neurons are, with a panel of the chosen one."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hlens import figures
from hlens.figures.explorer import MOST_NEURONS, Neuron, NeuronPage, panel_data
from hlens.report.data import Explored, Picture, Section
from hlens.report.tables import Tables
from hlens.steps import detection, domains, neuron_pages
from hlens.steps.runner import NotMadeError
from hlens.types import Contributions, Detector, NeuronSet

HEADING = "Where the neurons are"
NEEDS = (
    detection.detector,
    detection.alone,
    detection.stability,
    detection.split,
    domains.domains,
    domains.neuron_sets,
    neuron_pages.pages,
)


def section(tables: Tables) -> Section | None:
    """The section of a study; without a panel where the pages of its neurons were not made."""
    detector = tables[detection.detector]
    try:
        pages: Mapping[Neuron, NeuronPage] = tables[neuron_pages.pages]
    except NotMadeError:
        pages = {}
    return draw(detector, pages=pages, **measured(tables))


def measured(tables: Tables) -> dict[str, Any]:
    """What a study knows of each neuron besides its weight: arguments of `draw`."""
    shape = tuple(tables[detection.detector].weights.shape)
    alone = tables[detection.alone]  # no row where a layer of a mixture is narrower than others
    auroc = torch.full(shape, 0.5)
    # Copies: a table that was read from disk is not writable.
    place = alone["layer"].to_numpy(copy=True), alone["neuron"].to_numpy(copy=True)
    auroc[place] = torch.from_numpy(alone["auroc"].to_numpy(dtype=np.float32, copy=True))
    several = len(tables[domains.domains]) > 1
    return {
        "frequency": _frequency(tables[detection.stability], shape),
        "auroc": auroc,
        "contribution": tables[detection.split].train,
        "shared": {one.name: one for one in tables[domains.neuron_sets]} if several else None,
    }


def _frequency(stability: pd.DataFrame, shape: tuple[int, ...]) -> Float[Tensor, "layer neuron"]:
    """How often half-samples select each neuron; the table lists those that any selects."""
    frequency = torch.zeros(shape)
    layer, neuron = (
        torch.tensor(stability[axis].tolist(), dtype=torch.long) for axis in ("layer", "neuron")
    )
    frequency[layer, neuron] = torch.tensor(stability["frequency"].tolist())
    return frequency


def draw(
    detector: Detector,
    *,
    frequency: Float[Tensor, "layer neuron"] | None = None,
    auroc: Float[Tensor, "layer neuron"] | None = None,
    contribution: Contributions | None = None,
    shared: Mapping[str, NeuronSet] | None = None,
    pages: Mapping[Neuron, NeuronPage] | None = None,
) -> Section:
    """The section of a detector.

    Args:
        detector: What was found.
        frequency: Selection frequency of each neuron.
        auroc: AUROC of each neuron alone.
        contribution: Measured contributions, for the means over wrong and right answers.
        shared: Neurons of each domain by name.
        pages: Answers and words of each neuron; the map then has a panel beside it.
    """
    more: dict[str, Any] = {
        "frequency": frequency, "auroc": auroc, "contribution": contribution, "shared": shared,
    }  # fmt: skip
    picture: Picture = partial(figures.neuron_map, detector, **more)
    content: Picture | Explored = picture
    reading = "Each mark is one selected MLP neuron. Hover for its statistics."
    if pages:
        content = Explored(picture, panel_data(detector, pages, **more, most=MOST_NEURONS))
        reading = "Each mark is one selected MLP neuron. Choose one, by a click or in the list."
    if detector.provenance.experts:
        reading += " Where marks of one expert lie on one another, a number counts them."
    if auroc is not None:
        reading += (
            " Shading: the largest distance of a single neuron's AUROC from chance in each bin of "
            "neurons."
        )
    return Section(
        HEADING,
        reading,
        (content,),
        "Neuron order carries no meaning, and a selected neuron is associated with the label, "
        "not shown to cause it.",
    )
