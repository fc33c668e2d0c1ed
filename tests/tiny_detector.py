"""A detector of four neurons with weights of one's own, for models of three layers or more."""

import torch

from hlens.model import Model
from hlens.types import Detector

MEMBERS = {(0, 3): 2.0, (0, 50): -1.5, (2, 7): 3.0, (2, 8): -0.5}


def detector_of(model: Model, metric: str = "signed_cett", region: str = "answer") -> Detector:
    weights = torch.zeros(model.n_layers, model.d_mlp)
    for (layer, neuron), weight in MEMBERS.items():
        weights[layer, neuron] = weight
    return Detector(weights, -0.3, metric, region, provenance=model.provenance)
