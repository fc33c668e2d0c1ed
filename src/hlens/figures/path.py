"""Is the selection stable? The regularisation path, and how often resampling keeps each neuron.

To read it: from left to right the penalty weakens and more neurons enter. Those in colour are
kept by at least the threshold's share of half-samples, which the bars on the right show.
It misleads when a long smooth line is taken for stability: a neuron may enter early in this
sample and be absent in most others, which only the right panel shows.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hlens.counting import count
from hlens.drawing.curves import mark_x
from hlens.drawing.figure import Figure, add_note, finish
from hlens.drawing.table import check_columns, check_one_study
from hlens.drawing.theme import Palette, palette
from hlens.types import Experts, address

Neuron = tuple[int, int]

MOST_LINES = 240
MOST_BARS = 60


def draw(
    path: pd.DataFrame,
    stability: pd.DataFrame | None = None,
    *,
    chosen: float | None = None,
    threshold: float = 0.8,
    resamples: int | None = None,
    expected_false: float | None = None,
    experts: Experts = (),
    theme: str = "light",
) -> Figure:
    """Draw the path and the stability beside it.

    Args:
        path: Columns ``C, layer, neuron, weight``: the weight of each neuron that is ever
            selected, at each C where it is not zero.
        stability: Columns ``layer, neuron, frequency``: how often resampling keeps each.
        chosen: The C that was chosen.
        threshold: Frequency from which a neuron is called stable.
        resamples: Number of resamples.
        expected_false: Bound on the expected number of false selections, where it holds.
        experts: Of a mixture, the experts of its layers (`Provenance.experts`), for the addresses.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(path, ("C", "layer", "neuron", "weight"), figure="path", source="selection.path")
    check_one_study(path, ("C", "layer", "neuron"), figure="path")
    colours = palette(theme)
    wide = path.pivot_table(index="C", columns=["layer", "neuron"], values="weight", fill_value=0.0)
    stable = _stable(wide, stability, chosen, threshold)
    figure = Figure()
    _add_lines(figure, wide, stable, experts, colours)
    if chosen is not None:
        n = int((path.loc[np.isclose(path.C, chosen), "weight"] != 0).sum())
        middle = math.sqrt(path.C.min() * path.C.max())
        label = f"chosen C = {chosen:.3g} · {count(n, 'neuron')}"
        mark_x(figure, chosen, label, colour=colours.muted, log=True, left=chosen > middle)
    figure.update_layout(
        xaxis={
            "type": "log",
            "domain": [0, 0.58 if stability is not None else 1],
            "title": {"text": "C (weaker penalty →)"},
            "showgrid": False,
            "range": [math.log10(path.C.min()), math.log10(path.C.max())],
            "dtick": 1,
            "exponentformat": "none",
        },
        yaxis={"title": {"text": "weight"}, "zeroline": True},
    )
    parts = [f"L1-logistic, {count(len(wide), 'value')} of C"]
    if stability is not None:
        _add_frequencies(figure, stability, wide, threshold, experts, colours)
        of = f" of {resamples:,} half-samples" if resamples else " of half-samples"
        parts.append(f"stable: kept in ≥ {threshold:.0%}{of}")
    if expected_false is not None:
        parts.append(f"≤ {expected_false:.2g} false expected")
    return finish(
        figure,
        colours,
        title=_title(wide, stable, stability, threshold),
        subtitle=" · ".join(parts),
        height=400,
        margin={"t": 48, "b": 56, "l": 60, "r": 28},
        narrowest=560,
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: six stable neurons among thirty."""
    lines, kept = [], []
    for index in range(30):
        firm = index < 6
        top, entry = (0.9 - 0.1 * index, 0.01) if firm else (0.2 * math.cos(index), 0.3)
        sign = -1 if index in (2, 5) else 1
        for step in range(20):
            strength = 0.003 * 1.5**step
            if strength > entry:
                weight = sign * top * (1 - (entry / strength) ** 0.5)
                lines.append((strength, index % 12, 7 * index, weight))
        kept.append((index % 12, 7 * index, 0.98 - 0.03 * index if firm else 0.75 - 0.02 * index))
    return {
        "path": pd.DataFrame(lines, columns=["C", "layer", "neuron", "weight"]),
        "stability": pd.DataFrame(kept, columns=["layer", "neuron", "frequency"]),
        "chosen": 0.003 * 1.5**12,
        "resamples": 100,
    }


def _stable(
    wide: pd.DataFrame, stability: pd.DataFrame | None, chosen: float | None, threshold: float
) -> list[Neuron]:
    """The neurons to colour: stable ones, or without resampling those selected at the chosen C."""
    if stability is not None:
        check_columns(
            stability, ("layer", "neuron", "frequency"), figure="path", source="selection.stability"
        )
        check_one_study(stability, ("layer", "neuron"), figure="path")
        kept = stability.loc[stability.frequency >= threshold]
        return [(int(a), int(b)) for a, b in zip(kept.layer, kept.neuron, strict=True)]
    if chosen is None:
        return []
    row = wide.iloc[int(np.abs(np.log(wide.index.to_numpy() / chosen)).argmin())]
    return [(int(a), int(b)) for (a, b), weight in row.items() if weight != 0]  # type: ignore[misc]


def _add_lines(
    figure: Figure, wide: pd.DataFrame, stable: list[Neuron], experts: Experts, colours: Palette
) -> None:
    coloured = [neuron for neuron in stable if neuron in wide.columns]
    others = wide.drop(columns=coloured).abs().max()
    name = "not stable" + (f", the {MOST_LINES} largest" if len(others) > MOST_LINES else "")
    largest = list(others.nlargest(MOST_LINES).index)
    faint = {"color": colours.neutral, "width": 1.0}
    _add_group(figure, wide, largest, name, faint, experts)
    peak = {neuron: _peak(wide[neuron].to_numpy()) for neuron in coloured}
    for name, colour, sign, dash in (
        ("truth-associated, stable", colours.negative, -1, "dash"),
        ("hallucination-associated, stable", colours.positive, 1, "solid"),
    ):
        own = [neuron for neuron in coloured if sign * peak[neuron] > 0]
        line = {"color": colour, "width": 2.2, "dash": dash}
        _add_group(figure, wide, own, name, line, experts)


def _add_group(
    figure: Figure,
    wide: pd.DataFrame,
    neurons: list[Neuron],
    name: str,
    line: dict[str, Any],
    experts: Experts,
) -> None:
    """All lines of one kind in one trace, separated by gaps: hundreds of traces would be slow."""
    if not neurons:
        return
    x = np.concatenate([[*wide.index, math.nan] for _ in neurons])
    y = np.concatenate([[*wide[neuron], math.nan] for neuron in neurons])
    text = np.repeat([address(neuron, experts) for neuron in neurons], len(wide) + 1)
    hover: dict[str, Any] = {"hoverinfo": "skip"}  # the faint lines are too dense to point at
    if line["width"] > 1.5:
        template = "<b>%{text}</b><br>C = %{x:.3~g}, weight %{y:+.3~g}<extra></extra>"
        hover = {"text": text, "hovertemplate": template}
    figure.add_trace(go.Scatter(x=x, y=np.round(y, 5), mode="lines", name=name, line=line, **hover))


def _add_frequencies(
    figure: Figure,
    stability: pd.DataFrame,
    wide: pd.DataFrame,
    threshold: float,
    experts: Experts,
    colours: Palette,
) -> None:
    """The right panel: how often resampling keeps each neuron, stable ones coloured by sign."""
    top = stability.nlargest(MOST_BARS, "frequency").reset_index(drop=True)
    sign = _signs(top, wide)
    stable = top.frequency.to_numpy() >= threshold
    for kind, rows, colour, hatch in (
        ("hallucination-associated", stable & (sign > 0), colours.positive, ""),
        ("truth-associated", stable & (sign < 0), colours.negative, "/"),
        ("not stable", ~stable, colours.neutral, ""),
        ("stable, not on the path", stable & (sign == 0), colours.control, "."),
    ):
        own = top.loc[rows]
        if own.empty:
            continue
        pattern = {"shape": hatch, "fillmode": "overlay", "fgcolor": colours.page, "size": 6}
        figure.add_trace(
            go.Bar(
                x=own.index + 1,
                y=own.frequency,
                width=0.85,
                marker={"color": colour, "line": {"width": 0}, "pattern": pattern},
                text=[address((a, b), experts) for a, b in zip(own.layer, own.neuron, strict=True)],
                textposition="none",
                hovertemplate=f"<b>%{{text}}</b> {kind}<br>kept in %{{y:.0%}}<extra></extra>",
                showlegend=False,
                xaxis="x2",
                yaxis="y2",
            )
        )
    figure.add_shape(
        type="line", xref="x2 domain", yref="y2", x0=0, x1=1, y0=threshold, y1=threshold,
        line={"color": colours.muted, "width": 1.2, "dash": "dash"},
    )  # fmt: skip
    add_note(
        figure, f"stable at π = {threshold:g}", x=1, y=threshold, colour=colours.muted,
        xref="x2 domain", yref="y2", xanchor="right", yanchor="bottom",
    )  # fmt: skip
    figure.update_layout(
        barmode="overlay",
        xaxis2={
            "domain": [0.67, 1],
            "anchor": "y2",
            "title": {"text": "neurons, by selection frequency"},
            "showgrid": False,
        },
        yaxis2={"anchor": "x2", "tickformat": ".0%", "range": [0, 1.04], "dtick": 0.2},
    )


def _peak(line: np.ndarray) -> float:
    """The weight of a neuron where it is largest along the path, with its sign."""
    return float(line[np.abs(line).argmax()])


def _signs(top: pd.DataFrame, wide: pd.DataFrame) -> np.ndarray:
    """The sign in most half-samples where it is known, else the sign along the path."""
    if "positive" in top:
        return np.where(2 * top.positive >= top.frequency, 1, -1)
    lines = {pair: wide[pair].to_numpy() for pair in wide.columns}
    pairs = zip(top.layer, top.neuron, strict=True)
    return np.sign([_peak(lines[pair]) if pair in lines else 0.0 for pair in pairs])


def _title(
    wide: pd.DataFrame, stable: list[Neuron], stability: pd.DataFrame | None, threshold: float
) -> str:
    if stability is None:
        return f"{count(wide.shape[1], 'neuron')} enter along the path; none was resampled"
    others = wide.shape[1] - sum(neuron in wide.columns for neuron in stable)
    if not stable:
        return f"No neuron is kept by {threshold:.0%} of half-samples, of {others:,} on the path"
    verb = "is" if len(stable) == 1 else "are"
    kept = f"{count(len(stable), 'neuron')} {verb} kept by {threshold:.0%} of half-samples"
    return f"{kept}; {others:,} others are not"
