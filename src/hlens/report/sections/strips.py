"""A few answers, token by token, coloured by their risk."""

from collections.abc import Sequence
from typing import Any

from hlens import figures
from hlens.drawing.html import Html
from hlens.report.data import Section
from hlens.report.tables import Tables
from hlens.steps import levels, neuron_pages

HEADING = "Answers, token by token"
NEEDS = (levels.has_several_spans, neuron_pages.token_risks)


def section(tables: Tables) -> Section | None:
    """The section of a study; where answers hold several spans, they are shown with these."""
    if tables[levels.has_several_spans]:
        return None
    return draw([_strip(answer) for answer in tables[neuron_pages.token_risks]])


def _strip(answer: dict[str, Any]) -> Html:
    risk = [float("nan") if value is None else value for value in answer["risk"]]
    return figures.tokens(
        answer["tokens"], risk, n_prompt=answer["n_prompt"], verdict=answer["verdict"]
    )


def draw(strips: Sequence[Html]) -> Section | None:
    """The section of token strips (`hlens.figures.tokens`); None where there are none."""
    if not strips:
        return None
    return Section(
        "One answer, token by token" if len(strips) == 1 else HEADING,
        "Darker is riskier. Hover, or move with the Tab key, for the numbers of a token.",
        tuple(strips),
        "The detector was fitted on whole answers; its reading of single tokens only illustrates.",
    )
