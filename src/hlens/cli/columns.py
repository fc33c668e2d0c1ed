"""Options that say how a file of answers is read: its columns, its layout, its labels."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

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


def takes_columns(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each column; it receives those that are set as ``columns``.

    That is a mapping from hlens's names to the file's, as `hlens.labelled.labelled` takes it.
    """
    signature = inspect.signature(command)
    own = [one for name, one in signature.parameters.items() if name != "columns"]
    further = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Column)
        for name in COLUMNS
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        columns = {name: given.pop(name) for name in COLUMNS}
        command(columns={name: c for name, c in columns.items() if c is not None}, **given)

    run.__signature__ = signature.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in [*own, *further]}
    return run
