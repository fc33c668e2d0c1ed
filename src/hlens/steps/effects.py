"""What a study's neurons do to the model: doses beside their controls, and patches."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hlens import behaviours, selectors
from hlens.behaviours import Behaviour
from hlens.display import display_name
from hlens.effects import (
    CAPABILITY_MEASURES,
    CapabilityTest,
    ControlSets,
    distinguished_pairs,
    load_pairs,
)
from hlens.effects import intervene as run_interventions
from hlens.effects import patching as apply_patching
from hlens.effects import patching_map as apply_patching_map
from hlens.errors import HlensError
from hlens.evaluation.usage import match_of
from hlens.model import Model
from hlens.recipe import InterveneRecipe
from hlens.steps.chosen import choose_neurons, chosen
from hlens.steps.detection import Split, detector, split
from hlens.steps.sources import model
from hlens.steps.step import TABLE, Storage, step
from hlens.types import Detector, NeuronSet

ITEMS = 60  # of multiple choice, where the recipe takes all questions of each behaviour


def _with_graders(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Outcomes of a study made before there were second graders: the rules graded all of them."""
    if "grader" in outcomes:
        return outcomes
    names = outcomes["behaviour"]
    graders = ["" if name in CAPABILITY_MEASURES else behaviours.RULES for name in names]
    return outcomes.assign(grader=graders)


def controls_of(
    options: InterveneRecipe, detector: Detector, chosen: str, split: Split, seed: int
) -> ControlSets:
    """The sets that a recipe edits beside its neurons."""
    return ControlSets(
        random=options.random_sets,
        matched=options.matched_sets,
        contribution=split.train.size() if options.matched_sets else None,
        usage=match_of(split.train).get("usage"),
        truth=None if chosen in ("truth", "both") else detector.truth_neurons,
        norm_matched=options.perturbations,
        seed=seed,
    )


def of_selectors(names: Sequence[str], detector: Detector, split: Split) -> tuple[NeuronSet, ...]:
    """As many neurons as the detector selected, by each selector; of these the H-neurons."""
    k, sets = len(detector.selected), []
    for name in names:
        found = selectors.probe(name, k).find_in(split.train)
        sets.append(replace(found.neurons, name=display_name("selectors", name), weights=None))
    return tuple(sets)


def behaviours_of(
    options: InterveneRecipe, split: Split, seed: int, pilot: int = 0
) -> list[Behaviour]:
    """The behaviours of a run: where a pilot asked some questions, its part and the rest.

    Facts that the neurons were chosen on are left out: an effect on these would prove little.
    """

    def load(name: str, n: int | None) -> Behaviour:
        second, without = options.second_grader, split.train.groups
        return behaviours.load(name, n, seed, second=second, without=without)

    parts: list[Behaviour] = []
    for name in options.behaviours:
        whole = load(name, options.items or None)
        first = load(name, pilot).questions if pilot else ()
        rest = tuple(question for question in whole.questions if question not in first)
        if first and rest and len(first) < len(whole.questions):
            parts.append(replace(whole, questions=first))
            whole = replace(whole, questions=rest)
        parts.append(whole)
    return parts


@step(
    needs=(split, detector, model, chosen),
    options=("intervene", "seed"),
    later=("pilot=plan.items", "selectors.beside"),
    storage=Storage(TABLE.suffix, TABLE.save, lambda stem: _with_graders(TABLE.load(stem))),
    verb="intervene",
    keeps_parts=True,  # a further dose, set or behaviour costs only itself
)
def outcomes(
    split: Split,
    detector: Detector,
    model: Model,
    chosen: str,
    *,
    intervene: InterveneRecipe,
    seed: int,
    pilot: int,
    beside: tuple[str, ...],
    parts: Path,
    progress: Callable[[int, int], None],
) -> pd.DataFrame:
    """Scale the H-neurons and see what the model does, beside random neurons.

    The recipe's `intervene.neurons` may choose others.
    """
    options = intervene
    controls = controls_of(options, detector, chosen, split, seed)
    return run_interventions(
        model,
        choose_neurons(detector, chosen),
        behaviours_of(options, split, seed, pilot),
        alphas=options.alphas,
        controls=replace(controls, others=of_selectors(beside, detector, split)),
        capability=CapabilityTest(model, n_choice=options.items or ITEMS)
        if options.capability
        else None,
        folder=parts,
        progress=progress,
    )


@step(needs=(detector, model), options=("seed",), storage=TABLE, verb="patch")
def patching(
    detector: Detector, model: Model, *, seed: int, progress: Callable[[int, int], None]
) -> pd.DataFrame:
    """Patch the H-neurons between pairs of prompts: what do they carry?

    Raises:
        HlensError: The model distinguishes no pair.
    """
    distinguished = distinguished_pairs(model, load_pairs(model))
    tables: list[pd.DataFrame] = []
    for number, pair in enumerate(distinguished):
        tables.append(apply_patching(model, [pair], detector.neurons, seed=seed))
        progress(number + 1, len(distinguished))
    if not tables:
        raise HlensError(
            f"{model.name} distinguishes none of the pairs, so there is nothing to patch; give "
            "pairs of your own to hlens.effects.patching"
        )
    return pd.concat(tables, ignore_index=True)


@step(needs=(patching, detector, model), options=("seed",), storage=TABLE, verb="patch")
def patching_map(
    patching: pd.DataFrame, detector: Detector, model: Model, *, seed: int
) -> pd.DataFrame:
    """Patching layer by token, on the pair that the model distinguishes best."""
    best = patching.loc[(patching["clean"] - patching["corrupted"]).idxmax(), "pair"]
    (pair,) = [pair for pair in load_pairs(model) if pair.id == best]
    return apply_patching_map(model, pair, detector.neurons, seed=seed)
