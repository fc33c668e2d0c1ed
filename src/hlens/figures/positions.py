"""Where in time it is readable: AUROC against the token at which the neurons are read.

Question: do the neurons know before a word is written, and more than the words written so far?
To read it: left of the line are the last tokens of the prompt, right of it the answer's tokens,
each where it is read and where it is predicted. Where the line of neurons and output together lies
above that of the output alone, the neurons add something. The question's words and the answer's
length are what could be read at any place.
It misleads to the right: fewer and longer answers have such a token, so points there are of other
answers than points to the left.
"""

from typing import Any

import pandas as pd

from hlens.claims.findings import AtToken, read_tokens
from hlens.claims.rules import adds, lies_above
from hlens.counting import count
from hlens.drawing.curves import add_curve, mark_x
from hlens.drawing.figure import Figure, finish
from hlens.drawing.table import check_columns, check_one_study
from hlens.drawing.theme import palette
from hlens.types.labels import COMBINED, H_NEURONS, OUTPUT, Place

COLUMNS = ("place", "token", "detector", "auroc", "low", "high", "n")


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the curve.

    Args:
        table: Columns ``place, token, detector, auroc, low, high, n`` and perhaps ``difference,
            difference_low, difference_high, p_corrected``, as `hlens.audit.position_curve` returns
            them.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="positions", source="audit.position_curve")
    check_one_study(table, ("place", "token", "detector"), figure="positions")
    colours, figure = palette(theme), Figure()
    rows: Any = table
    predicted = rows["place"] == Place.PREDICTED
    along, own = rows.loc[~predicted], rows["detector"] == H_NEURONS
    # First the curve with its band, which would tint all that lies below it.
    add_curve(
        figure, rows.loc[~predicted & own], x="token", y="auroc", colour=colours.positive,
        name="neurons, where the token is read",
    )  # fmt: skip
    if (predicted & own).any():
        add_curve(
            figure, rows.loc[predicted & own], x="token", y="auroc", colour=colours.second,
            name="neurons, where it is predicted", band=False, symbol="diamond",
        )  # fmt: skip
    for detector, name, colour, symbol in (
        (COMBINED, "neurons and output so far", colours.ink, "circle"),
        (OUTPUT, "output so far", colours.control, "square"),
        ("question", "words of the question", colours.muted, "triangle-up"),
        ("length", "length of the answer", colours.muted, "x"),
    ):
        part = along.loc[along["detector"] == detector]
        if len(part):
            add_curve(
                figure, part, x="token", y="auroc", name=name, colour=colour, band=False,
                symbol=symbol, control=detector != COMBINED,
            )  # fmt: skip
    figure.add_hline(y=0.5, line={"color": colours.ink, "width": 1, "dash": "dash"})
    ticks = sorted(set(rows["token"]))
    if ticks[0] < 0 <= ticks[-1]:
        mark_x(figure, -0.5, "first token", colour=colours.muted)
    low = min(0.4, float(rows["low"].min()) - 0.02)
    figure.update_layout(
        xaxis={
            "title": {"text": "token of the prompt, counted from its end | token of the answer"},
            "tickvals": ticks,
            "ticktext": [f"−{-x}" if x < 0 else str(x + 1) for x in ticks],
            "range": [min(ticks) - 0.4, max(ticks) + 0.4],
            "showgrid": False,
        },
        yaxis={"title": {"text": "AUROC"}, "range": [max(0.0, low), 1.0], "dtick": 0.1},
    )
    places = list(read_tokens(table))
    return finish(
        figure,
        colours,
        title=_title(places),
        subtitle=_subtitle(places),
        height=460,
        margin={"t": 44, "b": 56, "l": 60, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: readable before a word is written, more behind."""
    rows = []
    places = [*((Place.PROMPT, token) for token in (-3, -2, -1))]
    places += [(place, token) for token in range(3) for place in (Place.PREDICTED, Place.READ)]
    for place, token in places:
        written = 0 if place == Place.PROMPT else token + (place == Place.READ)
        own = 0.60 + 0.02 * max(-3, min(token, 0)) + 0.06 * written
        n, known = 420 - 120 * max(0, token), place != Place.PROMPT or token == -1
        values = {H_NEURONS: own + 0.04, "question": 0.57, "length": 0.55}
        if known:
            values |= {OUTPUT: 0.58 + 0.07 * written, COMBINED: own + 0.06}
        for name, value in values.items():
            row = {"place": str(place), "token": token, "detector": name, "auroc": value}
            row |= {"low": value - 0.05, "high": value + 0.05, "n": n}
            if name == COMBINED:
                gap = value - values[OUTPUT]
                row |= {"difference": gap, "difference_low": gap - 0.03}
                row |= {"difference_high": gap + 0.03, "p_corrected": 0.01 if gap > 0.03 else 0.6}
            rows.append(row)
    return {"table": pd.DataFrame(rows)}


def _title(places: list[AtToken]) -> str:
    """What is read before a word is written, and where most is read behind it."""
    before = next((at for at in reversed(places) if at.place == Place.PROMPT), None)
    read = [at for at in places if at.place == Place.READ]
    parts = []
    if before is not None:
        shown = lies_above(before.neurons)
        parts.append(
            f"Before a word is written the neurons read {before.neurons.value:.2f}"
            if shown
            else "Before a word is written nothing is shown to be read"
        )
    if read:
        best = max(read, key=lambda at: at.neurons.value)
        if lies_above(best.neurons):
            parts.append(f"at token {best.token + 1} of the answer {best.neurons.value:.2f}")
        else:
            parts.append("behind it at no token of the answer")
    return ", ".join(parts) or "Nothing was read before or at a token of the answer"


def _subtitle(places: list[AtToken]) -> str:
    sizes = sorted({at.neurons.n for at in places})
    size = f"{sizes[0]:,} to " * (len(sizes) > 1) + count(sizes[-1], "held-out answer")
    known = [at for at in places if at.difference is not None and at.p == at.p]
    parts = [size, "95 % band"]
    if known:
        n = sum(map(adds, known))
        parts.append(f"adds to the output at {n} of {count(len(known), 'place')} (p ≤ .05)")
    return " · ".join(parts)
