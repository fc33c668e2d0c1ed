"""Edits only while the risk is high, on questions that the study did not ask.

Nothing is chosen on them: the neurons are of the training part, the thresholds of answers held out.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hlens import domains, judges
from hlens.effects import CapabilityTest, try_gates
from hlens.errors import HlensError
from hlens.evaluation import find_thresholds
from hlens.model import Gate, Model
from hlens.monitor import prompt_risk_above, risk_above, threshold_of
from hlens.monitor.before import REGION
from hlens.probe import SparseProbe, find
from hlens.recipe import GatesRecipe, MeasureRecipe, SamplingRecipe, key_of
from hlens.steps.answers import examples, prompt_of, settings_of, worked
from hlens.steps.chosen import choose_neurons, chosen
from hlens.steps.detection import DETECTOR, Split, detector, measure_examples, probe, split
from hlens.steps.effects import ITEMS
from hlens.steps.levels import live_detector
from hlens.steps.runner import Runner
from hlens.steps.sources import ASKED_BY, asked, judge_of, model
from hlens.steps.step import TABLE, Source, step
from hlens.types import Detector, Example, Question
from hlens.types.labels import GateKind

log = logging.getLogger("hlens")


def _load_fresh(run: Runner) -> list[Question]:
    """Questions of the study's domains whose groups it did not ask."""
    recipe = run.recipe
    if recipe.labelled.is_given or run.given.questions is not None:
        raise HlensError(
            "gates are tried on questions that a study did not ask; this one was given its "
            "answers or questions: run a study of domains"
        )
    known = {question.group for question in run.value(asked)}
    each = -(-recipe.gates.questions // len(recipe.domains))
    fresh = []
    for name in recipe.domains:
        others = [one for one in domains.load(name) if one.group not in known]
        fresh += domains.draw_groups(others, each, seed=recipe.seed) if others else []
    if not fresh:
        raise HlensError(
            f"the study asked all questions of {', '.join(recipe.domains)}; gates are tried on "
            "others: set questions = N, fewer than there are"
        )
    return fresh


fresh_questions: Source[list[Question]] = Source(
    "fresh questions", _load_fresh, (*ASKED_BY, "gates.questions")
)


@step(
    needs=(examples, split, probe, model),
    options=("measure", "probe.calibration"),
    storage=DETECTOR,
    verb="intervene",
)
def prompt_detector(
    examples: list[Example],
    split: Split,
    probe: SparseProbe,
    model: Model,
    *,
    measure: MeasureRecipe,
    calibration: str,
    parts: Path,
    progress: Callable[[int, int], None],
) -> Detector:
    """Find a detector where the prompt ends; its thresholds are of the answers held out."""
    options = replace(measure, region=REGION, position="read", reduce="mean", compat="")
    values = measure_examples(model, examples, options, parts, progress)
    held_out = {*split.test.groups}
    train = [i for i, group in enumerate(values.groups) if group not in held_out]
    test = values.select([i for i, group in enumerate(values.groups) if group in held_out])
    method: Any = None if calibration == "none" else calibration
    found = find(values.select(train), probe, calibration=method)
    labels = test.labels.tolist()
    thresholds = find_thresholds(found(test).tolist(), labels, groups=test.groups)
    return replace(found, thresholds=tuple(thresholds))


@step(
    needs=(detector, live_detector, prompt_detector, model, worked, chosen, fresh_questions),
    options=(
        "gates",
        "sampling",
        "labels.judge",
        "intervene.items",
        "intervene.capability",
        "seed",
    ),
    storage=TABLE,
    verb="intervene",
    keeps_parts=True,  # a further dose costs only itself
)
def gated(
    detector: Detector,
    live_detector: Detector,
    prompt_detector: Detector,
    model: Model,
    worked: list[Question],
    chosen: str,
    fresh_questions: list[Question],
    *,
    gates: GatesRecipe,
    sampling: SamplingRecipe,
    judge: str,
    items: int,
    capability: bool,
    seed: int,
    parts: Path,
    progress: Callable[[int, int], None],
) -> pd.DataFrame:
    """Edit only while the risk is high, beside always, at random, and where the prompt ends."""
    model.need_modules("what a gate asks at each token")
    limit = threshold_of(live_detector, gates.false_alarms).score
    kinds = {GateKind.RISK: risk_above(live_detector, limit)}
    if (gate := _prompt_gate(prompt_detector, gates.false_alarms)) is not None:
        kinds[GateKind.PROMPT_END] = gate
    return try_gates(
        model,
        choose_neurons(detector, chosen),
        [(one, prompt_of(one, model, worked, sampling)) for one in fresh_questions],
        judge=lambda responses: judges.judge(responses, judge_of(judge)),
        settings=replace(settings_of(sampling), temperature=0.0),
        gates=kinds,
        alphas=gates.alphas,
        draws=gates.random_gates,
        seed=seed,
        capability=CapabilityTest(model, n_choice=items or ITEMS, stepwise=True)
        if capability
        else None,
        folder=parts / key_of([judge]),
        progress=progress,
    )


def _prompt_gate(detector: Detector, false_alarms: float) -> Gate | None:
    """The gate of a prompt's end; None, with a word in the log, where there is no detector."""
    if not len(detector.selected):
        log.warning("no neuron tells at the prompt's end what will be wrong; its gate is left out")
        return None
    return prompt_risk_above(detector, threshold_of(detector, false_alarms).score)
