"""Which layers do it: the neurons edited by the layer, and cumulatively."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hlens.effects import intervene as run_interventions
from hlens.model import Model
from hlens.recipe import InterveneRecipe
from hlens.steps.chosen import choose_neurons, chosen
from hlens.steps.detection import Split, detector, split
from hlens.steps.effects import behaviours_of, controls_of, outcomes
from hlens.steps.planning import PILOT_OPTIONS
from hlens.steps.runner import PARTS
from hlens.steps.sources import model
from hlens.steps.step import TABLE, step
from hlens.types import Detector


@step(
    needs=(split, detector, model, chosen),
    options=(
        *(f"intervene.{name}" for name in (*PILOT_OPTIONS, "items")),
        "layers.edits",
        "seed",
    ),
    later=("pilot=plan.items",),
    storage=TABLE,
    verb="intervene",
)
def by_layer(
    split: Split,
    detector: Detector,
    model: Model,
    chosen: str,
    *,
    edits: str,
    seed: int,
    pilot: int,
    parts: Path,
    progress: Callable[[int, int], None],
    **asked: Any,
) -> pd.DataFrame:
    """Edit the neurons of each layer alone, and of all layers up to each, at the outermost doses.

    Beside them stand all neurons, random sets as large as all, and the truth neurons: what
    `hlens.steps.effects.outcomes` has run of these is not run again.
    """
    options = InterveneRecipe(**asked)
    controls = replace(
        controls_of(options, detector, chosen, split, seed), layers=edits, norm_matched=0
    )
    return run_interventions(
        model,
        choose_neurons(detector, chosen),
        behaviours_of(options, split, seed, pilot),
        alphas=(min(options.alphas), max(options.alphas)),
        controls=controls,
        folder=parts.with_name(f"{outcomes.name}{PARTS}"),
        progress=progress,
    )
