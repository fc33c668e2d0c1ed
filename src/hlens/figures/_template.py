"""The looks that all figures share, as plotly's defaults; what a figure sets itself goes before."""

from typing import Any

from hlens.figures._theme import FONT, Palette


def template(colours: Palette) -> dict[str, Any]:
    """Axes, legend, hover labels and colours of the page, of one palette."""
    axis = {
        "gridcolor": colours.grid,
        "zeroline": False,
        "linecolor": colours.grid,
        "tickcolor": colours.neutral,
        "tickfont": {"size": 12, "color": colours.muted},
        "title": {"font": {"size": 12.5, "color": colours.muted}, "standoff": 8},
        "automargin": True,
    }
    layout = {
        "xaxis": axis,
        "yaxis": axis,
        "paper_bgcolor": colours.page,
        "plot_bgcolor": colours.page,
        "font": {"family": FONT, "size": 12, "color": colours.muted},
        "legend": _legend(colours),
        "hoverlabel": {
            "bgcolor": colours.page,
            "bordercolor": colours.neutral,
            "font": {"family": FONT, "size": 12, "color": colours.ink},
            "align": "left",
        },
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": colours.control,
            "activecolor": colours.positive,
        },
    }
    return {"layout": layout}


def _legend(colours: Palette) -> dict[str, Any]:
    return {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "yref": "paper",
        "font": {"size": 12, "color": colours.muted},
        "itemsizing": "trace",
        "bgcolor": "rgba(0,0,0,0)",
        "tracegroupgap": 0,
    }
