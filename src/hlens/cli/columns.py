"""Options that say how a file of answers is read: its columns, its layout, its labels."""

from typing import Annotated, Any

import typer

from hlens.cli.gathering import gathers
from hlens.errors import HlensError

# Those of `hlens.labelled.rows`, which is not imported (a test compares them), because that would
# load the model libraries for ``--help``.
COLUMNS = (
    "question", "messages", "prompt", "system", "context", "choices", "answers", "answer",
    "response", "token_ids", "n_prompt", "verdict", "correct", "hallucinated", "spans", "id",
    "group", "domain", "meta",
)  # fmt: skip

Layout = Annotated[
    str | None, typer.Option(help="The file's published layout (hlens list layouts).")
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORD=VERDICT",
        help="What a label word means: correct, hallucinated, refused or unscored; several "
        "may be given.",
    ),
]
Rest = Annotated[
    str | None, typer.Option(help="What is not marked: ignore, or correct (it is true).")
]
Judge = Annotated[str | None, typer.Option(help="The judge of answers that have no label.")]
Style = Annotated[str | None, typer.Option(help="How questions were asked: chat or completion.")]
_Column = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="The file's own name for this column; '' leaves it out.",
        rich_help_panel="Columns of the file",
    ),
]


BY_COLUMN: dict[str, Any] = dict.fromkeys(COLUMNS, _Column)

# It receives those that are set as ``columns``, a mapping from hlens's names to the file's, as
# `hlens.labelled.labelled` takes it.
takes_columns = gathers("columns", BY_COLUMN)


def label_option(given: str) -> tuple[str, str]:
    """Word and verdict of ``WORD=VERDICT``.

    >>> label_option("a=b=hallucinated")
    ('a=b', 'hallucinated')
    """
    word, is_pair, verdict = given.rpartition("=")
    if not is_pair or not word:
        raise HlensError(f"--label {given!r}; expected WORD=VERDICT, as in wrong=hallucinated")
    return word, verdict
