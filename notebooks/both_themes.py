"""Lessons that are executed for the site draw each figure in both themes, so that it can switch.

`build.execute` imports this in the kernel before the first cell; a student's kernel never does.
"""

from typing import Any

import hlens.figures
from hlens.drawing.figure import Figure

MEMBER = type(hlens.figures.losses)  # the class that makes every figure's module callable
draw_one = MEMBER.__call__


def draw_both(self: Any, *args: Any, **kwargs: Any) -> Any:
    """The figure as it was asked for; a light one keeps its dark twin in its ``meta``."""
    drawn = draw_one(self, *args, **kwargs)
    if isinstance(drawn, Figure) and "theme" not in kwargs:
        dark = draw_one(self, *args, **kwargs, theme="dark").to_plotly_json()
        drawn.update_layout(meta={**drawn.meta, "dark": dark})
    return drawn


MEMBER.__call__ = draw_both
