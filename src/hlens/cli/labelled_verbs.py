"""The verbs of labelled answers: import."""

from pathlib import Path
from typing import Annotated

import typer

from hlens.cli import show
from hlens.cli.app import app
from hlens.cli.columns import Judge, Labels, Layout, Rest, Style, takes_columns
from hlens.cli.forms import Form, takes_form
from hlens.cli.loading import takes_loading
from hlens.cli.step_verbs import Out


@app.command("import")
@takes_form
@takes_loading
@takes_columns
def import_(
    file: Annotated[
        Path, typer.Argument(help="Labelled answers: .jsonl, .json, .csv, .tsv or .parquet.")
    ],
    form: Form,
    columns: dict[str, str],
    loading: dict[str, str],
    model: Annotated[
        str | None, typer.Option(help="Alias, hub id, folder or .gguf file; what is measured.")
    ] = None,
    out: Out = None,
    layout: Layout = None,
    label: Labels = None,
    unit: Annotated[
        str | None, typer.Option(help="What one example is: span, response or token.")
    ] = None,
    rest: Rest = None,
    judge: Judge = None,
    instruction: Annotated[
        str | None, typer.Option(help="What followed each question when it was asked.")
    ] = None,
    style: Style = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Further options of the study: a recipe (.toml).")
    ] = None,
) -> None:
    """Your own labelled answers: from a file to a report. No question is asked.

    Each row has a question (or messages, or a bare prompt), a response, and a verdict, true or
    false, or labelled spans. Run again, it goes on where it stopped; once the file has changed, it
    starts again.
    """
    from hlens.cli import studies
    from hlens.study import Study

    options = {
        "layout": layout, "unit": unit, "rest": rest, "instruction": instruction, "style": style,
    }  # fmt: skip
    given = studies.labelled_recipe(
        file,
        model=model,
        recipe=recipe,
        judge=judge,
        labels=label or (),
        columns=columns,
        options={name: value for name, value in options.items() if value is not None},
        loading=loading,
    )
    with show.progress() as progress:
        study = Study(out or Path("runs") / file.stem, given, progress=progress)
        study.make_report_data()
        scores = study.scores()
        path = study.report()
    show.scores(study, scores, path, form)
