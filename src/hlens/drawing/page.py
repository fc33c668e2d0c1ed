"""Parts of self-contained pages: packed scripts, style sheets, and figures in both themes."""

import base64
import gzip
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from hlens.drawing.figure import CONFIG, Figure
from hlens.drawing.html import Html, escape, visible
from hlens.drawing.theme import DARK, FONT, LIGHT, Palette, palette

PAGE_CONFIG: dict[str, Any] = {**CONFIG, "displayModeBar": "hover"}


def packed(name: str, text: str, effort: int = 9) -> str:
    """Text as an inert element of a page, gzip and base64: a third of its size.

    Less `effort` (of 1 to 9) takes a third of the time, and gives up little where the text is
    mostly numbers.
    """
    # No time stamp, so that equal data give equal files.
    squeezed = base64.b64encode(gzip.compress(text.encode(), effort, mtime=0)).decode()
    return f'<script type="text/plain" id="{name}">{squeezed}</script>'


@cache  # a live strip is drawn again at every token
def asset(package: str, name: str) -> str:
    """The text of a script or style sheet in a package's folder."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def styled(
    name: str, style: str, markup: str, *, alt: str, theme: str, variables: Callable[[Palette], str]
) -> Html:
    """Markup in an element of class ``hlens-NAME``, with its style sheet.

    Args:
        name: Name of the element's class.
        style: The style sheet, where FONT is the font of all figures.
        markup: What the element holds.
        alt: Alternative text.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's system, or as the page says
            with ``data-theme`` on its root.
        variables: The CSS variables of one palette.
    """
    element = f'.hlens-{name}[data-hl-theme="{theme}"]'
    colours = f"{element}{{{variables(LIGHT if theme == 'auto' else palette(theme))}}}"
    if theme == "auto":
        dark = f"{element}{{{variables(DARK)}}}"
        colours += f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]) {dark}}}"
        colours += f":root[data-theme=dark] {dark}"
    return Html(
        f"<style>\n{style.replace('FONT', FONT)}{colours}</style>"
        f'<div class="hlens-{name}" data-hl-theme="{theme}" '
        f'role="group" aria-label="{escape(visible(alt))}">{markup}</div>',
        alt,
    )


def themed(drawn: dict[str, Figure]) -> dict[str, Any]:
    """The figure of each theme without its title, which a page shows as text of its own."""
    return {theme: figure.without_title() for theme, figure in drawn.items()}
