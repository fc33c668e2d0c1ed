"""The verbs. Each imports what it needs when it runs, so that ``--help`` answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hlens.cli import show
from hlens.errors import HlensError

app = typer.Typer(
    name="hlens",
    help="Find hallucination-associated neurons in a language model, and test the finding.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

StudyFolder = Annotated[Path, typer.Argument(help="Folder of a study, or a recipe (.toml).")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder of the study. Default: runs/NAME.")
]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")]
Again = Annotated[
    bool,
    typer.Option("--again", help="Recompute from the stored artefacts, and say what changed."),
]
FigureFile = Annotated[Path | None, typer.Option("--figure", help="Write the figure (.html).")]
Model = Annotated[
    str | None, typer.Option(help="Alias, hub id, folder or .gguf file, in place of the recipe's.")
]


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    show.warnings_to_stderr()
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries; hlens draws its own
    try:
        app(standalone_mode=True)
    except HlensError as error:
        show.error(str(error))
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written
        reason = error.strerror or type(error).__name__
        show.error(f"{error.filename}: {reason}" if error.filename else str(error) or reason)
        sys.exit(2)
    except KeyboardInterrupt:
        show.error("interrupted; the same command goes on where it stopped")
        sys.exit(130)


@app.command()
def demo(out: Out = None, as_json: Json = False) -> None:
    """The whole line on the embedded 135M model: about ten minutes on two cores."""
    _run("demo", out or Path("runs/demo"), None, as_json)


@app.command()
def run(recipe: StudyFolder, out: Out = None, model: Model = None, as_json: Json = False) -> None:
    """The whole line by a recipe (TOML), to a report. Goes on where it was interrupted."""
    _run(str(recipe), out, model, as_json)


def _run(recipe: str, out: Path | None, model: str | None, as_json: bool) -> None:
    from hlens.cli import studies

    with show.progress() as progress:
        study = studies.open_study(recipe, out, model, progress)
        scores = study.scores()
        path = study.report()
    show.scores(study, scores, path, as_json)


@app.command()
def sample(study: StudyFolder, out: Out = None, as_json: Json = False) -> None:
    """Ask the questions, several times each."""
    _step(study, out, "responses", as_json)


@app.command()
def judge(
    study: StudyFolder,
    out: Out = None,
    beside: Annotated[
        str | None, typer.Option(help="Another judge, to see how far the two agree.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which responses are true."""
    if beside is None:
        _step(study, out, "judgements", as_json)
        return
    from hlens.cli import studies, tables

    with show.progress() as progress:
        found = tables.beside(studies.open_study(str(study), out, None, progress), beside)
    show.tables(found, None, None, as_json)


@app.command()
def locate(study: StudyFolder, out: Out = None, as_json: Json = False) -> None:
    """Find the answer's tokens in each response."""
    _step(study, out, "examples", as_json)


@app.command()
def measure(study: StudyFolder, out: Out = None, as_json: Json = False) -> None:
    """Measure what each neuron contributed."""
    _step(study, out, "contributions", as_json)


@app.command()
def find(study: StudyFolder, out: Out = None, as_json: Json = False) -> None:
    """Fit the sparse probe on the training part."""
    _step(study, out, "detector", as_json)


@app.command()
def evaluate(
    study: StudyFolder,
    out: Out = None,
    again: Again = False,
    figure: FigureFile = None,
    as_json: Json = False,
) -> None:
    """Held-out AUROC beside its controls."""
    _tables("evaluate", study, out, again, figure, as_json)


@app.command()
def transfer(
    study: StudyFolder,
    out: Out = None,
    again: Again = False,
    figure: FigureFile = None,
    as_json: Json = False,
) -> None:
    """Train on each domain, test on each; and by format, where domain and format differ apart."""
    _tables("transfer", study, out, again, figure, as_json)


@app.command()
def overlap(
    study: StudyFolder,
    out: Out = None,
    again: Again = False,
    figure: FigureFile = None,
    as_json: Json = False,
) -> None:
    """Overlap of the domains' H-neurons, beside chance and beside halves of one domain."""
    _tables("overlap", study, out, again, figure, as_json)


@app.command("trace-origin")
def trace_origin(
    study: StudyFolder,
    base: Annotated[
        str | None, typer.Option(help="The base model; the recipe's where it names one.")
    ] = None,
    out: Out = None,
    again: Again = False,
    figure: FigureFile = None,
    as_json: Json = False,
) -> None:
    """The detector on the base model, and how far tuning moved its neurons' weights."""
    _tables("trace-origin", study, out, again, figure, as_json, base)


@app.command()
def audit(
    study: StudyFolder,
    quick: Annotated[bool, typer.Option("--quick", help="Run the model no further.")] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Which claims survive their controls: rivals, confounds, controls, and one card."""
    from hlens.cli import studies

    with show.progress() as progress:
        opened = studies.open_study(str(study), out, None, progress)
        found = opened.audit(quick)
    show.audit(found, opened.folder / "audit" / "card.html", as_json)


@app.command()
def report(
    study: StudyFolder,
    to: Annotated[Path | None, typer.Option(help="Where to write the HTML file.")] = None,
    as_json: Json = False,
) -> None:
    """Draw all that the study holds into one HTML file."""
    from hlens.cli import studies

    with show.progress() as progress:
        path = studies.open_study(str(study), None, None, progress).report(to)
    show.result({"report": str(path)}, as_json)


@app.command("list")
def list_(
    family: Annotated[
        str | None, typer.Argument(help="A family, such as domains or judges.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What there is: models, domains, judges, behaviours, metrics, figures, recipes."""
    from hlens.cli import families

    show.result(families.listed(family), as_json)


def _step(study: Path, out: Path | None, noun: str, as_json: bool) -> None:
    from hlens.cli import studies

    with show.progress() as progress:
        opened = studies.open_study(str(study), out, None, progress)
        found = getattr(opened, noun)()
    show.result(studies.summary(opened, noun, found), as_json)


def _tables(
    verb: str,
    study: Path,
    out: Path | None,
    again: bool,
    figure: Path | None,
    as_json: bool,
    base: str | None = None,
) -> None:
    from hlens.cli import studies, tables

    what = tables.VERBS[verb]
    with show.progress() as progress:
        opened = studies.open_study(str(study), out, None, progress)
        if base is not None:
            opened.traced_to(base)
        found, other = tables.recomputed(opened, what) if again else (what.tables(opened), None)
        if figure is not None:
            tables.draw(opened, what, figure)
    show.tables(found, other, opened if verb == "evaluate" else None, as_json)
