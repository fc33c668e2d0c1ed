"""Which neurons are shared by whom? An UpSet plot of exclusive intersections, most shared first.

To read it: each column is one combination of sets, named by its filled dots; the bar above counts
the neurons that are in exactly these sets. The subtitle says how many chance would put there.
It misleads when a bar is read as a whole overlap: each neuron is counted once, in the one column
that names all the sets it is in.
"""

import html
import math
from collections import Counter
from collections.abc import Sequence
from itertools import count as count_from
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hlens.counting import count
from hlens.display import display_name, display_names
from hlens.drawing.figure import Figure, add_note, broken, escape, finish
from hlens.drawing.theme import Palette, colour_at, palette
from hlens.errors import HlensError
from hlens.types import NeuronSet

Group = frozenset[str]

MOST_COLUMNS = 30
ROW = 32  # height of a set in pixels


def draw(sets: Sequence[NeuronSet], *, theme: str = "light") -> Figure:
    """Draw which neurons are in which sets.

    Args:
        sets: At least two sets of one model; those without a name of their own are numbered.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: Fewer than two sets, or sets of other shapes.
    """
    sets = named_apart(sets)
    _check(sets)
    colours = palette(theme)
    ordered = sorted(sets, key=lambda one: (-len(one), one.name))
    counts = intersections(sets)
    groups = sorted(counts, key=lambda group: (-len(group), -counts[group], sorted(group)))
    largest = set(sorted(groups, key=lambda group: -counts[group])[:MOST_COLUMNS])
    kept = [group for group in groups if group in largest]
    shades = [_shade(group, len(sets), colours) for group in kept]
    figure = Figure()
    _add_bars(figure, kept, counts, shades, colours)
    _add_dots(figure, kept, ordered, shades, colours)
    _add_sizes(figure, ordered, colours)
    _set_axes(figure, kept, ordered, colours)
    return finish(
        figure,
        colours,
        title=_title(counts, len(sets)),
        subtitle=_subtitle(sets, counts, len(kept)),
        height=300 + ROW * len(sets),
        margin={"t": 44, "b": 52, "l": 24, "r": 24},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: four domains with a common core."""
    draw_from = np.random.default_rng(0)
    core = {(int(draw_from.integers(12)), int(j)) for j in draw_from.integers(0, 512, 6)}
    sets = []
    for name, n in (("general", 30), ("science", 24), ("legal", 18), ("code", 12)):
        own = {(int(draw_from.integers(12)), int(j)) for j in draw_from.integers(0, 512, n)}
        pair = set(sorted(sets[-1].members)[:4]) if sets else set()
        sets.append(NeuronSet(frozenset(core | own | pair), 12, 512, name=name))
    return {"sets": sets}


def named_apart(sets: Sequence[NeuronSet]) -> list[NeuronSet]:
    """The sets, each with a name of its own: what has none, or shares it, is numbered."""
    given = Counter(one.name for one in sets)
    taken, named = {name for name, n in given.items() if n == 1}, []
    for one in sets:
        if not one.name or given[one.name] > 1:
            numbered = (f"{one.name or 'set'} {number}" for number in count_from(1))
            one = one.renamed(next(name for name in numbered if name not in taken))
            taken.add(one.name)
        named.append(one)
    return named


def _check(sets: Sequence[NeuronSet]) -> None:
    if len(sets) < 2:
        raise HlensError(f"{count(len(sets), 'set')}; an UpSet plot needs two or more")
    for one in sets[1:]:
        _ = sets[0] & one  # raises with its own clear line when the models differ


def intersections(sets: Sequence[NeuronSet]) -> dict[Group, int]:
    """How many neurons are in exactly these sets, for each combination that occurs.

    >>> a = NeuronSet(frozenset({(0, 0), (0, 1)}), 1, 4, name="a")
    >>> b = NeuronSet(frozenset({(0, 1)}), 1, 4, name="b")
    >>> sorted((sorted(group), n) for group, n in intersections([a, b]).items())
    [(['a'], 1), (['a', 'b'], 1)]
    """
    holders: dict[tuple[int, int], set[str]] = {}
    for one in sets:
        for neuron in one.members:
            holders.setdefault(neuron, set()).add(one.name)
    return dict(Counter(frozenset(names) for names in holders.values()))


def expected(sets: Sequence[NeuronSet], group: Group) -> float:
    """Neurons in exactly this combination if each set were drawn at random within each layer."""
    widths = np.array(max(sets, key=lambda one: len(one.experts)).widths)
    chance = np.ones(sets[0].n_layers)
    for one in sets:
        rate = np.array(one.per_layer()) / widths
        chance *= rate if one.name in group else 1 - rate
    return float((chance * widths).sum())


def _add_bars(
    figure: Figure, kept: list[Group], counts: dict[Group, int], shades: list[str], colours: Palette
) -> None:
    sizes = [counts[group] for group in kept]
    figure.add_trace(
        go.Bar(
            x=list(range(len(kept))),
            y=sizes,
            marker={"color": shades, "line": {"width": 0}},
            text=[f"{size:,}" for size in sizes],
            textposition="outside",
            textfont={"size": 12, "color": colours.ink},
            cliponaxis=False,
            hovertext=[
                f"{escape(' + '.join(sorted(map(_shown, group))))}"
                f"<br><b>{count(counts[group], 'neuron')}</b>"
                for group in kept
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    )
    for degree in sorted({len(group) for group in kept}):
        columns = [i for i, group in enumerate(kept) if len(group) == degree]
        add_note(
            figure, "one only" if degree == 1 else f"in {degree}",
            x=(columns[0] + columns[-1]) / 2, y=1, colour=colours.muted, xref="x", yref="paper",
            yanchor="bottom", yshift=8,
        )  # fmt: skip


def _add_dots(
    figure: Figure,
    kept: list[Group],
    ordered: list[NeuronSet],
    shades: list[str],
    colours: Palette,
) -> None:
    for row in range(0, len(ordered), 2):
        figure.add_shape(
            type="rect", xref="x", yref="y2", x0=-0.5, x1=len(kept) - 0.5, y0=row - 0.5,
            y1=row + 0.5, fillcolor=colours.faint, line={"width": 0}, layer="below",
        )  # fmt: skip
    for column, group in enumerate(kept):
        rows = [row for row, one in enumerate(ordered) if one.name in group]
        if len(rows) > 1:
            figure.add_shape(
                type="line", xref="x", yref="y2", x0=column, x1=column, y0=rows[0], y1=rows[-1],
                line={"color": shades[column], "width": 2.5},
            )  # fmt: skip
    dots = [(c, r, one.name in g) for c, g in enumerate(kept) for r, one in enumerate(ordered)]
    filled = [s if len(g) > 1 else colours.control for g, s in zip(kept, shades, strict=True)]
    figure.add_trace(
        go.Scatter(
            x=[column for column, _, _ in dots],
            y=[row for _, row, _ in dots],
            yaxis="y2",
            mode="markers",
            marker={
                "opacity": 1,
                "size": [12 if inside else 8 for _, _, inside in dots],
                "color": [filled[c] if inside else colours.grid for c, _, inside in dots],
                "line": {"width": 0},
            },
            hovertext=[
                f"{'in' if inside else 'not in'} {escape(_shown(ordered[row].name))}"
                for _, row, inside in dots
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    )


def _add_sizes(figure: Figure, ordered: list[NeuronSet], colours: Palette) -> None:
    figure.add_trace(
        go.Bar(
            x=[len(one) for one in ordered],
            y=list(range(len(ordered))),
            orientation="h",
            xaxis="x2",
            yaxis="y2",
            width=0.55,
            marker={"color": colours.neutral, "line": {"width": 0}},
            text=[f"{len(one):,}" for one in ordered],
            textposition="outside",
            textfont={"size": 12, "color": colours.ink},
            cliponaxis=False,
            hovertext=[count(len(one), "neuron") for one in ordered],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    )


def _set_axes(
    figure: Figure, kept: list[Group], ordered: list[NeuronSet], colours: Palette
) -> None:
    names = display_names("domains", [one.name for one in ordered])
    texts = [broken(name, 16) for name in names.values()]
    longest = max(len(html.unescape(line)) for text in texts for line in text.split("<br>"))
    start = max(0.3, 0.17 + 0.0145 * longest)  # of the columns, right of the names
    dots = ROW * len(ordered) / (ROW * len(ordered) + 180)  # their share of the height
    largest = max((len(one) for one in ordered), default=1) or 1
    figure.update_layout(
        bargap=0.32,
        xaxis={
            "domain": [start, 1],
            "range": [-0.6, len(kept) - 0.4],
            "showticklabels": False,
            "showgrid": False,
            "anchor": "y2",
        },
        yaxis={
            "domain": [dots + 0.03, 1],
            "title": {"text": "neurons"},
            "rangemode": "tozero",
            "showgrid": False,  # every bar has its number
            "anchor": "x",
            "nticks": 6,
        },
        xaxis2={
            "domain": [0, 0.155],
            "range": [largest * 1.3, 0],
            "title": {"text": "set size"},
            "showgrid": False,
            "nticks": 4,
            "anchor": "y2",
        },
        yaxis2={
            "domain": [0, dots - 0.02],
            "range": [len(ordered) - 0.5, -0.5],
            "tickvals": list(range(len(ordered))),
            "ticktext": texts,
            "tickfont": {"size": 13, "color": colours.ink},
            "showgrid": False,
            "zeroline": False,
            "anchor": "x",
        },
    )


def _shown(name: str) -> str:
    """A set as it is read; those of a study are named by their domains."""
    return display_name("domains", name)


def _shade(group: Group, n_sets: int, colours: Palette) -> str:
    if len(group) == 1:
        return colours.neutral
    return colour_at(colours.blues, 0.42 + 0.58 * (len(group) - 1) / max(n_sets - 1, 1))


def _title(counts: dict[Group, int], n_sets: int) -> str:
    total = sum(counts.values())
    if not total:
        return "No set holds a neuron"
    alone = sum(n for group, n in counts.items() if len(group) == 1)
    many = max(2, math.ceil(2 * n_sets / 3))
    most = max(len(group) for group in counts)
    if most == 1:
        return f"No neuron is shared: each of {total:,} is in one set only"
    level = many if most >= many else most
    shared = sum(n for group, n in counts.items() if len(group) >= level)
    by = (
        f"all {count(n_sets, 'set')}"
        if level == n_sets
        else f"{level} or more of {count(n_sets, 'set')}"
    )
    verb = "neuron is" if shared == 1 else "neurons are"
    return f"{shared:,} {verb} shared by {by}; {100 * alone / total:.0f}% are in one only"


def _subtitle(sets: Sequence[NeuronSet], counts: dict[Group, int], n_kept: int) -> str:
    parts = [f"{count(sum(counts.values()), 'distinct neuron')} of {count(len(sets), 'set')}"]
    shared = [group for group in counts if len(group) > 1]
    if shared:
        most = max(expected(sets, group) for group in shared)
        parts.append(f"chance would put at most {most:.2g} in any of the shared groups")
    if n_kept < len(counts):
        parts.append(f"the {n_kept} largest of {count(len(counts), 'group')}")
    return " · ".join(parts)
