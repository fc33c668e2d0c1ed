"""The verbs. Each imports what it needs when it runs, so that ``--help`` answers at once."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer

from hlens.cli import show
from hlens.cli.forms import Form, takes_form
from hlens.cli.loading import takes_loading
from hlens.cli.opening import opening, step_at
from hlens.cli.pictures import Picture, takes_picture
from hlens.cli.refusing import refuse
from hlens.cli.step_verbs import (
    Again,
    Base,
    Json,
    Out,
    StudyFolder,
    facts_command,
    help_of,
    shared_command,
    show_tables,
    table_command,
)
from hlens.errors import HlensError
from hlens.threads import asked_threads

app = typer.Typer(
    name="hlens",
    help="Find hallucination-associated neurons in a language model, and test the finding.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Model = Annotated[
    str | None, typer.Option(help="Alias, hub id, folder or .gguf file, in place of the recipe's.")
]
Version = Annotated[
    bool, typer.Option("--version", help="Show the version, and exit.", is_eager=True)
]
Template = Annotated[
    list[str] | None,
    typer.Option(
        help="An option of the chat template, such as enable_thinking=false, in place of the "
        "recipe's; several may be given."
    ),
]


@app.callback(invoke_without_command=True)
def show_version(version: Version = False) -> None:
    """Find hallucination-associated neurons in a language model, and test the finding."""
    if version:
        show.out.print(f"hlens {version_of('hlens')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    show.warnings_to_stderr()
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries; hlens draws its own
    try:
        asked_threads()
        # Not standalone: typer would print a mistake itself, control characters and all.
        code = app(standalone_mode=False) or 0
    except HlensError as error:
        show.error(str(error))
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written
        reason = error.strerror or type(error).__name__
        show.error(f"{error.filename}: {reason}" if error.filename else str(error) or reason)
        sys.exit(2)
    except Exception as error:
        # Usage errors are of a class of typer's own, and take four lines there. Without any
        # arguments the help is the error, and was shown.
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        if type(error).__name__ != "NoArgsIsHelpError":
            show.error(f"{said()} (see hlens --help)")
        sys.exit(2)
    except KeyboardInterrupt:
        code = 130
    if code == 130:  # what typer makes of an interrupt
        show.error("interrupted; the same command goes on where it stopped")
    sys.exit(code)


@app.command()
@takes_form
def demo(form: Form, out: Out = None) -> None:
    """A whole study on the embedded 135M model: about five minutes on two cores."""
    _run("demo", out or Path("runs/demo"), None, None, form)


@app.command()
@takes_form
@takes_loading
def run(
    recipe: StudyFolder,
    form: Form,
    loading: dict[str, str],
    out: Out = None,
    model: Model = None,
    template: Template = None,
    engine: Annotated[
        str | None, typer.Option(help="What runs the model (hlens list engines).")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ray's cluster, with --engine ray: auto, local or HOST:PORT."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="An option of the recipe, such as sampling.n=3, in place of its own; several may "
            "be given.",
        ),
    ] = None,
    stand_in: Annotated[
        bool,
        typer.Option(
            "--stand-in",
            help="Ask the domains that the recipe names as stand-ins, where a published set cannot "
            "be had.",
        ),
    ] = False,
) -> None:
    """A whole study from a recipe (TOML) to its report. Resumes where it was interrupted."""
    chosen = {"engine": engine, "address": address}
    loading |= {name: value for name, value in chosen.items() if value is not None}
    _run(str(recipe), out, model, template, form, loading, settings, stand_in)


def _run(
    recipe: str,
    out: Path | None,
    model: str | None,
    template: list[str] | None,
    form: Form,
    loading: dict[str, str] | None = None,
    settings: list[str] | None = None,
    stand_in: bool = False,
) -> None:
    with opening(recipe, out, model, template or (), loading, settings or (), stand_in) as study:
        study.make_report_data()
        scores = study.scores()
        path = study.report()
    show.scores(study, scores, path, form)


@app.command(help=help_of("answers.questions"))
def ask(study: StudyFolder, out: Out = None, as_json: Json = False) -> None:
    """Write the questions down."""
    with opening(study, out) as opened:
        n = len(opened[step_at("answers.questions")])
        opened[step_at("answers.worked")]
        folder = opened.folder
    show.result({"study": str(folder), "n": n}, as_json)


app.command("sample")(shared_command("answers.responses"))


@app.command(help=help_of("answers.judgements"))
@takes_form
def judge(
    study: StudyFolder,
    form: Form,
    out: Out = None,
    beside: Annotated[
        str | None, typer.Option(help="Another judge, to see how far the two agree.")
    ] = None,
) -> None:
    """Judge, or compare two judges."""
    if beside is None:
        refuse({"latex": form == Form.LATEX or None}, "--beside, which prints tables")
        facts_command("answers.judgements")(study, out, bool(form))
        return
    from hlens.cli import tables

    with opening(study, out) as opened:
        compared = tables.agreement(opened, beside)
    show.tables(compared, None, opened, form)


app.command("locate")(facts_command("answers.located"))
app.command("measure")(shared_command("detection.measured"))


@app.command()
def gather(study: StudyFolder, as_json: Json = False) -> None:
    """Bind what the shards of `hlens sample` or `hlens measure` have done, once all are done."""
    from hlens.cli import sharding

    sharding.gather(study, as_json)


app.command("find")(facts_command("detection.detector"))
app.command("evaluate")(table_command("detection.scores"))
app.command("second-judge")(table_command("second_judge.second_judge"))


@app.command()
@takes_form
def table(
    study: Annotated[list[str], typer.Argument(help="Folders of studies, or recipes (.toml).")],
    form: Form,
) -> None:
    """The published table: accuracy of random neurons and of H-neurons, a row a test set."""
    from hlens.cli import tables

    show.tables({"published": tables.published(study)}, None, None, form)


@app.command("compare")
@takes_form
def compare_(
    named: Annotated[
        list[str], typer.Argument(help="A campaign (.toml): models and a recipe; or studies.")
    ],
    form: Form,
    out: Annotated[
        Path | None, typer.Option(help="Folder of a campaign's studies; runs/NAME by default.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Where to write the HTML file.")] = None,
) -> None:
    """Several models side by side, in one report: a campaign is run, studies are read."""
    from hlens.cli import comparing

    comparing.compare_models(named, out, to, form)


app.command("transfer")(table_command("domains.transfer"))
app.command("overlap")(table_command("domains.overlap"))


@app.command("trace-origin", help=help_of("origin.origin"))
@takes_picture
@takes_form
def trace_origin(
    study: StudyFolder,
    picture: Picture | None,
    form: Form,
    base: Base = None,
    out: Out = None,
    again: Again = False,
) -> None:
    """Trace the neurons to a base model, which may be named here."""
    show_tables(
        step_at("origin.origin"),
        study,
        out=out,
        again=again,
        picture=picture,
        form=form,
        base=base,
    )


@app.command()
@takes_picture
@takes_form
@takes_loading
def sibling(
    study: StudyFolder,
    picture: Picture | None,
    form: Form,
    model: Annotated[
        str, typer.Option(help="The sibling: an alias, hub id, folder or .gguf file.")
    ],
    loading: dict[str, str],
    revision: Annotated[str, typer.Option(help="Its revision on the hub.")] = "",
    texts: Annotated[
        Path | None,
        typer.Option(
            help="Unlabelled texts to realign on, one a line; by default the training part, "
            "without its labels."
        ),
    ] = None,
    out: Out = None,
    again: Again = False,
) -> None:
    """The detector on a sibling of its model: as it is, realigned without labels, found afresh.

    The sibling (quantised, tuned further, another revision or dtype, the base model) reads the
    study's own answers, token for token; its dtype is the study's unless another is given. No other
    command reads another model with a detector.
    """
    from hlens.cli import siblings

    options = {"revision": revision, "texts": str(texts or ""), **loading}
    with opening(study, out) as opened:
        found, changed = siblings.compare(opened, model, options, again)
        if picture is not None:
            siblings.draw(found, picture)
    siblings.show_compared(found, changed, opened, form)


@app.command(help=help_of("audit.audit"))
@takes_form
def audit(
    study: StudyFolder,
    form: Form,
    quick: Annotated[bool, typer.Option("--quick", help="Do not run the model.")] = False,
    out: Out = None,
) -> None:
    """Audit a study."""
    with opening(study, out) as opened:
        audited = opened.audit(quick)
    show.audit(audited, opened, opened.audit_page_path(quick), form)


@app.command()
def report(
    study: StudyFolder,
    to: Annotated[Path | None, typer.Option(help="Where to write the HTML file.")] = None,
    as_json: Json = False,
) -> None:
    """Draw all that the study holds into one HTML file. The model is not run."""
    from hlens.drawing.html import check_page

    if to is not None:
        check_page(to)
    with opening(study) as opened:
        path = opened.report(to)
    show.result({"report": str(path)}, as_json)


@app.command()
@takes_form
def cite(
    form: Form,
    study: Annotated[
        Path | None, typer.Argument(help="Folder of a study, or a recipe (.toml).")
    ] = None,
    bibtex: Annotated[
        bool, typer.Option("--bibtex", help="The works that it cites, as BibTeX.")
    ] = False,
) -> None:
    """A paragraph on methods, of a study or its recipe; without one, how to cite hlens."""
    from hlens.cli import citing

    citing.show_methods(citing.methods_of(study), form, bibtex, whole=study is None)


@app.command("verify-study")
def verify_study(
    study: Annotated[Path, typer.Argument(help="Folder of a study.")], as_json: Json = False
) -> None:
    """Is every file of a study as hlens wrote it? All are read; exit code 2 if one is not."""
    from hlens.store.stamps import NO_HASH
    from hlens.study import Study

    states = Study(study).verify()
    show.result({name: state or "as it was written" for name, state in states.items()}, as_json)
    differing = [name for name, state in states.items() if state not in ("", NO_HASH)]
    if differing:
        raise HlensError(
            f"{len(differing)} of {len(states)} artefacts differ from what was written: "
            f"{', '.join(differing)}; restore their files, or remove them to have them made anew"
        )


@app.command("list")
def list_(
    family: Annotated[
        str | None, typer.Argument(help="A family, such as domains or judges.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What there is: models, domains, layouts, judges, behaviours, metrics, steps, recipes, ..."""
    from hlens.cli import families

    show.result(families.listed(family), as_json)
