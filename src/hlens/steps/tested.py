"""What a detector is only tested on, and another way beside it: the rows of the published table.

arXiv 2512.01797 trains on one set and tests on others, each question of these asked once and every
answer counted, whatever was left out of training. So what is tested on is asked, judged and
measured apart from what is trained on, in the study's folder ``tested/``, and never comes near a
fit. The other way (`probe.beside`) reads the same answers, in ``beside/``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hlens import domains
from hlens.errors import HlensError
from hlens.evaluation import published_rows
from hlens.model import Model
from hlens.probe import SparseProbe
from hlens.probe.ways import READS, probe_of
from hlens.recipe import MeasureRecipe, Recipe, SamplingRecipe
from hlens.steps import answers, detection
from hlens.steps.answers import JSONL, QUESTIONS, Located, located, questions
from hlens.steps.detection import DRAWS, MEASURED, Measured, Split, measure_new
from hlens.steps.runner import Runner
from hlens.steps.sources import (
    Naming,
    check_ids,
    check_judged,
    judge_of,
    load_domain,
    model,
    naming,
)
from hlens.steps.step import TABLE, Source, Step, Storage, step, substitute
from hlens.store.jsonl import load_judgements, load_responses, save_judgements, save_responses
from hlens.types import Contributions, Detector, Judgement, Question, Response

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Sets:
    """All questions of the domains that are tested on, and the worked examples that they bring."""

    questions: list[Question]
    worked: list[Question]


def _load_sets(run: Runner) -> Sets:
    names = run.recipe.evaluation.test_domains
    loaded = [question for name in names for question in load_domain(run.recipe, name, 0)]
    check_ids(loaded)
    for name in filter(None, (run.recipe.labels.judge, run.recipe.labels.second)):
        check_judged(loaded, judge_of(name))
    return Sets(loaded, [one for name in names for one in domains.load_worked(name)])


test_sets: Source[Sets] = Source("test sets", _load_sets, ("evaluation.test_domains",))


@step(
    needs=(questions, test_sets),
    options=("evaluation.test_questions", "seed"),
    storage=QUESTIONS,
    name="tested/questions",
    verb="table",
)
def tested_questions(
    questions: list[Question], test_sets: Sets, *, test_questions: int, seed: int
) -> list[Question]:
    """Questions to test on: none whose group, or whose very words, the study asks otherwise."""
    groups = {question.group for question in questions}
    words = {_words(question) for question in questions}
    fresh: dict[str, list[Question]] = {one.domain: [] for one in test_sets.questions}
    for one in test_sets.questions:
        if one.group not in groups and _words(one) not in words:
            fresh[one.domain].append(one)
    if used := [name for name, own in fresh.items() if not own]:
        raise HlensError(
            f"the study asks all questions of {', '.join(used)}; to test on others there, set "
            "questions = N, fewer than there are"
        )
    return [
        question
        for own in fresh.values()
        for question in domains.draw_groups(own, test_questions or len(own), seed=seed)
    ]


def _words(question: Question) -> tuple[str, str]:
    return (" ".join(question.text.casefold().split()), question.context)


@step(
    needs=(tested_questions, model, answers.worked, test_sets),
    options=("sampling", "seed"),
    storage=Storage(JSONL, save_responses, load_responses, beside=(tested_questions,)),
    name="tested/responses",
    verb="table",
)
def tested_responses(
    asked: list[Question],
    model: Model,
    worked: list[Question],
    test_sets: Sets,
    *,
    sampling: SamplingRecipe,
    seed: int,
    earlier: Path | None,
    parts: Path,
    progress: Progress,
) -> list[Response]:
    """Ask each question to test on once."""
    return answers.responses.make(
        asked,
        model,
        [*worked, *test_sets.worked],
        sampling=replace(sampling, n=1),
        seed=seed,
        earlier=earlier,
        parts=parts,
        progress=progress,
    )


tested_judgements: Step[list[Judgement]] = replace(
    answers.judgements,
    name="tested/judgements",
    needs=(tested_responses,),
    storage=Storage(JSONL, save_judgements, load_judgements, beside=(tested_responses,)),
    verb="table",
)


@step(
    needs=(tested_judgements, model),
    options=("labels.span",),
    storage=located.storage,
    name="tested/examples",
    verb="table",
)
def tested_located(judgements: list[Judgement], model: Model, *, span: str) -> Located:
    """Find the answer's tokens in each response to a question to test on."""
    every = {"keep": "all", "per_question": 0, "per_class": 0}
    return located.make(judgements, model, span=span, **every)


@step(
    needs=(tested_located, model),
    options=("measure",),
    storage=MEASURED,
    name="tested/contributions",
    verb="table",
)
def tested_measured(
    located: Located,
    model: Model,
    *,
    measure: MeasureRecipe,
    earlier: Path | None,
    parts: Path,
    progress: Progress,
) -> Measured:
    """Measure the answers to test on, of one label though they may be."""
    if not located.examples:
        raise HlensError(
            "no answer of the domains to test on could be judged; see tested/losses.parquet for "
            "why, and ask more questions (evaluation.test_questions)"
        )
    return measure_new(
        located.examples, model, measure=measure, earlier=earlier, parts=parts, progress=progress
    )


ROW = ("probe.way", *DRAWS, "evaluation.n_boot")


@step(
    needs=(detection.split, detection.detector, tested_measured, tested_questions, naming),
    options=ROW,
    storage=TABLE,
    name="tested/table",
    verb="table",
)
def tested(
    split: Split,
    detector: Detector,
    measured: Measured,
    asked: list[Question],
    naming: Naming,
    **options: Any,
) -> pd.DataFrame:
    """Accuracy of random neurons and of the H-neurons on each domain that is only tested on."""
    data = measured.contributions
    tests = {
        naming(name): _of_domain(data, name) for name in dict.fromkeys(q.domain for q in asked)
    }
    return _rows(split.train, tests, detector, naming, **options)


def _of_domain(data: Contributions, name: str) -> Contributions:
    return data.select([row for row, own in enumerate(data.domains) if own == name])


def _rows(
    train: Contributions,
    tests: dict[str, Contributions],
    detector: Detector,
    naming: Naming,
    **options: Any,
) -> pd.DataFrame:
    names = ", ".join(map(naming, detector.domains))
    return published_rows(
        train, tests, detector, model=detector.provenance.model, domains=names, **options
    )


# --- The other way beside it ------------------------------------------------------------------


def _read_by(way: str, measure: MeasureRecipe) -> MeasureRecipe:
    """What a way reads, of the same tokens."""
    return replace(measure, metric=READS[way], compat="")


def _place(name: str) -> str:
    return f"beside/{name.replace('/', '_')}"


def _measure_beside(
    located: Any,
    model: Model,
    *,
    measure: MeasureRecipe,
    beside: str,
    earlier: Path | None,
    parts: Path,
    progress: Progress,
) -> Measured:
    """Measure what the other way reads of the same answers."""
    own = located.examples if isinstance(located, Located) else located
    options = _read_by(beside, measure)
    return measure_new(own, model, measure=options, earlier=earlier, parts=parts, progress=progress)


def _beside(one: Step[Measured]) -> Step[Measured]:
    return replace(
        one,
        name=_place(one.name),
        make=_measure_beside,
        options=(*one.options, "probe.beside"),
        verb="table",
    )


measured_beside = _beside(detection.measured)
tested_measured_beside = _beside(tested_measured)


@step(options=("probe.beside", "seed"), name="beside/probe")
def probe_beside(*, beside: str, seed: int) -> SparseProbe:
    """The probe of the other way, not fitted."""
    return probe_of(beside, random_state=seed)


_SWAPS: dict[Step[Any], Step[Any]] = {
    detection.measured: measured_beside,
    tested_measured: tested_measured_beside,
    detection.probe: probe_beside,
}
split_beside: Step[Split] = substitute(detection.split, _SWAPS, _place)
detector_beside: Step[Detector] = substitute(detection.detector, _SWAPS, _place)


@step(
    needs=(split_beside, detector_beside, naming),
    options=("way=probe.beside", *ROW[1:]),
    storage=TABLE,
    name="beside/table",
    verb="table",
)
def held_out_beside(
    split: Split, detector: Detector, naming: Naming, **options: Any
) -> pd.DataFrame:
    """The other way on the answers that the study holds out."""
    return _rows(split.train, {detection.HELD_OUT: split.test}, detector, naming, **options)


tested_beside: Step[pd.DataFrame] = replace(
    substitute(tested, _SWAPS, _place), options=("way=probe.beside", *ROW[1:])
)


def rows_of(recipe: Recipe) -> list[Step[pd.DataFrame]]:
    """The steps that make the rows of a study's published table, in their order."""
    has_tests, beside = bool(recipe.evaluation.test_domains), bool(recipe.probe.beside)
    made = {
        detection.published: True,
        tested: has_tests,
        held_out_beside: beside,
        tested_beside: has_tests and beside,
    }
    return [one for one, is_made in made.items() if is_made]


def published_table(run: Runner) -> pd.DataFrame:
    """The study as rows of the published table.

    What it holds out, what it only tests on, and the same of the way beside it: random neurons,
    H-neurons, and how few they are.
    """
    rows = [run.value(one) for one in rows_of(run.recipe)]
    return pd.concat(rows, ignore_index=True) if len(rows) > 1 else rows[0]
