"""Which neurons do domains share, and what are they? Matrix, UpSet plot, map and list in one.

To read it: choose the sets to compare, then a cell, a column or a mark. All three show the same
selection, and the list has its neurons. The line on a column's bar, and the numbers below it, say
how many neurons chance puts there when each set is placed at random within its layers.
It misleads when the AUROC of a neuron is read in the domain in which it was selected: it was
selected for that number. In the other domains it was not.
"""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hlens.claims.conventions import LEVEL
from hlens.counting import count
from hlens.drawing.html import Html, escape, policy, visible
from hlens.drawing.page import asset, packed
from hlens.drawing.table import check_columns, check_one_study
from hlens.drawing.theme import palette
from hlens.evaluation import exclusive_overlap
from hlens.figures.explorer import Neuron, NeuronPage, Strip
from hlens.figures.overlap_explorer._data import ALONE, Pages, explorer_data, members_in_order
from hlens.figures.overlap_explorer._widget import widget_class
from hlens.figures.upset import named_apart
from hlens.types import NeuronSet

__all__ = ["draw", "example", "inline", "live", "members_in_order"]

PARTS = ("data.js", "chips.js", "matrix.js", "upset.js", "map.js", "list.js", "link.js")


def draw(
    sets: Sequence[NeuronSet],
    alone: pd.DataFrame | None = None,
    pages: Pages | None = None,
    *,
    theme: str = "auto",
) -> Html:
    """Draw the explorer of two sets or more: ``overlap_explorer([a, b, c])``.

    Args:
        sets: Two to eight sets of one model; those without a name of their own are numbered.
        alone: AUROC of neurons in each domain alone, as `hlens.evaluation.alone_by_domain` returns
            it: columns ``domain, layer, neuron, auroc, low, high, p_corrected``. Domains are the
            names of sets.
        pages: What neurons promote, and their strongest answers: for the name of each set the
            pages of neurons, as `hlens.report.neuron_pages` makes them of that domain's examples.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's system.

    Returns:
        A frame that holds all it needs: it works in Jupyter, in exported notebooks and from disk,
        without any request to a host. `Html.save` writes it as a file.

    Raises:
        HlensError: One set, or more than eight, sets of other shapes, or a table without a column,
            with a row that stands twice, or of a domain that no set has.
    """
    if theme != "auto":
        palette(theme)  # raises where there is none of this name
    own, meta = _inner(sets, alone, pages)
    script = asset("hlens.drawing", "page.js") + asset("hlens.figures.explorer", "answers.js")
    script += _script("frame.js")
    rules = policy(script)
    fixed = "" if theme == "auto" else f' data-theme="{theme}"'
    page = (
        f'<!doctype html><html lang="en"{fixed}><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
        f"<style>{asset('hlens.figures.explorer', 'frame.css')}</style></head><body>"
        f"<header><h2>{escape(meta['title'])}</h2><p>{escape(meta['subtitle'])}</p></header>"
        f"{own}<script>{script}</script></body></html>"
    )
    return Html(
        f'<iframe title="{escape(meta["title"])}" sandbox="allow-scripts" '
        f'style="width:100%;height:{_height(sets)}px;border:0" srcdoc="{escape(page)}"></iframe>',
        meta["alt"],
        rules,
    )


def live(
    sets: Sequence[NeuronSet],
    alone: pd.DataFrame | None = None,
    pages: Pages | None = None,
    *,
    theme: str = "auto",
) -> Any:
    """The explorer as a widget of a running notebook; needs the extra ``hlens[widget]``.

    Args:
        sets: As in `draw`, like all that follow.
        alone: AUROC of neurons in each domain alone.
        pages: What neurons promote, and their answers.
        theme: The theme.

    Returns:
        A widget whose ``neurons`` are those selected in the page, as a `NeuronSet`, and whose
        ``choose(["general", "science"])`` selects there. An exported notebook keeps the explorer.

    Raises:
        HlensError: anywidget is missing, or as `draw` does.
    """
    shown = draw(sets, alone, pages, theme=theme)
    return widget_class()(shown, named_apart(sets))


def inline(
    sets: Sequence[NeuronSet], alone: pd.DataFrame | None = None, pages: Pages | None = None
) -> Html:
    """The explorer as a part of a report, whose theme it follows; see `draw` for the arguments."""
    own, meta = _inner(sets, alone, pages)
    caption = f'<h3>{escape(meta["title"])}</h3><p class="sub">{escape(meta["subtitle"])}</p>'
    markup = f"<figure><figcaption>{caption}</figcaption>{own}</figure>"
    return Html(markup, meta["alt"], script=_script("start.js"))


def _script(last: str) -> str:
    return "".join(asset("hlens.figures.overlap_explorer", name) for name in (*PARTS, last))


def _inner(
    sets: Sequence[NeuronSet], alone: pd.DataFrame | None, pages: Pages | None
) -> tuple[str, dict[str, str]]:
    """The explorer's element, and its title, subtitle and alternative text."""
    sets = named_apart(sets)
    if alone is not None:
        check_columns(alone, ALONE, figure="overlap_explorer", source="evaluation.alone_by_domain")
        check_one_study(alone, ("domain", "layer", "neuron"), figure="overlap_explorer")
    groups = exclusive_overlap(sets, choices=True)
    data = explorer_data(sets, groups, alone=alone, pages=pages)
    whole = groups.head(2 ** len(sets) - 1)  # those among all sets come first
    title, subtitle = _title(whole, len(sets)), _subtitle(whole, len(sets))
    alt = f"{title}. {subtitle}"
    style = "".join(
        asset(package, name)
        for package, name in (
            ("hlens.figures.explorer", "answers.css"),
            ("hlens.figures.overlap_explorer", "style.css"),
        )
    )
    markup = (
        f'<style>{style}</style><div class="ox wait" role="group" aria-label="{escape(alt)}">'
        "<noscript><p>This explorer needs JavaScript; the tables do not.</p></noscript></div>"
        f"{packed('overlap-json', json.dumps(data), effort=4)}"
    )
    return markup, {"title": title, "subtitle": subtitle, "alt": alt}


def _height(sets: Sequence[NeuronSet]) -> int:
    """Height of the frame in pixels where it is wide; a narrow one scrolls."""
    layers = sets[0].n_layers
    # As in map.js, whose marks of two layers may not touch.
    return 490 + 24 * len(sets) + max(240, round(layers * max(7, min(18, 520 / layers)))) + 50


def _title(groups: pd.DataFrame, n_sets: int) -> str:
    """Which combinations of all the sets hold more neurons than chance."""
    shared = groups.loc[groups.n_sets > 1]
    total = int(groups.neurons.sum())
    if not total:
        return "No set holds a neuron"
    if not shared.neurons.sum():
        return f"No neuron is shared: each of {total:,} is in one of {n_sets} sets only"
    beyond = shared.loc[shared.p_corrected <= LEVEL]
    n, several = int(beyond.neurons.sum()), len(shared) > 1
    if not len(beyond):
        held = count(int(shared.neurons.sum()), "neuron")
        return f"{held} of {total:,} shared, nowhere more than chance"
    where = f"{len(beyond)} of {len(shared)} combinations share" if several else "The sets share"
    return f"{where} more than chance: {count(n, 'neuron')} of {total:,}"


def _subtitle(groups: pd.DataFrame, n_sets: int) -> str:
    expected = float(groups.expected[groups.n_sets > 1].sum())
    return (
        f"{n_sets} sets · chance, at random within layers, would share {expected:.3g} · "
        f"p by Holm over {len(groups)}"
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: four domains share a core, two have little of it."""
    draw_from = random.Random(0)
    model = [(layer, neuron) for layer in range(12, 24) for neuron in range(1024)]
    core = draw_from.sample(model, 14)
    held = {"general": (43, 14), "science": (41, 11), "legal": (39, 9), "financial": (39, 8),
            "moral": (37, 2), "code": (36, 0)}  # fmt: skip
    sets = []
    for name, (size, n) in held.items():
        members = [*core[:n], *draw_from.sample(model, size - n)]
        weights = {
            one: draw_from.choice([-1, 1, 1]) * draw_from.uniform(0.05, 1) for one in members
        }
        sets.append(NeuronSet(frozenset(members), 24, 1024, weights=weights, name=name))
    return {"sets": sets, "alone": _made_alone(sets, draw_from), "pages": _made_pages(core, held)}


def _made_alone(sets: Sequence[NeuronSet], draw_from: random.Random) -> pd.DataFrame:
    rows = []
    for layer, neuron in sorted(set().union(*(one.members for one in sets))):
        for one in sets:
            auroc = draw_from.gauss(0.66 if (layer, neuron) in one else 0.53, 0.035)
            p = min(1.0, 10 ** (-60 * max(auroc - 0.52, 0.0)) * 40)
            rows.append((one.name, layer, neuron, auroc, auroc - 0.07, auroc + 0.07, p))
    return pd.DataFrame(rows, columns=list(ALONE))


def _made_pages(
    core: Sequence[Neuron], held: Mapping[str, Any]
) -> dict[str, dict[Neuron, NeuronPage]]:
    words = (((" city", 1.2), (" capital", 0.9), (" Sydney", 0.7)), ((" perhaps", -0.8),))
    asked = ("Q", ":", " The", " capital", " of", " Australia", "?", " A", ":", " Sydney", ".")
    values = (*(None,) * 9, 0.82, 0.11)
    made = {}
    for name in held:
        strip = Strip(asked, values, f"hallucinated · {visible(name)} · contribution 0.41")
        made[name] = {neuron: NeuronPage((strip,), (), *words) for neuron in core}
    return made
