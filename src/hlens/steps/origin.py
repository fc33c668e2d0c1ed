"""Where a study's neurons come from: its detector on the base model, and how far weights moved."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from hlens import figures
from hlens.errors import HlensError
from hlens.model import Model
from hlens.origin import drift_beside_random, trace_origin, weight_drift
from hlens.probe import SparseProbe
from hlens.steps.answers import questions
from hlens.steps.detection import DRAWS, Split, contributions, detector, probe, split
from hlens.steps.runner import Given, Runner
from hlens.steps.sources import model, open_model
from hlens.steps.step import TABLE, Source, step
from hlens.types import Contributions, Detector, Question

BaseLine = Callable[[list[Question]], Contributions]


def base_runner(run: Runner, asked: list[Question]) -> Runner:
    """The base model's own artefacts, in the study's folder ``origin/``.

    It is asked to complete text, as base models are, and judged as the study judges.

    Args:
        run: The study.
        asked: What the base model is asked.

    Raises:
        HlensError: The recipe names no base model.
    """
    # It completes text, and its chat template, where it has one, may not know the options.
    sampling = replace(run.recipe.sampling, style="completion", template={})
    recipe = replace(run.recipe, model=_base_name(run), adapter="", base="", sampling=sampling)
    given = Given(model=run.given.base_model, questions=asked)
    outer = run.progress

    def report(step: str, done: int, total: int) -> None:
        if outer:
            outer(f"base model: {step}", done, total)

    return Runner(run.folder / "origin", recipe, given, report)


def _base_name(run: Runner) -> str:
    if not run.recipe.base:
        raise HlensError(
            'the recipe names no base model; write base = "...", the model that '
            f"{run.recipe.model} was tuned from, into it"
        )
    return run.recipe.base


def _load_base(run: Runner) -> Model:
    return run.given.base_model or open_model(run.recipe, _base_name(run))


base_model: Source[Model] = Source(
    "base model", _load_base, ("base", "dtype"), later=("quantization",), is_model=True
)

# Everything that the base model's answers depend on besides the questions.
base_line: Source[BaseLine] = Source(
    "base line",
    lambda run: lambda asked: base_runner(run, asked).value(contributions),
    ("base", "dtype", "sampling", "labels", "measure", "seed"),
    later=("quantization",),
    is_model=True,
)


@step(needs=(base_model, model), storage=TABLE, verb="trace-origin")
def drift(base_model: Model, model: Model) -> pd.DataFrame:
    """How far tuning turned the weights of every neuron.

    Raises:
        HlensError: No base model, or one of another shape.
    """
    return weight_drift(base_model, model)


@step(needs=(drift, detector), options=("seed",))
def drift_of_neurons(drift: pd.DataFrame, detector: Detector, *, seed: int) -> pd.DataFrame:
    """Mean drift of the H-neurons beside random others of their layers."""
    return drift_beside_random(drift, detector.neurons, seed=seed)


@step(
    needs=(questions, split),
    content=lambda asked: [(question.domain, question.id) for question in asked],
)
def held_out(questions: list[Question], split: Split) -> list[Question]:
    """The questions of the held-out part: the detector has seen none of them."""
    known = set(zip(split.test.domains, split.test.question_ids, strict=True))
    return [question for question in questions if (question.domain, question.id) in known]


@step(
    # Drift comes first: it refuses a base model of another shape before hours of sampling.
    needs=(drift, held_out, base_line, detector, split, probe),
    options=("evaluation.folds", *DRAWS),
    storage=TABLE,
    verb="trace-origin",
    figure=figures.scores,
)
def origin(
    _drift: pd.DataFrame,
    held_out: list[Question],
    base_line: BaseLine,
    detector: Detector,
    split: Split,
    probe: SparseProbe,
    **draws: int,
) -> pd.DataFrame:
    """The detector on the base model, and how far tuning moved its neurons' weights.

    Raises:
        HlensError: No base model, one of another shape, or answers of one label only.
    """
    return trace_origin(detector, base_line(held_out), own=split.test, probe=probe, **draws)
