"""Effects: what an edit does to behaviour and what it costs, beside random neurons.

A detector that predicts hallucination only reads; whether its neurons *do* anything is shown by
editing them. Two designs, each beside its control:

- **Dose-response.** `intervene` multiplies activations by each dose α and puts the same questions
  to the model, for the target neurons and for random sets of the same layers. `slopes` says how
  much a behaviour moves per unit of α, and how many random sets move it as much; `plan_slopes`
  says from a pilot which slope a run would show.
- **Patching.** `patching` puts activations of one prompt's run into the run of another and measures
  which share of their difference comes back; `screen` estimates it for every neuron at once.

    outcomes = intervene(model, detector.neurons, [behaviours.load("false_premises")])
    describe_slopes(slopes(outcomes), labels())  # one sentence a behaviour
"""

from hlens.effects.answers import compare_answers as compare_answers
from hlens.effects.answers import describe_answers as describe_answers
from hlens.effects.by_layer import describe_layers as describe_layers
from hlens.effects.by_layer import layer_slopes as layer_slopes
from hlens.effects.capability import CAPABILITY_MEASURES as CAPABILITY_MEASURES
from hlens.effects.capability import CapabilityTest as CapabilityTest
from hlens.effects.capability import labels as labels
from hlens.effects.capability import likeliest_options as likeliest_options
from hlens.effects.conditions import ControlSets as ControlSets
from hlens.effects.describe import describe_patches as describe_patches
from hlens.effects.describe import describe_slopes as describe_slopes
from hlens.effects.describe import patch_table as patch_table
from hlens.effects.describe import slope_table as slope_table
from hlens.effects.gate_tables import describe_gates as describe_gates
from hlens.effects.gate_tables import gate_table as gate_table
from hlens.effects.gate_tables import shown_gates as shown_gates
from hlens.effects.gated import try_gates as try_gates
from hlens.effects.intervene import ALPHAS as ALPHAS
from hlens.effects.intervene import intervene as intervene
from hlens.effects.pairs import Pair as Pair
from hlens.effects.pairs import distinguished_pairs as distinguished_pairs
from hlens.effects.pairs import load_pairs as load_pairs
from hlens.effects.pairs import logit_differences as logit_differences
from hlens.effects.pairs import make_pair as make_pair
from hlens.effects.patching import attribution as attribution
from hlens.effects.patching import patching as patching
from hlens.effects.patching import patching_map as patching_map
from hlens.effects.patching import screen as screen
from hlens.effects.patching import summarise_patching as summarise_patching
from hlens.effects.plan import describe_plan as describe_plan
from hlens.effects.plan import plan_slopes as plan_slopes
from hlens.effects.plan import plan_table as plan_table
from hlens.effects.slopes import slopes as slopes
from hlens.effects.tables import dose_table as dose_table
from hlens.effects.tables import flips as flips
from hlens.effects.tables import pareto as pareto
from hlens.effects.tables import rates as rates
from hlens.effects.tables import wilson as wilson
from hlens.kinds import explain_public

explain_public(globals())
