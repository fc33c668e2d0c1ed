"""Where H-neurons come from: were they informative before instruction tuning, and did it move them?

`trace_origin` scores the base model's own answers with the detector of the tuned model: if the
neurons tell hallucinations there too, tuning did not make them. `weight_drift` measures how far
tuning turned each neuron's weights, and `drift_beside_random` whether the H-neurons moved more or
less than others of their layers.
"""

from hlens.kinds import explain_public
from hlens.origin.drift import drift_beside_random as drift_beside_random
from hlens.origin.drift import weight_drift as weight_drift
from hlens.origin.tracing import trace_origin as trace_origin

explain_public(globals())
