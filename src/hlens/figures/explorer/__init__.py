"""The neuron map beside a panel of the chosen neuron: its numbers, its words, its answers.

Question: what is this neuron, and on which answers does it speak?
To read it: click a mark, or choose by keyboard. The panel shows its numbers, the tokens that its
output row promotes and suppresses, and the answers on which it is strongest and weakest.
It misleads when a story is made from two answers: the strongest answers of almost any neuron seem
to have one.
"""

import json
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hlens.drawing.figure import plotly_js
from hlens.drawing.html import Html, escape, policy
from hlens.drawing.page import PAGE_CONFIG, asset, packed, themed
from hlens.errors import HlensError
from hlens.figures.explorer._panel import (
    Neuron,
    NeuronPage,
    Strip,
    page_data,
    panel_data,
    strongest,
)
from hlens.figures.explorer._widget import PageOf, widget_class
from hlens.figures.neuron_map import draw as draw_map
from hlens.figures.neuron_map import example as map_example
from hlens.types import Contributions, Detector, NeuronSet

__all__ = [
    "Neuron", "NeuronPage", "Strip", "draw", "example", "live", "page_data", "panel",
    "panel_data", "scripts",
]  # fmt: skip

MOST_NEURONS = 2_000

PANEL = (
    '<aside class="hx-panel" aria-label="The chosen neuron" tabindex="0">'
    '<div class="hx-pick"><label for="hx-select">Neuron</label><select id="hx-select"></select>'
    '<button type="button" class="hx-prev" aria-label="Previous neuron">←</button>'
    '<button type="button" class="hx-next" aria-label="Next neuron">→</button></div>'
    '<div class="hx-body" aria-live="polite"></div></aside>'
)


def draw(
    detector: Detector,
    pages: Mapping[Neuron, NeuronPage] | None = None,
    *,
    frequency: Float[Tensor, "layer neuron"] | None = None,
    auroc: Float[Tensor, "layer neuron"] | None = None,
    contribution: Contributions | None = None,
    shared: Mapping[str, NeuronSet] | None = None,
    theme: str = "auto",
) -> Html:
    """Draw the explorer: click a mark, or pick a neuron with the keyboard.

    Args:
        detector: The detector.
        pages: What is known of each neuron beyond its numbers, by (layer, neuron).
        frequency: How often resampling keeps each neuron.
        auroc: AUROC of each neuron alone.
        contribution: Measured contributions, for the means over wrong and right answers.
        shared: The neurons of several domains, by name.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's system.

    Returns:
        A frame that holds all it needs (about 2 MB, most of it plotly): it works in Jupyter, in
        exported notebooks and from disk, without any request to a host.
    """
    measured: dict[str, Any] = {
        "frequency": frequency, "auroc": auroc, "contribution": contribution, "shared": shared,
    }  # fmt: skip
    # The page's script looks a figure up by the theme in use; a fixed theme fills both places.
    light, dark = ("light", "dark") if theme == "auto" else (theme, theme)
    first = draw_map(detector, **measured, theme=light)
    second = first if dark == light else draw_map(detector, **measured, theme=dark)
    maps = themed({"light": first, "dark": second})
    meta, height = first.meta, int(maps["light"]["layout"]["height"])
    neurons = panel_data(detector, pages or {}, **measured, most=MOST_NEURONS)
    figures = json.dumps({"map": maps, "config": PAGE_CONFIG})
    script, library = scripts() + asset("hlens.figures.explorer", "main.js"), plotly_js()
    fixed = "" if theme == "auto" else f' data-theme="{theme}"'
    # The frame and, once it is saved, the page around it each have their scripts.
    saved = asset("hlens.drawing", "page.js") + asset("hlens.figures.explorer", "saved.js")
    rules = policy(script, library, saved)
    plot = (
        f'<div class="plot wait" role="img" aria-label="{escape(meta["alt"])}" '
        f'style="height:{height}px">drawing …</div>'
    )
    page = (
        f'<!doctype html><html lang="en"{fixed}><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
        f"<style>{asset('hlens.figures.explorer', 'frame.css')}</style></head><body>"
        f"<header><h2>{escape(meta['title'])}</h2><p>{escape(meta['subtitle'])}</p></header>"
        f"{panel(plot)}{packed('figures-json', figures)}"
        f"{packed('neurons-json', json.dumps(neurons))}{packed('plotly-js', library)}"
        f"<script>{script}</script></body></html>"
    )
    return Html(
        # On paper the panel is as long as what it says, and nothing of it scrolls.
        "<style>@media print{.hlens-explorer{height:940px!important}}</style>"
        f'<iframe class="hlens-explorer" title="{escape(meta["title"])}" '
        'sandbox="allow-scripts allow-downloads" '
        f'style="width:100%;height:{height + 100}px;border:0" srcdoc="{escape(page)}"></iframe>',
        meta["alt"],
        rules,
        page_script=saved,
    )


def live(
    detector: Detector,
    pages: Mapping[Neuron, NeuronPage] | None = None,
    *,
    page_of: PageOf | None = None,
    frequency: Float[Tensor, "layer neuron"] | None = None,
    auroc: Float[Tensor, "layer neuron"] | None = None,
    contribution: Contributions | None = None,
    shared: Mapping[str, NeuronSet] | None = None,
    theme: str = "auto",
) -> Any:
    """The explorer as a widget of a running notebook; needs the extra ``hlens[widget]``.

    Args:
        detector: The detector.
        pages: What is known of each neuron beyond its numbers, by (layer, neuron).
        page_of: Makes the page of a neuron when it is first chosen and `pages` has none, such as
            ``lambda n: neuron_pages(model, detector, data, examples, neurons=[n])[n]``.
        frequency: As in `draw`, like all that follow.
        auroc: AUROC of each neuron alone.
        contribution: Measured contributions.
        shared: The neurons of several domains, by name.
        theme: The theme.

    Returns:
        A widget whose trait ``chosen`` is the address of the chosen neuron (``"L12N345"``): read
        it, observe it, or set it. An exported notebook keeps the static explorer.

    Raises:
        HlensError: anywidget is missing, or the detector selects no neuron.
    """
    measured: dict[str, Any] = {
        "frequency": frequency, "auroc": auroc, "contribution": contribution, "shared": shared,
    }  # fmt: skip
    shown = draw(detector, pages, **measured, theme=theme)
    members = strongest(detector, MOST_NEURONS)
    if not members:
        raise HlensError("the detector selects no neuron, so there is none to choose; refit it")
    named = {detector.selected.address(neuron): neuron for neuron in members}
    return widget_class()(shown, named, set(pages or {}), page_of)


def scripts() -> str:
    """The script that links a map to its panel, for pages that hold both."""
    own = (asset("hlens.figures.explorer", name) for name in ("answers.js", "panel.js"))
    return asset("hlens.drawing", "page.js") + "".join(own)


def panel(plot: str) -> str:
    """A map's element beside its panel; the style is `panel.css`."""
    style = "".join(asset("hlens.figures.explorer", name) for name in ("answers.css", "panel.css"))
    return f'<style>{style}</style><div class="hx"><div class="scroll">{plot}</div>{PANEL}</div>'


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: the neurons of the map, all with answers."""
    tokens = ("<bos>", "The", " capital", " of", " Australia", " is", " Sydney", ".")
    wrong = Strip(tokens, (None, 0.0, 0.1, 0.05, 0.3, 0.1, 0.92, 0.02), "hallucinated · general")
    tokens = ("<bos>", "Water", " boils", " at", " 100", " °C", ".")
    right = Strip(tokens, (None, 0.01, 0.02, 0.0, 0.06, 0.03, 0.0), "correct · science")
    up, down = ((" Sydney", 1.2), (" city", 0.7), (" famous", 0.4)), ((" Canberra", -0.9),)
    made = map_example()
    page = NeuronPage((wrong,), (right,), up, down)
    return {**made, "pages": dict.fromkeys(made["detector"].selected, page)}
