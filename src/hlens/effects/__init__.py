"""Effects: what an edit does to behaviour and what it costs, beside random neurons.

A detector that predicts hallucination only reads; whether its neurons *do* anything is shown by
editing them. Two designs, each beside its control:

- **Dose-response.** `intervene` multiplies activations by each dose α and puts the same questions
  to the model, for the target neurons and for random sets of the same layers. `slopes` says how
  much a behaviour moves per unit of α, and how many random sets move it as much.
- **Patching.** `patching` puts activations of one prompt's run into the run of another and measures
  which share of their difference comes back; `screen` estimates it for every neuron at once.

    outcomes = intervene(model, detector.neurons, [behaviours.load("false_premises")])
    describe_slopes(slopes(outcomes), labels())  # one sentence a behaviour
"""

from hlens.effects.capability import CAPABILITY_MEASURES, CapabilityTest, labels, likeliest_options
from hlens.effects.conditions import ControlSets
from hlens.effects.describe import describe_patches, describe_slopes, patch_table, slope_table
from hlens.effects.intervene import ALPHAS, intervene
from hlens.effects.pairs import Pair, distinguished_pairs, load_pairs, logit_differences, make_pair
from hlens.effects.patching import attribution, patching, patching_map, screen, summarise_patching
from hlens.effects.slopes import slopes
from hlens.effects.tables import dose_table, flips, pareto, rates, wilson

__all__ = [
    "ALPHAS",
    "CAPABILITY_MEASURES",
    "CapabilityTest",
    "ControlSets",
    "Pair",
    "attribution",
    "describe_patches",
    "describe_slopes",
    "distinguished_pairs",
    "dose_table",
    "flips",
    "intervene",
    "labels",
    "likeliest_options",
    "load_pairs",
    "logit_differences",
    "make_pair",
    "pareto",
    "patch_table",
    "patching",
    "patching_map",
    "rates",
    "screen",
    "slope_table",
    "slopes",
    "summarise_patching",
    "wilson",
]
