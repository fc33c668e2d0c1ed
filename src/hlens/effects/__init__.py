"""Effects: what an edit does to behaviour and what it costs, beside matched random neurons."""

from hlens.effects.attributing import attribution
from hlens.effects.capability import Capability, Score, labels, pick
from hlens.effects.conditions import Condition, Controls
from hlens.effects.intervene import ALPHAS, CAPABILITY, intervene
from hlens.effects.pairs import Pair, differences, pair, pairs, told_apart
from hlens.effects.patching import patched, patching, patching_map, screen
from hlens.effects.slopes import slopes
from hlens.effects.tables import dose_table, flips, pareto, rates, wilson
from hlens.effects.telling import patch_table, patches_in_words, slope_table, slopes_in_words

__all__ = [
    "ALPHAS",
    "CAPABILITY",
    "Capability",
    "Condition",
    "Controls",
    "Pair",
    "Score",
    "attribution",
    "differences",
    "dose_table",
    "flips",
    "intervene",
    "labels",
    "pair",
    "pairs",
    "pareto",
    "patch_table",
    "patched",
    "patches_in_words",
    "patching",
    "patching_map",
    "pick",
    "rates",
    "screen",
    "slope_table",
    "slopes",
    "slopes_in_words",
    "told_apart",
    "wilson",
]
