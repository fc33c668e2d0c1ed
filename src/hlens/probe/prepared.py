"""A probe made ready for contributions: a copy of it, and the matrix that it is fitted to."""

import torch
from sklearn.base import clone

from hlens.errors import HlensError
from hlens.probe.estimator import SparseProbe
from hlens.probe.ways import probe_of
from hlens.types import Contributions, RoutedMatrix


def prepare_probe(probe: SparseProbe | None, data: Contributions) -> SparseProbe:
    """An unfitted copy of the probe that knows the layers of these contributions."""
    copy = probe_of("hlens") if probe is None else copy_unfitted(probe)
    if copy.scale == "layer" and copy.n_layers is None:
        copy.set_params(n_layers=data.n_layers)
    return copy


def matrix_of(data: Contributions, probe: SparseProbe) -> torch.Tensor | RoutedMatrix:
    """What a probe is fitted to, ``[example, feature]``; of a mixture it is kept by expert."""
    routed = data.provenance.experts and probe.reads_routed
    return data.routed if routed else data.neuron_major.T


def copy_unfitted(probe: SparseProbe) -> SparseProbe:
    """An unfitted copy with the same options."""
    copy = clone(probe)
    if not isinstance(copy, SparseProbe):
        raise HlensError(f"got a {type(probe).__name__}; expected a SparseProbe")
    return copy
