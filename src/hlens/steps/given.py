"""Studies of labelled answers: the first half is given, from the questions to the examples.

Problem: a study asks, samples, judges and locates. Where all of that is given it must not be made
again, and everything after it should not notice.

Idea: each of these steps has a stand-in of the same name and storage that takes its value from the
labelled answers (`INSTEAD`). The recipe is bound to the content of what was read (`seal`), and a
folder with anything else in it is refused (`check_folder`).
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hlens import spans
from hlens.errors import HlensError
from hlens.labelled import GIVEN, Labelled, content_of
from hlens.labelled.rows import read_answers
from hlens.model import Model
from hlens.recipe import Recipe
from hlens.steps import all_steps
from hlens.steps.answers import Located, judgements, located, questions, responses
from hlens.steps.second_judge import Judges, named_judges, names_of
from hlens.steps.sources import given_answers, model
from hlens.steps.step import Step
from hlens.store.stamps import Stamps
from hlens.types import Judgement, Question, Response


def _questions(given: Labelled) -> list[Question]:
    """What was asked, as the file says."""
    return given.questions


def _responses(questions: list[Question], given: Labelled, model: Model) -> list[Response]:
    """What was answered, as the file says."""
    return given.responses


def _judgements(responses: list[Response], given: Labelled) -> list[Judgement]:
    """The labels of the file, or a judge's verdicts where it has none."""
    return given.judgements


def _located(
    judgements: list[Judgement], given: Labelled, model: Model, *, per_class: int
) -> Located:
    """The tokens that are labelled."""
    return Located(spans.draw_of_each_label(given.examples, per_class), given.losses)


def _named_judges(judgements: list[Judgement], *, judge: str, second: str) -> Judges:
    """Who labelled the answers: the file, and a judge where it did not."""
    asked = [one.response.question for one in judgements if not one.reason.startswith(GIVEN)]
    names = ["the file"] if len(asked) < len(judgements) else []
    return Judges(", ".join([*names, *([names_of(judge, asked)] if asked else [])]), second)


# What runs in place of the first steps where the answers are given.
INSTEAD: dict[Step[Any], Step[Any]] = {
    questions: replace(questions, make=_questions, needs=(given_answers,), options=()),
    responses: replace(
        responses, make=_responses, needs=(questions, given_answers, model), options=()
    ),
    judgements: replace(judgements, make=_judgements, needs=(responses, given_answers), options=()),
    located: replace(located, make=_located, needs=(judgements, given_answers, model), options=()),
    named_judges: replace(named_judges, make=_named_judges, needs=(judgements,)),
}


def seal(recipe: Recipe, given: Labelled | None = None) -> Recipe:
    """The recipe of a study of labelled answers: what was read, its domains, and how it was asked.

    A recipe without labelled answers, or one that is sealed already, comes back as it is.

    Args:
        recipe: A recipe that names a file, or any recipe where the answers are given.
        given: Labelled answers of the caller.

    Raises:
        HlensError: A file that cannot be read, or a second judge, who reads whole responses, where
            the unit is another.
    """
    options = recipe.labelled
    if (given or options.is_given) and recipe.labels.second and options.unit != "response":
        raise HlensError(
            f"labels.second is {recipe.labels.second!r}, and a judge reads whole responses; import "
            'with unit = "response", or leave it out'
        )
    if given is not None:
        options = replace(options, file="", content=given.digest)
        names: Iterable[str] = (question.domain for question in given.questions)
    elif not options.file or options.content:
        return recipe
    else:
        domain = options.domain or Path(options.file).stem
        options = replace(options, content=content_of(options.file), domain=domain)
        rows = read_answers(
            options.file,
            layout=options.layout or None,
            columns=options.columns,
            labels=options.labels,
            domain=domain,
        )
        names = (row.question.domain for row in rows)
    # What asks again (further samples, a monitor) asks as the answers were asked.
    sampling = replace(recipe.sampling, instruction=options.instruction, style=options.style)
    return replace(recipe, labelled=options, domains=tuple(dict.fromkeys(names)), sampling=sampling)


def check_folder(folder: Path, *, asked: bool) -> None:
    """Raise `HlensError` where a folder holds what hlens did not write, before anything is written.

    Args:
        folder: Where labelled answers are to become a study.
        asked: Whether it holds a study that asked its own questions.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise HlensError(f"{folder} is a file; give a folder for the study")
    if asked:
        raise HlensError(
            f"{folder} holds a study that asked its own questions; give the labelled answers "
            "another folder"
        )
    stamps = Stamps(folder)
    for one in all_steps():
        if one.storage is not None:
            files = [file for file in one.storage.files(folder / one.name) if file.exists()]
            stamps.check_may_write(one.name, files)
    others = sorted(path.name for path in folder.iterdir())
    if others and "recipe.toml" not in others:
        raise HlensError(
            f"{folder} holds {others[0]!r} and is no study, so nothing is written into it; give an "
            "empty folder, or one that is not there yet"
        )
