"""Activation probe: the sparse probe on raw activations instead of contributions.

The mean absolute activation of each neuron over the answer span, without the norm of its output
weights and without the size of the MLP's output: what CETT (arXiv 2512.01797) adds is measured by
what this lacks. L1 logistic regression as `hlens.find` fits it (each neuron scaled, C by group
inside the training part). One forward pass. It misleads about single neurons: L1 picks one of
several that carry the same signal.
"""

import torch
from torch import Tensor

from hlens.baselines._learning import fit_probe
from hlens.baselines._rival import Rival
from hlens.probe.ways import probe_of
from hlens.types import Evidence


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    assert train.activations is not None
    assert test.activations is not None
    probe = probe_of("hlens", random_state=seed)
    fit_probe(probe, train, train.activations.neuron_major.T)
    return torch.from_numpy(probe.decision_function(test.activations.neuron_major.T)).float()


rival = Rival(
    "activation_probe",
    frozenset({"activations"}),
    _score,
    learns=True,
    says="a few raw activations (L1)",
)
