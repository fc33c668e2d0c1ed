"""Power before work: a pilot of an intervention, and the plan that it supports."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hlens.behaviours import Behaviour, Outcome
from hlens.effects import CAPABILITY_MEASURES, plan_slopes
from hlens.effects import intervene as run_interventions
from hlens.effects.power import FEWEST
from hlens.model import Model
from hlens.recipe import InterveneRecipe
from hlens.steps.chosen import choose_neurons, chosen
from hlens.steps.detection import Split, detector, split
from hlens.steps.effects import behaviours_of, controls_of, outcomes
from hlens.steps.runner import PARTS, Runner
from hlens.steps.sources import model
from hlens.steps.step import TABLE, step
from hlens.types import Detector

PILOT_OPTIONS = ("behaviours", "second_grader", "alphas", "random_sets", "neurons")


@step(
    needs=(split, detector, model, chosen),
    options=(*(f"intervene.{name}" for name in PILOT_OPTIONS), "plan.items", "seed"),
    storage=TABLE,
    verb="intervene",
)
def pilot(
    split: Split,
    detector: Detector,
    model: Model,
    chosen: str,
    *,
    items: int,
    seed: int,
    parts: Path,
    progress: Callable[[int, int], None],
    **asked: Any,
) -> pd.DataFrame:
    """Ask few questions at the outermost doses, to plan from; the whole run takes their replies.

    The column ``seconds`` is what a reply took, NaN where all were there from before.
    """
    options = InterveneRecipe(**asked)
    alone = replace(controls_of(options, detector, chosen, split, seed), truth=None, norm_matched=0)
    timed = [
        _Timed(one.suite, one.questions, one.second)
        for one in behaviours_of(replace(options, items=items or FEWEST), split, seed)
    ]
    table = run_interventions(
        model,
        choose_neurons(detector, chosen),
        timed,
        alphas=(min(options.alphas), max(options.alphas)),
        controls=alone,
        folder=parts.with_name(f"{outcomes.name}{PARTS}"),
        progress=progress,
    )
    pace = {name: one.pace for one in timed for name in one.suite.measures}
    return table.assign(seconds=table["behaviour"].map(pace.get))


def plan_run(run: Runner, *, slope: float, options: InterveneRecipe) -> pd.DataFrame:
    """Which slopes an intervention would show, how many questions `slope` needs, and the time.

    It is estimated from the outcomes of the study where they are current, else from its pilot.

    Args:
        run: The study.
        slope: As in `hlens.effects.plan_slopes`.
        options: Of the intervention; its neurons, behaviours and graders are those of the study.

    Returns:
        The table of `hlens.effects.plan_slopes`, after columns ``suite``, ``hours`` and
        ``hours_needed``: of all its replies, as many as are asked and as many as `slope` needs (NaN
        where there are not so many). What capability takes is not in it.
    """
    table = _timed_outcomes(run) if run.is_current(outcomes) else run.value(pilot)
    asked, there, suite, parts = {}, {}, {}, run.value(split)
    for one in behaviours_of(options, parts, run.recipe.seed):
        for measure in one.suite.measures:
            asked[measure], suite[measure] = len(one.questions), one.name
    for one in behaviours_of(replace(options, items=0), parts, run.recipe.seed):
        there |= dict.fromkeys(one.suite.measures, len(one.questions))
    n = options.random_sets
    plan = plan_slopes(table, questions=asked, available=there, n_random=n, slope=slope)
    seconds = dict(zip(table["behaviour"], table["seconds"], strict=True))
    hours = plan["behaviour"].map(seconds.get) * _count_runs(run, options) / 3600
    plan.insert(0, "suite", plan["behaviour"].map(suite.get))
    plan.insert(1, "hours", hours * plan["questions"])
    fits = plan["needed"] <= plan["available"]
    plan.insert(2, "hours_needed", (hours * plan["needed"]).where(fits))
    return plan


def _timed_outcomes(run: Runner) -> pd.DataFrame:
    """The outcomes, with what a reply took on the average, costs included."""
    table = run.value(outcomes)
    replies = table.loc[~table["behaviour"].isin(CAPABILITY_MEASURES)]
    once = replies.drop_duplicates(["set", "alpha", "question_id"])
    first = once["set"] == once["set"].iloc[0]
    n = int((first | (once["alpha"] != 1.0)).sum())  # the unmodified model replied once for all
    return table.assign(seconds=run.seconds().get(outcomes.name, float("nan")) / max(1, n))


def _count_runs(run: Runner, options: InterveneRecipe) -> int:
    """How often each question is asked: every set at every dose, and the unmodified model."""
    truth = options.neurons not in ("truth", "both") and len(run.value(detector).truth_neurons) > 0
    n_sets = 1 + options.random_sets + options.matched_sets + options.perturbations + truth
    n_sets += len(run.recipe.selectors.beside)
    return 1 + n_sets * len({*options.alphas} - {1.0})


@dataclass(frozen=True)
class _Timed(Behaviour):
    """A behaviour that notes what its runs took."""

    took: list[float] = field(default_factory=list)

    def run(self, model: Model) -> list[Outcome]:
        start = time.monotonic()
        outcomes = super().run(model)
        self.took.append(time.monotonic() - start)
        return outcomes

    @property
    def pace(self) -> float:
        """Seconds a question."""
        runs = len(self.took)
        return sum(self.took) / runs / len(self.questions) if runs else float("nan")
