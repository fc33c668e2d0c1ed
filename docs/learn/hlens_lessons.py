"""Lessons as pages of the site: plotly.js once for all of them, and figures in the page's theme.

An executed notebook carries plotly.js in its first figure, which is 5 MB, and every figure as a
script. Its copy for the site holds each figure as data instead, light and dark; `figures.js`
draws what the reader looks at with the site's one plotly.js.
"""

import copy
import json
from pathlib import Path
from typing import Any

from hlens.drawing.figure import Figure, plotly_js
from hlens.drawing.html import escape
from hlens.drawing.page import PAGE_CONFIG, asset, themed

PLOTLY = "application/vnd.plotly.v1+json"
MADE = ("plotly.min.js", "hlens_page.js")  # written into the site, not kept in the repository


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
    if PLOTLY in output.get("data", {}):
        output["data"] = {"text/html": figure_html(output["data"][PLOTLY])}
    return output


def figure_html(plain: dict[str, Any]) -> str:
    """The element that the site's script draws a figure into.

    Args:
        plain: A figure of hlens as plotly's JSON: ``data``, ``layout``, and in the layout's
            ``meta`` its words, and its dark twin under ``"dark"`` where there is one.
    """
    light = Figure(data=plain["data"], layout=plain["layout"])
    meta = light.meta
    dark = meta.pop("dark", None)
    light.update_layout(meta={**meta, "dark": None})
    drawn = {"light": light} if dark is None else {"light": light, "dark": Figure(dark)}
    figures = themed(drawn)
    # A script's text ends at the first "</script", wherever that stands.
    data = json.dumps({**figures, "config": PAGE_CONFIG}).replace("<", r"\u003c")
    height = figures["light"]["layout"]["height"]
    title, subtitle = meta.get("title", ""), meta.get("subtitle", "")
    words = "".join(
        f'<p class="{name}">{escape(text)}</p>'
        for name, text in (("hl-title", title), ("hl-subtitle", subtitle))
        if text
    )
    return (
        f'<figure class="hl-figure"><figcaption>{words}</figcaption><div class="hl-scroll">'
        f'<div class="plot wait" role="img" aria-label="{escape(meta.get("alt", title))}" '
        f'style="height:{height}px"></div></div>'
        f'<script type="application/json">{data}</script></figure>'
    )


def _write_scripts(app: Any) -> None:
    """plotly.js of the installed plotly, and the script that draws a figure in a theme."""
    if app.builder.format == "html":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        texts = (plotly_js(), asset("hlens.drawing", "page.js"))
        for name, text in zip(MADE, texts, strict=True):
            (folder / name).write_text(text, encoding="utf-8")


def _add_scripts(app: Any, pagename: str, templatename: str, context: Any, doctree: Any) -> None:
    """Every page follows the theme; only those with figures load plotly.js."""
    plotly, page = MADE
    if 'class="plot wait"' in context.get("body", ""):
        app.add_js_file(plotly, loading_method="defer")
    app.add_js_file(page, loading_method="defer")
    app.add_js_file("figures.js", loading_method="defer")


def setup(app: Any) -> dict[str, bool]:
    """As a Sphinx extension: the scripts that draw, on the pages that have figures."""
    app.connect("builder-inited", _write_scripts)
    app.connect("html-page-context", _add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
