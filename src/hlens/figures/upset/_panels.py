"""The three panels: bars of the groups, dots of their members, sizes of the sets."""

import plotly.graph_objects as go

from hlens.figures._figure import Figure, escape
from hlens.figures._theme import Palette, at
from hlens.figures.upset._groups import Group
from hlens.types import NeuronSet

ROW = 32


def add_bars(
    figure: Figure, kept: list[Group], counts: dict[Group, int], n_sets: int, colours: Palette
) -> None:
    sizes = [counts[group] for group in kept]
    figure.add_trace(
        go.Bar(
            x=list(range(len(kept))),
            y=sizes,
            marker={"color": [_shade(g, n_sets, colours) for g in kept], "line": {"width": 0}},
            text=[f"{size:,}" for size in sizes],
            textposition="outside",
            textfont={"size": 12, "color": colours.ink},
            cliponaxis=False,
            hovertext=[escape(" + ".join(sorted(group))) for group in kept],
            hovertemplate="%{hovertext}<br><b>%{y}</b> neurons<extra></extra>",
            showlegend=False,
        )
    )
    for degree in sorted({len(group) for group in kept}):
        at_columns = [i for i, group in enumerate(kept) if len(group) == degree]
        figure.add_annotation(
            x=(at_columns[0] + at_columns[-1]) / 2,
            y=1,
            xref="x",
            yref="paper",
            yanchor="bottom",
            yshift=8,
            text="one only" if degree == 1 else f"in {degree}",
            showarrow=False,
            font={"size": 11.5, "color": colours.muted},
        )


def add_dots(
    figure: Figure, kept: list[Group], ordered: list[NeuronSet], n_sets: int, colours: Palette
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
                line={"color": _shade(group, n_sets, colours), "width": 2.5},
            )  # fmt: skip
    cells = [(c, r, one.name in g) for c, g in enumerate(kept) for r, one in enumerate(ordered)]
    filled = [
        _shade(kept[c], n_sets, colours) if len(kept[c]) > 1 else colours.control
        for c, _, _ in cells
    ]
    empty = colours.grid
    figure.add_trace(
        go.Scatter(
            x=[c for c, _, _ in cells],
            y=[r for _, r, _ in cells],
            yaxis="y2",
            mode="markers",
            marker={
                "opacity": 1,
                "size": [12 if inside else 8 for _, _, inside in cells],
                "color": [
                    f if inside else empty for f, (_, _, inside) in zip(filled, cells, strict=True)
                ],
                "line": {"width": 0},
            },
            hovertext=[
                f"{'in' if inside else 'not in'} {escape(ordered[r].name)}"
                for _, r, inside in cells
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    )


def add_sizes(figure: Figure, ordered: list[NeuronSet], colours: Palette) -> None:
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
            hovertemplate="%{x} neurons<extra></extra>",
            showlegend=False,
        )
    )


def set_axes(figure: Figure, kept: list[Group], ordered: list[NeuronSet], colours: Palette) -> None:
    dots = ROW * len(ordered) / (ROW * len(ordered) + 180)
    largest = max((len(one) for one in ordered), default=1) or 1
    figure.update_layout(
        bargap=0.32,
        xaxis={
            "domain": [0.3, 1],
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
            "ticktext": [escape(one.name) for one in ordered],
            "tickfont": {"size": 13, "color": colours.ink},
            "showgrid": False,
            "zeroline": False,
            "anchor": "x",
        },
    )


def _shade(group: Group, n_sets: int, colours: Palette) -> str:
    if len(group) == 1:
        return colours.neutral
    return at(colours.blues, 0.42 + 0.58 * (len(group) - 1) / max(n_sets - 1, 1))
