"""Every neuron alone: how well it tells wrong from right, and how sure that is.

Question: does any single neuron tell wrong from right answers?
To read it: the farther from the middle, the better a neuron tells; the higher, the surer. Marks
lie beyond the correction for many tests, outlined ones were selected by the probe, grey are all
others.
It misleads when significance is read as size: with thousands of answers a neuron with an AUROC of
0.55 is certain, and still useless alone.
"""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import false_discovery_control, norm

from hlens.counting import count
from hlens.drawing.figure import Figure, add_note, finish
from hlens.drawing.forest import chance_line
from hlens.drawing.table import check_columns, check_one_study
from hlens.drawing.theme import Palette, palette
from hlens.types import Experts, NeuronSet, address
from hlens.types.estimate import from_chance

COLUMNS = ("layer", "neuron", "auroc", "p", "p_bh")
MOST_MARKS = 1_200
HIGHEST = 300.0


def draw(
    table: pd.DataFrame,
    *,
    selected: NeuronSet | None = None,
    level: float = 0.05,
    n: int | None = None,
    experts: Experts = (),
    theme: str = "light",
) -> Figure:
    """Draw the volcano.

    Args:
        table: Columns ``layer, neuron, auroc, p, p_bh`` and perhaps ``p_max``, one row a neuron,
            as `hlens.evaluation.univariate` returns them.
        selected: The probe's neurons; they get an outline.
        level: Level of the corrected tests.
        n: Number of answers.
        experts: Of a mixture, the experts of its layers (`Provenance.experts`), for the addresses;
            those of `selected` when it knows them.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure: marks for the strongest neurons beyond the level and for the selected ones,
        a density of all others.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="volcano", source="evaluation.univariate")
    check_one_study(table, ("layer", "neuron"), figure="volcano")
    colours = palette(theme)
    known = table.loc[table.p.notna() & table.auroc.notna()].copy()
    known["height"] = -np.log10(known.p.clip(lower=10**-HIGHEST))
    known["chosen"] = _chosen(known, selected)
    beyond = known.p_bh < level
    marked = known.loc[beyond | known.chosen].nlargest(MOST_MARKS, ["chosen", "height"])
    figure = Figure()
    _add_density(figure, known.drop(index=marked.index), colours)
    experts = experts or (selected.experts if selected is not None else ())
    _add_marks(figure, marked, level, colours, experts)
    _add_levels(figure, known, level, colours)
    chance_line(figure, colours)
    reach = max(0.1, float((known.auroc - 0.5).abs().max()) * 1.08) if len(known) else 0.1
    figure.update_layout(
        xaxis={
            "title": {"text": "AUROC of the neuron alone (0.5 is chance)"},
            "range": [0.5 - reach, 0.5 + reach],
        },
        yaxis={"title": {"text": "−log₁₀ p"}, "rangemode": "tozero"},
    )
    return finish(
        figure,
        colours,
        title=_title(known, beyond, level),
        subtitle=_subtitle(known, beyond, len(marked), level, n),
        height=460,
        margin={"t": 46, "b": 56, "l": 60, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: 40 neurons that tell, among 3,000 that do not."""
    z = np.random.default_rng(0).standard_normal(3000)
    z[:40] = 6 + z[:40]
    z[30:40] *= -1
    p = 2 * norm.sf(np.abs(z))
    spread = np.random.default_rng(1).uniform(0.85, 1.15, 3000)  # ties differ between neurons
    table = pd.DataFrame({"layer": np.arange(3000) // 250, "neuron": np.arange(3000) % 250})
    table = table.assign(auroc=0.5 + 0.02 * z * spread, p=p, p_bh=false_discovery_control(p))
    return {"table": table, "selected": NeuronSet(frozenset({(0, 2), (5, 9)}), 12, 250), "n": 1200}


def _chosen(known: pd.DataFrame, selected: NeuronSet | None) -> np.ndarray:
    """Which rows are selected neurons; vectorized, since there may be millions of rows."""
    if selected is None or known.empty:
        return np.zeros(len(known), dtype=bool)
    width = max(selected.d_mlp, int(known.neuron.max()) + 1)
    wanted = [layer * width + neuron for layer, neuron in selected]
    return np.isin(known.layer.to_numpy() * width + known.neuron.to_numpy(), wanted)


def _add_density(figure: Figure, rest: pd.DataFrame, colours: Palette) -> None:
    if rest.empty:
        return
    counts, x, y = np.histogram2d(rest.auroc, rest.height, bins=(64, 40))
    shade = np.where(counts > 0, np.log1p(counts), np.nan)
    figure.add_trace(
        go.Heatmap(
            z=np.round(shade.T, 2),
            x=(x[:-1] + x[1:]) / 2,
            y=(y[:-1] + y[1:]) / 2,
            colorscale=((0.0, colours.grid), (1.0, colours.control)),
            zmin=0,
            showscale=False,
            customdata=counts.T.astype(int),
            hovertemplate="neurons: %{customdata:,d}<extra></extra>",
        )
    )


def _add_marks(
    figure: Figure, marked: pd.DataFrame, level: float, colours: Palette, experts: Experts
) -> None:
    sure = marked.p_bh < level
    for name, symbol, colour, rows in (
        ("truth-associated", "diamond", colours.negative, sure & (marked.auroc < 0.5)),
        ("hallucination-associated", "circle", colours.positive, sure & (marked.auroc >= 0.5)),
        ("selected by the probe, not beyond it", "circle", colours.neutral, ~sure),
    ):
        own = marked.loc[rows]
        if own.empty:
            continue
        edge = np.where(own.chosen, colours.ink, colours.page).tolist()
        width = np.where(own.chosen, 1.6, 0.4).tolist()
        figure.add_trace(
            go.Scatter(
                x=own.auroc,
                y=own.height,
                mode="markers",
                name=name,
                marker={
                    "symbol": symbol,
                    "size": np.where(own.chosen, 10, 6),
                    "opacity": 0.85,
                    "color": colour,
                    "line": {"color": edge, "width": width},
                },
                text=[address((a, b), experts) for a, b in zip(own.layer, own.neuron, strict=True)],
                customdata=own[["p", "p_bh"]],
                hovertemplate="<b>%{text}</b><br>AUROC alone %{x:.3f}<br>p %{customdata[0]:.2~g} · "
                "q %{customdata[1]:.2~g}<extra></extra>",
            )
        )


def _add_levels(figure: Figure, known: pd.DataFrame, level: float, colours: Palette) -> None:
    """The heights from which a neuron is beyond each correction."""
    for column, label in (("p_bh", f"q = {level:g}"), ("p_max", f"max-T p = {level:g}")):
        heights = known.height[known[column] < level] if column in known else known.height[:0]
        if heights.empty:
            continue
        height = float(heights.min())
        figure.add_hline(y=height, line={"color": colours.muted, "width": 1, "dash": "dot"})
        add_note(
            figure, label, x=1, y=height, colour=colours.muted, xref="paper", yref="y",
            xanchor="right", yanchor="bottom",
        )  # fmt: skip


def _title(known: pd.DataFrame, beyond: pd.Series, level: float) -> str:
    if known.empty:
        return "No neuron could be tested"
    clearest = known.auroc[from_chance(known.auroc).idxmax()]
    if not beyond.any():
        return f"No neuron alone tells wrong from right (q < {level:g})"
    of = f"{int(beyond.sum()):,} of {count(len(known), 'neuron')} alone"
    verb = "tells" if beyond.sum() == 1 else "tell"
    way = "hallucination" if clearest > 0.5 else "truth"
    return f"{of} {verb} wrong from right; clearest: {clearest:.2f}, for {way}"


def _subtitle(
    known: pd.DataFrame, beyond: pd.Series, n_marked: int, level: float, n: int | None
) -> str:
    parts = [f"n = {count(n, 'answer')}"] if n is not None else []
    parts.append(f"Benjamini-Hochberg q < {level:g}")
    parts.append(f"uncorrected, chance would give {level * len(known):,.0f}")
    if n_marked < int((beyond | known.chosen).sum()):
        parts.append(f"the {n_marked:,} strongest marked")
    return " · ".join(parts)
