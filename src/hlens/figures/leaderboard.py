"""The detector among its rivals: AUROC of each, what it costs, and what the neurons add to it.

Question: does anything simpler read as well, and do the neurons know something that it does not?
To read it: each row is a detector, the farthest from chance first, with what it costs; what lies
left of the dashed line tells the other way round. What the neurons add to a rival is shown beside
it.
It misleads when two intervals that overlap are read as a tie: the detectors are compared on the
same answers, and the paired test is narrower. A rival that loses here may win on other data.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.claims.findings import RivalGap
from hlens.claims.rules import is_beaten, is_better
from hlens.counting import count
from hlens.display import display_name, display_names
from hlens.drawing.figure import Figure, add_note, escape, finish
from hlens.drawing.forest import add_forest, add_value, hover_interval, intervals
from hlens.drawing.table import capitalized, check_columns, check_one_study
from hlens.drawing.theme import Palette, palette
from hlens.types import Estimate
from hlens.types.estimate import auroc_words, from_chance
from hlens.types.labels import COMBINED, H_NEURONS, Unit

COLUMNS = ("detector", "auroc", "low", "high", "n")
LEFT, RIGHT = (0.0, 0.58), (0.72, 1.0)
COST = (LEFT[1] + RIGHT[0]) / 2  # middle of the column of costs


def draw(
    table: pd.DataFrame,
    added: pd.DataFrame | None = None,
    *,
    reference: str = H_NEURONS,
    theme: str = "light",
) -> Figure:
    """Draw the leaderboard.

    Args:
        table: Columns ``detector, auroc, low, high, n`` and perhaps ``p_corrected, difference,
            passes, samples``, as `hlens.audit.leaderboard` returns them; detectors that were not
            run are named in the subtitle.
        added: What the reference adds to each rival, from `hlens.audit.added_value`.
        reference: The detector that the others are compared with.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, a row stands twice, or no detector was run.
    """
    check_columns(table, COLUMNS, figure="leaderboard", source="audit.leaderboard")
    check_one_study(table, ("detector",), figure="leaderboard")
    if added is not None:
        check_one_study(added, ("detector",), figure="leaderboard")
    run: Any = table.loc[table["auroc"].notna()]
    run = run.sort_values("auroc", key=lambda auroc: -from_chance(auroc))
    check_columns(run, COLUMNS, figure="leaderboard", source="audit.leaderboard")
    colours, figure = palette(theme), Figure()
    own = run["detector"] == reference
    names = _row_names(run["detector"])
    has_costs = "passes" in run and bool(run["passes"].notna().any())
    alone = added is None and not has_costs
    add_forest(
        figure, run, names=names, claim=own.to_numpy(), colours=colours,
        domain=(0.0, 1.0) if alone else LEFT, right=1.04, title="AUROC (dashed: chance)",
    )  # fmt: skip
    for name, row in zip(names, run.to_dict("records"), strict=True):
        add_value(
            figure, x=row["high"], y=name, value=row["auroc"], claim=row["detector"] == reference,
            size=12.5, colours=colours,
        )  # fmt: skip
        cost = cost_words(row.get("passes"), row.get("samples"))
        add_note(figure, cost, x=COST, y=name, xref="paper", colour=colours.muted, size=12)
    if has_costs:
        add_note(
            figure, "extra cost", x=COST, y=1, colour=colours.muted, size=13, xref="paper",
            yref="paper", yanchor="bottom", yshift=10,
        )  # fmt: skip
    if added is not None and len(added):
        figure.add_trace(_gains(added, colours))
        figure.add_vline(x=0, xref="x2", line={"color": colours.ink, "width": 1, "dash": "dash"})
        title = {"text": "what the H-neurons add<br>(millinats an answer)"}
        figure.update_layout(xaxis2={"domain": list(RIGHT), "anchor": "y", "title": title})
    return finish(
        figure,
        colours,
        title=_title(run, own, reference),
        subtitle=_subtitle(run, table),
        height=110 + 30 * len(run),
        margin={"t": 40, "b": 56, "l": 170, "r": 24},
        narrowest=560,
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: one rival comes close, one could not be run."""
    rows = [
        (H_NEURONS, 0.84, 0.80, 0.88, 420, None, None, 1, 0),
        ("residual_probe", 0.83, 0.79, 0.87, 420, 0.01, 0.62, 1, 0),
        ("text", 0.71, 0.66, 0.76, 420, 0.13, 0.001, 0, 0),
        ("perplexity", 0.66, 0.60, 0.71, 420, 0.18, 0.001, 0, 0),
        ("length", 0.58, 0.52, 0.63, 420, 0.26, 0.001, 0, 0),
        ("lookback", None, None, None, 0, None, None, None, None),
    ]
    columns = [*COLUMNS, "difference", "p_corrected", "passes", "samples"]
    gains = [("residual_probe", 3, -4, 11), ("text", 52, 31, 75), ("perplexity", 70, 44, 95),
             ("length", 101, 74, 130)]  # fmt: skip
    return {
        "table": pd.DataFrame(rows, columns=columns),
        "added": pd.DataFrame(gains, columns=["detector", "gain", "low", "high"]),
    }


def _gains(added: pd.DataFrame, colours: Palette) -> go.Scatter:
    return go.Scatter(
        x=added["gain"],
        y=_row_names(added["detector"]),
        error_x=intervals(added, "gain", colour=colours.positive),
        mode="markers",
        cliponaxis=False,
        marker={"size": 9, "color": colours.positive, "line": {"color": colours.page, "width": 1}},
        customdata=added[["low", "high"]],
        hovertemplate=f"added to <b>%{{y}}</b><br>{hover_interval('x', form='.0f')} "
        f"{Unit.MILLINATS}<extra></extra>",
        xaxis="x2",
        showlegend=False,
    )


def _row_names(detectors: Iterable[str]) -> list[str]:
    return [escape(name) for name in display_names("baselines", map(str, detectors)).values()]


def cost_words(passes: Any, samples: Any) -> str:
    """What one new answer costs, beside having sampled it.

    >>> cost_words(1, 0), cost_words(0, 0), cost_words(5.0, 4.0)
    ('1 pass', 'free', '5 passes, 4 samples')
    """
    if pd.isna(passes) or pd.isna(samples):
        return ""
    parts = [count(int(passes), "pass", "passes")] if passes else []
    parts += [count(int(samples), "sample")] if samples else []
    return ", ".join(parts) or "free"


def _title(run: Any, own: Any, reference: str) -> str:
    if not own.any():
        best = run.iloc[0]
        auroc = auroc_words(best["auroc"])
        return f"{capitalized(_plain(best['detector']))} reads best: AUROC {auroc}"
    claim, others = run.loc[own].iloc[0], run.loc[~own & (run["detector"] != COMBINED)]
    if others.empty:
        return f"{reference} reach an AUROC of {claim['auroc']:.2f}; no rival was run"
    name_of = f"{reference} ({claim['auroc']:.2f})"
    above = others.loc[from_chance(others["auroc"]) > from_chance(claim["auroc"])]
    if "p_corrected" not in others:
        return f"{reference} stand at place {len(above) + 1} of {len(run)}"
    gaps: dict[str, RivalGap] = {}
    for row in others.to_dict("records"):
        gap = Estimate.from_row(row, "difference", ends="difference_")
        gaps[row["detector"]] = RivalGap(row["detector"], gap, float(row["p_corrected"]))
    better = [name for name in above["detector"] if is_better(gaps[name])]
    beaten = [name for name, gap in gaps.items() if is_beaten(gap)]
    if better:
        best = above.loc[above["detector"] == better[0]].iloc[0]
        name = capitalized(_plain(best["detector"]))
        return f"{name} reads better ({best['auroc']:.2f}) than {name_of}"
    nearest = others.iloc[0]
    beside = f"{_plain(nearest['detector'])} reads {auroc_words(nearest['auroc'])}"
    if len(beaten) == len(others):
        return f"{name_of} beat {_all_rivals(len(others))}; {beside}"
    return f"{name_of} are shown to beat {len(beaten)} of {count(len(others), 'rival')}; {beside}"


def _all_rivals(n: int) -> str:
    return "the one rival" if n == 1 else f"all {n} rivals"


def _plain(name: object) -> str:
    return display_name("baselines", str(name))


def _subtitle(run: Any, table: Any) -> str:
    parts = [count(int(run["n"].max()), "held-out answer"), "bars: 95 % intervals"]
    absent = table.loc[table["auroc"].isna(), "detector"]
    if len(absent):
        parts.append(f"not available here: {', '.join(map(_plain, absent))}")
    return " · ".join(parts)
