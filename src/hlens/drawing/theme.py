"""Light and dark: the colours and looks of every figure, and ink that reads on any colour.

Sign is always shape plus colour (Okabe-Ito orange and blue), so that no figure depends on colour
vision alone.
"""

import itertools
from dataclasses import dataclass
from typing import Any

from hlens.errors import HlensError

Scale = tuple[tuple[float, str], ...]

FONT = (
    "Inter, ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, "
    "'Helvetica Neue', Arial, sans-serif"
)


@dataclass(frozen=True)
class Palette:
    """The colours of one theme; ``_ink`` is a colour that reads as text."""

    page: str
    ink: str  # text and outlines
    muted: str  # secondary text
    grid: str
    faint: str  # bands and empty dots, close to the page
    neutral: str  # marks that carry no claim
    control: str  # line of a control or null
    second: str  # line of a second control
    positive: str  # hallucination-associated
    positive_ink: str
    negative: str  # truth-associated
    negative_ink: str
    marks: Scale  # two-sided, with a jump at zero, so that weak neurons stay visible
    backdrop: Scale
    blues: Scale
    oranges: Scale


def _scale(stops: str, colours: str) -> Scale:
    return tuple(zip(map(float, stops.split()), colours.split(), strict=True))


_MARKS, _BLUES, _ORANGES = "0 0.25 0.5 0.5 0.75 1", "0 0.2 0.5 0.75 1", "0 0.25 0.6 1"

LIGHT = Palette(
    page="#FFFFFF",
    ink="#1A1F26",
    muted="#5A6472",
    grid="#E6E8EC",
    faint="#F5F6F8",
    neutral="#C7CDD6",
    control="#77818E",
    second="#A0527F",
    positive="#D55E00",
    positive_ink="#B84A00",
    negative="#0072B2",
    negative_ink="#00629A",
    marks=_scale(_MARKS, "#0A3D66 #0072B2 #6CB3DF #F4A468 #D55E00 #7E3300"),
    backdrop=_scale("0 1", "#FBFBFC #DDE1E7"),
    blues=_scale(_BLUES, "#F4F6F9 #D9E3ED #7FABD0 #2A75B3 #0B3D66"),
    oranges=_scale(_ORANGES, "#F8F5F2 #FADCC4 #EC9352 #C05000"),
)

DARK = Palette(
    page="#11151A",
    ink="#F1F4F7",
    muted="#9BA5B2",
    grid="#28303A",
    faint="#181E25",
    neutral="#465160",
    control="#9AA5B3",
    second="#D892BC",
    positive="#F08032",
    positive_ink="#F59A5A",
    negative="#4AA8E0",
    negative_ink="#6CBBEA",
    marks=_scale(_MARKS, "#B5DEF8 #4AA8E0 #2270A6 #B0581C #F08032 #FFD7B8"),
    backdrop=_scale("0 1", "#141920 #2C353F"),
    blues=_scale(_BLUES, "#171D24 #1B3247 #235F8C #3A96D2 #B5DEF8"),
    oranges=_scale(_ORANGES, "#1D1A18 #4A2C17 #B0581C #F5A066"),
)


def palette(theme: str) -> Palette:
    """The palette of a theme.

    Raises:
        HlensError: The theme is neither ``"light"`` nor ``"dark"``.
    """
    if theme not in ("light", "dark"):
        raise HlensError(f"theme {theme!r} is not known; use 'light' or 'dark'")
    return LIGHT if theme == "light" else DARK


def template(colours: Palette) -> dict[str, Any]:
    """Plotly's defaults for one palette; what a figure sets itself takes precedence."""
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
        "legend": {
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
        },
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


def colour_at(scale: Scale, share: float) -> str:
    """The colour of a scale at a share of its length, linear between its stops.

    >>> colour_at(((0.0, "#000000"), (1.0, "#FFFFFF")), 0.5)
    '#808080'
    """
    share = min(max(share, 0.0), 1.0)
    for (left, low), (right, high) in itertools.pairwise(scale):
        if share <= right and right > left:
            part = (share - left) / (right - left)
            pairs = zip(channels(low), channels(high), strict=True)
            return "#" + "".join(f"{round(a + (b - a) * part):02X}" for a, b in pairs)
    return scale[-1][1]


def see_through(colour: str, opacity: float) -> str:
    """A colour with opacity, as CSS writes it.

    >>> see_through("#D55E00", 0.2)
    'rgba(213,94,0,0.2)'
    """
    return "rgba({},{},{},{})".format(*channels(colour), opacity)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2, 1.4.3).

    >>> round(contrast("#000000", "#FFFFFF"))
    21
    """
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def ink_on(background: str) -> str:
    """Black or white, whichever reads better."""
    return max(("#10151B", "#FFFFFF"), key=lambda ink: contrast(ink, background))


def channels(colour: str) -> tuple[int, ...]:
    """Red, green and blue of a colour, 0 to 255."""
    return tuple(bytes.fromhex(colour[1:]))


def _luminance(colour: str) -> float:
    shares = [channel / 255 for channel in channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
