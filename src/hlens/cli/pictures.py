"""Where a verb writes its figure, and in what size: options of all verbs that draw one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hlens.cli.gathering import gathers
from hlens.cli.refusing import refuse


@dataclass(frozen=True)
class Picture:
    """A file for a figure; widths and heights as `hlens.drawing.figure.Figure.save` takes them."""

    path: Path
    width: str | None = None
    height: str | None = None
    title: bool = True

    def save(self, figure: Any) -> None:
        """Write a figure, by the suffix of the file."""
        figure.save(self.path, width=self.width, height=self.height, title=self.title)


def picture_of(
    figure: Path | None = None,
    figure_width: str | None = None,
    figure_height: str | None = None,
    no_title: bool = False,
) -> Picture | None:
    """What a command line says of its figure, checked before anything is worked on.

    Raises:
        HlensError: No figure can be written there or be so large, or there is a size without one.
    """
    if figure is None:
        sizes = {"figure_width": figure_width, "figure_height": figure_height}
        refuse({**sizes, "no_title": no_title or None}, "--figure")
        return None
    from hlens.drawing.figure import check_figure_file

    check_figure_file(figure, figure_width, figure_height)
    return Picture(figure, figure_width, figure_height, not no_title)


OPTIONS = {
    "figure": Annotated[
        Path | None, typer.Option(help="Write the figure: .html, or .png, .svg, .pdf.")
    ],
    "figure_width": Annotated[
        str | None, typer.Option(help="Its width on paper, such as 84mm, 3.25in or 240pt.")
    ],
    "figure_height": Annotated[str | None, typer.Option(help="Its height; as its rows need it.")],
    "no_title": Annotated[
        bool | None, typer.Option("--no-title", help="Leave its title to the caption of a paper.")
    ],
}

# Of a verb that draws a figure; it receives a `Picture`, or None, as ``picture``.
takes_picture = gathers("picture", OPTIONS, picture_of)
