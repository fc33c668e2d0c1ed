"""Edits on chosen neurons, for ``with model.editing(neurons, edit):``.

An edit is a value of one type, `Edit`, and each function makes one: `scale`, `ablate`, `clamp`,
`steer`, `patch`. Scopes say which tokens it acts on, `norm_matched` makes its control, and `bake`
writes an edit of the scale family into an ordinary checkpoint.

    with model.editing(detector.neurons, scale(0.0, scope=GENERATED)):
        model.generate("Who wrote The Trial?")
"""

from hlens.interventions.activations import Activations, Reference, capture, capture_reference
from hlens.interventions.bake import Verification, bake, unbake, verify
from hlens.interventions.directions import mean_difference, residual_image, weight_direction
from hlens.interventions.edits import ablate, clamp, norm_matched, scale, steer
from hlens.interventions.folding import folded
from hlens.interventions.patches import align, patch
from hlens.interventions.scopes import (
    ANSWER,
    GENERATED,
    PROMPT,
    SCOPES,
    at_positions,
    find_scope,
    first_generated,
)
from hlens.model import ALL, Edit, Receipt, Scope, Site

__all__ = [
    "ALL",
    "ANSWER",
    "GENERATED",
    "PROMPT",
    "SCOPES",
    "Activations",
    "Edit",
    "Receipt",
    "Reference",
    "Scope",
    "Site",
    "Verification",
    "ablate",
    "align",
    "at_positions",
    "bake",
    "capture",
    "capture_reference",
    "clamp",
    "find_scope",
    "first_generated",
    "folded",
    "mean_difference",
    "norm_matched",
    "patch",
    "residual_image",
    "scale",
    "steer",
    "unbake",
    "verify",
    "weight_direction",
]
