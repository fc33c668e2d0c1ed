"""What a report is made of: plain data, filled in by a study or by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from hlens.drawing.figure import Figure
from hlens.drawing.html import Html
from hlens.types import AuditCard, Estimate

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
        neurons: Content of the panel for each neuron, from `hlens.figures.explorer.panel_data`.
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
        audit: The report card of the study's audit, below the cards.
        sections: The questions and their answers, in order; `hlens.report.sections` draws the
            usual ones from plain data.
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
    sections: Sequence[Section] = ()
    cautions: Sequence[str] = ()
    recipe: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
