"""A detector on a sibling of its model: quantised, tuned further, another revision, the base.

The problem: everywhere else hlens refuses a detector on other weights than its own, and rightly.
But a model is quantised before it is served and tuned after it was studied, and one wants to know
whether what was found still reads there.

The idea: the *same answers* (those of the home model, token for token) are read by both models, and
four readings of the held-out ones are compared in pairs: at home, on the sibling as the detector
is, realigned without labels, and found afresh on the sibling. What realigning mends was a matter of
scale; what only finding afresh mends has moved to other neurons, or turned. ::

    other = hlens.load("path/to/sibling")
    there = hlens.measure(other, examples)
    weights = hlens.siblings.compare_weights(model, other, detector.selected)
    found = hlens.siblings.compare_siblings(
        detector, data, there, held_out=test.groups, weights=weights
    )
    found.to_frame(), found.in_words()

`hlens.siblings.realign` alone gives the detector as one of the sibling, to be saved and used with
it. Source of the question: arXiv 2606.15980 (quantisation is mostly harmless to probes, tuning
makes them stale, label-free realignment repairs them).
"""

from hlens.kinds import explain_public
from hlens.siblings.comparing import SiblingComparison as SiblingComparison
from hlens.siblings.comparing import compare_siblings as compare_siblings
from hlens.siblings.drift import neuron_drift as neuron_drift
from hlens.siblings.realignment import realign as realign
from hlens.siblings.relation import check_siblings as check_siblings
from hlens.siblings.relation import check_tokens as check_tokens
from hlens.siblings.relation import compare_weights as compare_weights
from hlens.siblings.texts import examples_of_texts as examples_of_texts

explain_public(globals())
