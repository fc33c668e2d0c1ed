"""The verbs of labelled answers: import."""

from pathlib import Path
from typing import Annotated

import typer

from hlens.cli import show
from hlens.cli.app import app
from hlens.cli.step_verbs import Json, Out

Column = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="The file's column for it, where that has another name; '' leaves it out.",
        rich_help_panel="Columns of the file",
    ),
]


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="Labelled answers: .jsonl, .json, .csv, .tsv or .parquet.")
    ],
    model: Annotated[
        str | None, typer.Option(help="Alias, hub id, folder or .gguf file; what is measured.")
    ] = None,
    out: Out = None,
    layout: Annotated[
        str | None, typer.Option(help="Read the file as its authors publish it (hlens list).")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD=VERDICT",
            help="What a label word means: correct, hallucinated, refused or unscored; several "
            "may be given.",
        ),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="What one example is: span, response or token.")
    ] = None,
    rest: Annotated[
        str | None, typer.Option(help="What is not marked: ignore, or correct (it is true).")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="The judge of answers that have no label.")
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="What stood behind each question when it was asked.")
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="How questions were asked: chat or completion.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Further options of the study: a recipe (.toml).")
    ] = None,
    question: Column = None,
    messages: Column = None,
    prompt: Column = None,
    system: Column = None,
    context: Column = None,
    choices: Column = None,
    answers: Column = None,
    response: Column = None,
    token_ids: Column = None,
    n_prompt: Column = None,
    verdict: Column = None,
    correct: Column = None,
    hallucinated: Column = None,
    spans: Column = None,
    row_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="COLUMN",
            help="Of each question.",
            rich_help_panel="Columns of the file",
        ),
    ] = None,
    group: Column = None,
    domain: Column = None,
    meta: Column = None,
    as_json: Json = False,
) -> None:
    """Your own labelled answers: from a file to a report. No question is asked.

    Each row has a question (or messages, or a bare prompt), a response, and a verdict, true or
    false, or labelled spans. Run again, it goes on; once the file has changed, it starts anew.
    """
    from hlens.cli import studies
    from hlens.study import Study

    columns = {
        "question": question, "messages": messages, "prompt": prompt, "system": system,
        "context": context, "choices": choices, "answers": answers, "response": response,
        "token_ids": token_ids, "n_prompt": n_prompt, "verdict": verdict, "correct": correct,
        "hallucinated": hallucinated, "spans": spans, "id": row_id, "group": group,
        "domain": domain, "meta": meta,
    }  # fmt: skip
    options = {
        "layout": layout, "unit": unit, "rest": rest, "instruction": instruction, "style": style,
    }  # fmt: skip
    given = studies.labelled_recipe(
        file,
        model=model,
        recipe=recipe,
        judge=judge,
        labels=label or (),
        columns={name: column for name, column in columns.items() if column is not None},
        options={name: value for name, value in options.items() if value is not None},
    )
    with show.progress() as progress:
        study = Study(out or Path("runs") / file.stem, given, progress=progress)
        study.make_report_data()
        scores = study.scores()
        path = study.report()
    show.scores(study, scores, path, as_json)
