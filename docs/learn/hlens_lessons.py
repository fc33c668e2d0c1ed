"""Lessons as pages of the site: plotly.js once for all of them, and figures in the page's theme.

An executed notebook carries plotly.js in its first figure, which is 5 MB, and every figure as a
script. Its copy for the site holds each figure as data instead, light and dark.
"""

import copy
from typing import Any

from hlens_figures import explorer_html, figure_html

from hlens.drawing.figure import Figure

PLOTLY = "application/vnd.plotly.v1+json"


def for_site(notebook: Any) -> Any:
    """A copy of an executed notebook whose figures the site draws."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs = [_drawn_by_site(x) for x in cell.outputs if not _is_plotly_js(x)]
    return made


def _is_plotly_js(output: Any) -> bool:
    """Whether an output shows nothing, and only brings plotly.js for the figures after it."""
    data = output.get("data", {})
    return "window.PlotlyConfig" in data.get("text/html", "") and PLOTLY not in data


def _drawn_by_site(output: Any) -> Any:
    data = output.get("data", {})
    plain, markup = data.get(PLOTLY), data.get("text/html", "")
    if 'class="hlens-explorer"' in markup:
        output["data"] = {"text/html": explorer_html(markup)}
    if plain is not None:
        light = Figure(data=plain["data"], layout=plain["layout"])
        meta = light.meta  # where the lesson's kernel put the dark twin: notebooks/both_themes.py
        dark = meta.pop("dark", None)
        light.layout["meta"] = meta
        output["data"] = {"text/html": figure_html(light, dark and Figure(dark))}
    return output
