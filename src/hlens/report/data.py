"""What a report is made of: plain data, filled in by a study or by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from hlens.drawing.figure import Figure
from hlens.drawing.html import Html
from hlens.figures.explorer import Neuron, NeuronPage
from hlens.types import AuditCard, Contributions, Detector, Estimate, NeuronSet

# A figure that is not yet drawn: called with theme="light" and theme="dark", such as
# functools.partial(hlens.figures.transfer.draw, table).
Picture = Callable[..., Figure]


@dataclass(frozen=True)
class Card:
    """One number at the head of the report.

    Attributes:
        label: What it is.
        value: The number with its interval, or a word.
        note: One line below it: the control, or what it is out of.
    """

    label: str
    value: Estimate | str | int | float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Explored:
    """The neuron map beside a panel of the chosen neuron.

    Attributes:
        picture: The map.
        neurons: What the panel tells of each neuron, from `hlens.figures.explorer.panel_data`.
    """

    picture: Picture
    neurons: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Section:
    """One question and what answers it.

    Attributes:
        heading: A few words.
        question: The question in a sentence, and how to read the answer.
        content: Pictures, tables, markup of `hlens.figures` (token strips, explorer) and plain
            text, in order.
        caution: How the answer misleads, or what it does not show.
    """

    heading: str
    question: str = ""
    content: Sequence[Picture | Explored | Figure | Html | pd.DataFrame | str] = ()
    caution: str = ""


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that a report shows. Only `title` must be given; what is empty is left out.

    Attributes:
        title: Title of the page.
        model: Name of the model.
        summary: One or two sentences below the title: data, probe, seed.
        finding: What was found, in one sentence, also when it is "no better than chance".
        cards: Numbers at the head.
        audit: The report card of the study's audit; it stands below the cards.
        scores: The detector beside its controls, columns ``control, auroc, low, high, n`` and any
            more (what `hlens.evaluation.controls` returns).
        strips: Token strips of a few answers (`hlens.figures.tokens`).
        detector: What was found; draws the neuron map and fills the neuron table.
        frequency: Selection frequency of each neuron.
        auroc: AUROC of each neuron alone.
        contribution: Measured contributions, for the means over wrong and right answers.
        shared: Neurons of each domain by name.
        pages: Answers and words of each neuron; the map then has a panel beside it.
        sections: More questions, in order, between the map and the neuron table.
        cautions: What the study does not show, a sentence each.
        recipe: The recipe as TOML.
        versions: Version of each package that took part.
    """

    title: str
    model: str = ""
    summary: str = ""
    finding: str = ""
    cards: Sequence[Card] = ()
    audit: AuditCard | None = None
    scores: pd.DataFrame | None = None
    strips: Sequence[Html] = ()
    detector: Detector | None = None
    frequency: Float[Tensor, "layer neuron"] | None = None
    auroc: Float[Tensor, "layer neuron"] | None = None
    contribution: Contributions | None = None
    shared: Mapping[str, NeuronSet] | None = None
    pages: Mapping[Neuron, NeuronPage] = field(default_factory=dict)
    sections: Sequence[Section] = ()
    cautions: Sequence[str] = ()
    recipe: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
