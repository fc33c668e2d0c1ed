"""Figures that the site draws: data in the page, light and dark, and plotly.js once for all pages.

``_static/figures.js`` draws them in the theme that the reader has chosen, with the script that
reports have.
"""

import base64
import gzip
import html
import json
import re
from pathlib import Path
from typing import Any

from hlens.drawing.figure import Figure, plotly_js
from hlens.drawing.html import escape
from hlens.drawing.page import PAGE_CONFIG, themed
from hlens.figures import explorer

MADE = ("plotly.min.js", "hlens_page.js")  # written into the site, not kept in the repository


def figure_html(light: Figure, dark: Figure | None = None) -> str:
    """The element that the site's script draws a figure into; without `dark` it is always light."""
    figures = themed({"light": light} if dark is None else {"light": light, "dark": dark})
    title, subtitle = (light.meta.get(name, "") for name in ("title", "subtitle"))
    plot = _plot(light.meta.get("alt", title), figures["light"]["layout"]["height"])
    return _figure(title, subtitle, f'<div class="hl-scroll">{plot}</div>', figures)


def explorer_html(markup: str) -> str:
    """An explorer as a part of the page, whose theme and plotly.js it then shares.

    Args:
        markup: Of `hlens.figures.explorer`: a frame that holds a plotly.js of its own.
    """
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', markup)[1])  # type: ignore[index]
    drawn = json.loads(_unpacked(page, "figures-json"))
    neurons = json.loads(_unpacked(page, "neurons-json"))
    words = re.search(r"<header><h2>(.*?)</h2><p>(.*?)</p>", page)
    title, subtitle = map(html.unescape, words.groups())  # type: ignore[union-attr]
    held = explorer.panel(_plot(title, drawn["map"]["light"]["layout"]["height"]))
    return _figure(title, subtitle, held, {**drawn["map"], "neurons": neurons})


def _unpacked(page: str, name: str) -> str:
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    return gzip.decompress(base64.b64decode(found[1])).decode()  # type: ignore[index]


def _plot(alt: str, height: float) -> str:
    return (
        f'<div class="plot wait" role="img" aria-label="{escape(alt)}" '
        f'style="height:{height}px"></div>'
    )


def _figure(title: str, subtitle: str, held: str, figures: dict[str, Any]) -> str:
    # A script's text ends at the first "</script", wherever that stands.
    data = json.dumps({**figures, "config": PAGE_CONFIG}).replace("<", r"\u003c")
    words = "".join(
        f'<p class="{name}">{escape(text)}</p>'
        for name, text in (("hl-title", title), ("hl-subtitle", subtitle))
        if text
    )
    return (
        f'<figure class="hl-figure"><figcaption>{words}</figcaption>{held}'
        f'<script type="application/json">{data}</script></figure>'
    )


def _write_scripts(app: Any) -> None:
    """plotly.js of the installed plotly, and what draws figures and explorers in a theme."""
    if app.builder.format == "html":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        texts = (plotly_js(), explorer.scripts())
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
