"""Still pictures for papers, drawn by kaleido in the browser of this machine."""

from collections.abc import Mapping
from typing import Any

from hlens.errors import HlensError

STILLS = ("png", "svg", "pdf", "jpeg", "webp")


def still(figure: Mapping[str, Any], options: Mapping[str, Any]) -> bytes:
    """A figure as the bytes of a picture.

    Args:
        figure: A plotly figure as a dictionary.
        options: ``format``, ``width``, ``height`` and ``scale``.

    Raises:
        HlensError: An unknown format, or kaleido or its browser is missing.
    """
    if options["format"] not in STILLS:
        raise HlensError(f"no picture of format {options['format']!r}; use {', '.join(STILLS)}")
    try:
        import kaleido
    except ImportError as error:
        raise HlensError(
            "still pictures need kaleido: run pip install 'hlens[export]', or save the figure as "
            ".html"
        ) from error
    try:
        # plotly's own way would fetch MathJax from another host; hlens writes no mathematics.
        return kaleido.calc_fig_sync(dict(figure), opts=dict(options), kopts={"mathjax": False})
    except Exception as error:  # kaleido raises many kinds where its browser is missing or stops
        if "chrome" not in f"{type(error).__name__} {error}".lower():
            raise
        raise HlensError(
            "kaleido found no Chromium or Chrome; install one, or set BROWSER_PATH to it, or save "
            "the figure as .html"
        ) from error
