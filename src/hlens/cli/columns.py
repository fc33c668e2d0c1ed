"""Options that say how a file of answers is read: its columns, its layout, its labels."""

from typing import Annotated

import typer

from hlens.cli.gathering import gathers

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


# It receives those that are set as ``columns``, a mapping from hlens's names to the file's, as
# `hlens.labelled.labelled` takes it.
takes_columns = gathers("columns", dict.fromkeys(COLUMNS, _Column))
