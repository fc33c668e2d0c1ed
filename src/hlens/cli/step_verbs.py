"""The verbs that make one artefact and show it: a line a step.

The steps are named by their place in `hlens.steps` and looked up when a verb runs, so that the
command line answers ``--help`` without loading a model library. Their help is read from the source.
"""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hlens
from hlens.cli import show
from hlens.cli.forms import Form, takes_form
from hlens.cli.opening import opening, step_at
from hlens.cli.pictures import Picture, takes_picture

if TYPE_CHECKING:
    from hlens.steps import Step

StudyFolder = Annotated[Path, typer.Argument(help="Folder of a study, or a recipe (.toml).")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder of the study. Default: runs/NAME.")
]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")]
Again = Annotated[
    bool,
    typer.Option("--again", help="Recompute from the stored artefacts, and say what changed."),
]
OneShard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Do one of several shards, such as 3/16, beside other processes in the same folder; "
        "`hlens gather` binds them.",
    ),
]
Base = Annotated[str | None, typer.Option(help="The base model; the recipe's where it names one.")]


def facts_command(place: str) -> Callable[..., None]:
    """A command that makes the artefact at a place such as ``"answers.responses"``.

    It shows the artefact's `facts`.
    """

    def command(study: StudyFolder, out: Out = None, as_json: Json = False) -> None:
        step = step_at(place)
        with opening(study, out) as opened:
            value = opened[step]
        facts = step.facts(value) if step.facts else {}
        show.result({"study": str(opened.folder), **facts}, as_json)

    command.__doc__ = help_of(place)
    return command


def shared_command(place: str) -> Callable[..., None]:
    """The same for a step whose work may be done in shards."""
    whole = facts_command(place)

    def command(
        study: StudyFolder, out: Out = None, shard: OneShard = None, as_json: Json = False
    ) -> None:
        if shard is None:
            whole(study, out, as_json)
            return
        from hlens.cli import sharding

        sharding.do_shard(place, study, out, shard, as_json)

    command.__doc__ = help_of(place)
    return command


def table_command(place: str) -> Callable[..., None]:
    """A command that makes the table at a place, and shows it with what belongs to it."""

    def command(
        study: StudyFolder,
        picture: Picture | None,
        form: Form,
        out: Out = None,
        again: Again = False,
    ) -> None:
        show_tables(step_at(place), study, out=out, again=again, picture=picture, form=form)

    command.__doc__ = help_of(place)
    return takes_picture(takes_form(command))


def show_tables(
    step: "Step[Any]",
    study: Path,
    *,
    out: Path | None,
    again: bool,
    picture: Picture | None,
    form: Form,
    base: str | None = None,
) -> None:
    """Make the tables of a step, or make them again, and show them."""
    from hlens.cli import tables

    with opening(study, out) as opened:
        if base is not None:
            opened.trace_to(base)
            opened.drift()  # which names the base in the recipe, unless its shape is another
        shown, changed = tables.make(opened, step, again)
        if picture is not None:
            tables.draw(opened, step, picture)
    show.tables(shown, changed, opened, form)


def help_of(place: str) -> str:
    """First paragraph of the docstring of the function at a place, read without importing it."""
    module, name = place.split(".")
    source = Path(hlens.__file__).parent / "steps" / f"{module}.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    raise LookupError(f"no step at hlens.steps.{place}")
