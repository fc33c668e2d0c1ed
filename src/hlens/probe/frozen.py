"""Fitted weights, frozen as a detector of the contributions that they were fitted to."""

from typing import Any

import numpy as np
import torch

from hlens.types import Contributions, Detector

MOST = 10_000  # neurons; a dense probe takes more, and nobody edits them one by one


def freeze_weights(
    data: Contributions, weights: np.ndarray, bias: float, **further: Any
) -> Detector:
    """The detector of a weight for each neuron, flat; `further` fields are those of `Detector`.

    It keeps mean and spread of what its neurons contributed, unless they are too many.
    """
    flat = torch.from_numpy(np.asarray(weights, dtype=np.float32).reshape(-1))
    chosen = flat.nonzero().flatten()
    if len(chosen) <= MOST:
        mean, spread = data.moments(chosen)
        further |= {"means": tuple(mean.tolist()), "spreads": tuple(spread.tolist())}
    return Detector(
        weights=flat.reshape(data.n_layers, data.d_mlp),
        bias=bias,
        metric=data.metric,
        region=data.region,
        domains=tuple(sorted(set(data.domains))),
        provenance=data.provenance,
        **further,
    )
