"""Light and dark: the colours and looks of every figure, and ink that reads on any colour.

Sign is always shape plus colour (Okabe-Ito orange and blue), so that no figure depends on colour
vision alone.
"""

import itertools
from collections.abc import Callable
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
    """The colours of one theme.

    Attributes:
        page: Background.
        ink: Text and outlines.
        muted: Secondary text.
        grid: Grid lines.
        faint: Bands and empty dots, close to the page.
        neutral: Marks that carry no claim.
        control: Line of a control or null.
        second: Line of a second control.
        positive: Hallucination-associated.
        positive_ink: The same, readable as text.
        negative: Truth-associated.
        negative_ink: The same, readable as text.
        marks: Two-sided ramp with a jump at zero, so that weak neurons stay visible.
        backdrop: From the page to a faint grey.
        blues: Sequential, from near the page.
        oranges: Sequential, from near the page.
    """

    page: str
    ink: str
    muted: str
    grid: str
    faint: str
    neutral: str
    control: str
    second: str
    positive: str
    positive_ink: str
    negative: str
    negative_ink: str
    marks: Scale
    backdrop: Scale
    blues: Scale
    oranges: Scale


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
    marks=(
        (0.0, "#0A3D66"),
        (0.25, "#0072B2"),
        (0.5, "#6CB3DF"),
        (0.5, "#F4A468"),
        (0.75, "#D55E00"),
        (1.0, "#7E3300"),
    ),
    backdrop=((0.0, "#FBFBFC"), (1.0, "#DDE1E7")),
    blues=(
        (0.0, "#F4F6F9"),
        (0.2, "#D9E3ED"),
        (0.5, "#7FABD0"),
        (0.75, "#2A75B3"),
        (1.0, "#0B3D66"),
    ),
    oranges=((0.0, "#F8F5F2"), (0.25, "#FADCC4"), (0.6, "#EC9352"), (1.0, "#C05000")),
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
    marks=(
        (0.0, "#B5DEF8"),
        (0.25, "#4AA8E0"),
        (0.5, "#2270A6"),
        (0.5, "#B0581C"),
        (0.75, "#F08032"),
        (1.0, "#FFD7B8"),
    ),
    backdrop=((0.0, "#141920"), (1.0, "#2C353F")),
    blues=(
        (0.0, "#171D24"),
        (0.2, "#1B3247"),
        (0.5, "#235F8C"),
        (0.75, "#3A96D2"),
        (1.0, "#B5DEF8"),
    ),
    oranges=((0.0, "#1D1A18"), (0.25, "#4A2C17"), (0.6, "#B0581C"), (1.0, "#F5A066")),
)


def palette(theme: str) -> Palette:
    """The palette of a theme.

    Raises:
        HlensError: The theme is neither ``"light"`` nor ``"dark"``.
    """
    known = {"light": LIGHT, "dark": DARK}
    if theme not in known:
        raise HlensError(f"theme {theme!r} is not known; use 'light' or 'dark'")
    return known[theme]


def template(colours: Palette) -> dict[str, Any]:
    """Plotly's defaults for one palette: axes, legend, hover labels and page.

    What a figure sets itself takes precedence over these.
    """
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


def css_variables(selector: str, theme: str, variables: Callable[[Palette], str]) -> str:
    """CSS rules that give an element the colours of a theme.

    Args:
        selector: The element's class, such as ``".hlens-tokens"``; the element carries the theme
            as ``data-hl-theme``.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's system, or as the page says
            with ``data-theme`` on its root.
        variables: The CSS variables of one palette, as text.

    Raises:
        HlensError: The theme is not known.
    """
    element = f'{selector}[data-hl-theme="{theme}"]'
    if theme != "auto":
        return f"{element}{{{variables(palette(theme))}}}"
    dark = variables(DARK)
    return (
        f"{element}{{{variables(LIGHT)}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]) {element}{{{dark}}}}}"
        f":root[data-theme=dark] {element}{{{dark}}}"
    )


def colour_at(scale: Scale, share: float) -> str:
    """The colour of a scale at a share of its length, linear between its stops.

    >>> colour_at(((0.0, "#000000"), (1.0, "#FFFFFF")), 0.5)
    '#808080'
    """
    share = min(max(share, 0.0), 1.0)
    for (left, low), (right, high) in itertools.pairwise(scale):
        if share <= right and right > left:
            return _mix(low, high, (share - left) / (right - left))
    return scale[-1][1]


def _mix(low: str, high: str, share: float) -> str:
    pairs = zip(_channels(low), _channels(high), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02X}" for a, b in pairs)


def see_through(colour: str, opacity: float) -> str:
    """A colour with opacity, as CSS writes it.

    >>> see_through("#D55E00", 0.2)
    'rgba(213,94,0,0.2)'
    """
    return "rgba({},{},{},{})".format(*_channels(colour), opacity)


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


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    shares = [channel / 255 for channel in _channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
