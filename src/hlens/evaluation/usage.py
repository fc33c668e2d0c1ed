"""How often the experts of a mixture are used: what its random neurons must have in common.

A neuron of an expert contributes nothing where its expert is not used. As many random neurons of
the same layers would lie in experts that are used on other questions, and lose for that alone.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.types import Contributions, layers_of


def expert_usage(data: Contributions) -> Float[Tensor, "layer expert"]:
    """Share of the examples to which an expert contributes anything.

    What stands beside the experts of a layer (a shared expert, or its whole MLP where it is dense)
    comes last, and is used always. Of a dense model this is one such column.
    """
    experts = layers_of(data.provenance.experts, data.n_layers, data.d_mlp)
    usage = torch.zeros(data.n_layers, 1 + max(n for n, _, _ in experts))
    for layer, (n, width, beside) in enumerate(experts):
        usage[layer, n] = float(beside > 0)
        for expert in range(n):  # one at a time: a layer of a large mixture does not fit in memory
            values = data.values[:, layer, expert * width : (expert + 1) * width]
            usage[layer, expert] = (values != 0).any(dim=1).float().mean()
    return usage


def match_of(data: Contributions) -> dict[str, Any]:
    """How random neurons are matched, as `NeuronSet.random_sets` is told: by layer, and by use."""
    if not data.provenance.experts:
        return {"match": "layer"}
    return {"match": "expert", "usage": expert_usage(data)}
