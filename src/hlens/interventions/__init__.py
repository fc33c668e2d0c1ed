"""Edits on chosen neurons, for ``with model.editing(neurons, edit):``.

An edit is a value of one type, `Edit`, and each function makes one: `scale`, `ablate`, `clamp`,
`steer`, `patch`. Scopes say which tokens it acts on, and `norm_matched` makes its control. `bake`
writes an edit of the scale family into an ordinary checkpoint, `adapter` into a LoRA adapter. A
gate (``when=``) lets an edit act at some tokens of an answer only: `random_gate` is the control of
`hlens.monitor.risk_above`.

    with model.editing(detector.neurons, scale(0.0, scope=GENERATED)):
        model.generate("Who wrote The Trial?")
"""

from hlens.interventions.activations import Activations as Activations
from hlens.interventions.activations import Reference as Reference
from hlens.interventions.activations import capture as capture
from hlens.interventions.activations import capture_reference as capture_reference
from hlens.interventions.bake import Verification as Verification
from hlens.interventions.bake import bake as bake
from hlens.interventions.bake import unbake as unbake
from hlens.interventions.bake import verify as verify
from hlens.interventions.directions import mean_difference as mean_difference
from hlens.interventions.directions import residual_image as residual_image
from hlens.interventions.directions import weight_direction as weight_direction
from hlens.interventions.dose_adapter import AdapterVerification as AdapterVerification
from hlens.interventions.dose_adapter import adapter as adapter
from hlens.interventions.dose_adapter import is_adapter as is_adapter
from hlens.interventions.dose_adapter import load_dose as load_dose
from hlens.interventions.dose_adapter import verify_adapter as verify_adapter
from hlens.interventions.edits import ablate as ablate
from hlens.interventions.edits import clamp as clamp
from hlens.interventions.edits import norm_matched as norm_matched
from hlens.interventions.edits import scale as scale
from hlens.interventions.edits import steer as steer
from hlens.interventions.folding import folded as folded
from hlens.interventions.gates import ALWAYS as ALWAYS
from hlens.interventions.gates import random_gate as random_gate
from hlens.interventions.patches import align as align
from hlens.interventions.patches import patch as patch
from hlens.interventions.scopes import ANSWER as ANSWER
from hlens.interventions.scopes import GENERATED as GENERATED
from hlens.interventions.scopes import PROMPT as PROMPT
from hlens.interventions.scopes import SCOPES as SCOPES
from hlens.interventions.scopes import at_positions as at_positions
from hlens.interventions.scopes import find_scope as find_scope
from hlens.interventions.scopes import first_generated as first_generated
from hlens.kinds import explain_public
from hlens.model import ALL as ALL
from hlens.model import Edit as Edit
from hlens.model import Gate as Gate
from hlens.model import GatedAnswer as GatedAnswer
from hlens.model import Receipt as Receipt
from hlens.model import Scope as Scope
from hlens.model import Site as Site

explain_public(globals())
