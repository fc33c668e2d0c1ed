"""The order in which every report asks its questions."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from hlens.drawing.html import Html, escape
from hlens.figures.explorer import MOST_NEURONS, panel_data
from hlens.figures.neuron_map import draw as draw_neuron_map
from hlens.figures.scores import draw as draw_scores
from hlens.report.data import Explored, Picture, ReportData, Section
from hlens.report.neurons import neuron_table
from hlens.report.table import table


def sections_of(data: ReportData) -> Iterator[Section]:
    """All sections of a report; those without data are left out."""
    if data.scores is not None and len(data.scores):
        yield _scores(data)
    if data.strips:
        yield _strips(data)
    if data.detector is not None:
        yield _map(data)
    yield from data.sections
    if data.detector is not None:
        yield _neurons(data)
    if data.cautions:
        yield _cautions(data)
    if data.recipe or data.versions:
        yield _made(data)


def _scores(data: ReportData) -> Section:
    assert data.scores is not None  # checked by the caller
    return Section(
        "Does it tell wrong from right?",
        "AUROC on held-out answers: 0.5 is chance, 1 is perfect. A claim stands only above its "
        "controls.",
        (
            partial(draw_scores, data.scores),
            table(data.scores, "Every score with its interval and number of answers."),
        ),
        "The interval of random neurons and of shuffled labels is the spread of repeats; all "
        "others are bootstrap intervals over whole groups of questions.",
    )


def _strips(data: ReportData) -> Section:
    return Section(
        "One answer, token by token" if len(data.strips) == 1 else "Answers, token by token",
        "Darker is riskier. Hover, or move with the Tab key, for the numbers of a token.",
        tuple(data.strips),
        "The detector was fitted on whole answers; its reading of single tokens only illustrates.",
    )


def _map(data: ReportData) -> Section:
    assert data.detector is not None  # checked by the caller
    picture = partial(
        draw_neuron_map,
        data.detector,
        frequency=data.frequency,
        auroc=data.auroc,
        contribution=data.contribution,
        shared=data.shared,
    )
    piece: Picture | Explored = picture
    how = "Each mark is one selected MLP neuron. Hover for its statistics."
    if data.pages:
        piece = Explored(picture, _panel(data))
        how = "Each mark is one selected MLP neuron. Choose one, by a click or in the list."
    shade = "the largest distance of a single neuron's AUROC from chance"
    return Section(
        "Where the neurons are",
        how + (f" Shading: {shade} in each bin of neurons." if data.auroc is not None else ""),
        (piece,),
        "Neuron order carries no meaning, and a selected neuron is associated with the label, "
        "not shown to cause it.",
    )


def _panel(data: ReportData) -> dict[str, Any]:
    assert data.detector is not None  # checked by the caller
    return panel_data(
        data.detector,
        data.pages,
        frequency=data.frequency,
        auroc=data.auroc,
        contribution=data.contribution,
        shared=data.shared,
        most=MOST_NEURONS,
    )


def _neurons(data: ReportData) -> Section:
    assert data.detector is not None  # checked by the caller
    found = neuron_table(data, data.detector)
    rows = table(found, "Selected neurons, strongest first; click a heading to sort.", tall=True)
    return Section("All neurons", "", (rows,))


def _cautions(data: ReportData) -> Section:
    items = "".join(f"<li>{escape(line)}</li>" for line in data.cautions)
    return Section("What this does not show", "", (Html(f'<ul class="cautions">{items}</ul>'),))


def _made(data: ReportData) -> Section:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(version)}</td></tr>"
        for name, version in data.versions.items()
    )
    versions = (
        '<div class="rows"><table><caption>Versions</caption><thead><tr><th scope="col">'
        '<span class="plain">package</span></th><th scope="col"><span class="plain">version'
        f"</span></th></tr></thead><tbody>{rows}</tbody></table></div>"
        if rows
        else ""
    )
    recipe = f'<pre tabindex="0" aria-label="Recipe">{escape(data.recipe)}</pre>'
    return Section(
        "How it was made",
        "The recipe repeats this study.",
        (Html(f'<div class="made">{recipe if data.recipe else ""}{versions}</div>'),),
    )
