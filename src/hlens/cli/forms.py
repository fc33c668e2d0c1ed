"""In which form a verb's tables are written: for people to read, as JSON, or as LaTeX."""

from enum import StrEnum
from typing import Annotated

import typer

from hlens.cli.gathering import gathers
from hlens.errors import HlensError


class Form(StrEnum):
    """How results are written on stdout; the first is empty, so that it counts as false."""

    PLAIN = ""
    JSON = "json"
    LATEX = "latex"


def chosen_form(json: bool = False, latex: bool = False) -> Form:
    """The form that a command line asks for.

    >>> chosen_form(json=True, latex=True)
    Traceback (most recent call last):
    hlens.errors.HlensError: --json and --latex are two forms of the same tables; give one of them
    """
    if json and latex:
        raise HlensError("--json and --latex are two forms of the same tables; give one of them")
    return Form.JSON if json else Form.LATEX if latex else Form.PLAIN


OPTIONS = {
    "json": Annotated[bool | None, typer.Option("--json", help="Results as JSON on stdout.")],
    "latex": Annotated[
        bool | None,
        typer.Option("--latex", help="Tables as LaTeX on stdout, for a paper (booktabs)."),
    ],
}

# Of a verb that prints tables; it receives the form as ``form``.
takes_form = gathers("form", OPTIONS, chosen_form)
