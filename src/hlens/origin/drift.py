"""How far instruction tuning moved each neuron's weights."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.model import Model
from hlens.origin.weights import neuron_weights
from hlens.types import NeuronSet


def weight_drift(base: Model, tuned: Model) -> pd.DataFrame:
    """Drift of every neuron from a base model to the model tuned from it.

    For each of a neuron's weight vectors the drift is 1 - cos(base, tuned); it is z-scored over
    all neurons of the model, and averaged over the vectors (arXiv 2512.01797 takes up and out;
    the gate is taken too where there is one).

    Args:
        base: The base model.
        tuned: The model that the detector was found on.

    Returns:
        One row a neuron, by (layer, neuron): ``layer, neuron``, the drift of each vector
        (``gate, up, out``), ``z``, ``z_layer`` (z less its layer's mean, over its layer's
        standard deviation) and ``rank`` (share of neurons that moved more; higher is less
        changed, as in the paper).

    Raises:
        HlensError: The models have different shapes, or one is the other.
    """
    check_pair(base, tuned)
    layers = []
    for layer in range(base.n_layers):
        before, after = neuron_weights(base, layer), neuron_weights(tuned, layer)
        if before.keys() != after.keys():
            raise HlensError(
                f"layer {layer}: {base.name} has {sorted(before)}, {tuned.name} {sorted(after)}; "
                "a pair must share its architecture"
            )
        layers.append({name: _turned(before[name], after[name]) for name in before})
    drift = {name: np.stack([one[name] for one in layers]) for name in layers[0]}
    z = np.mean([_standardised(values, None) for values in drift.values()], axis=0)
    moved_more = (-z).ravel().argsort(kind="stable").argsort(kind="stable") / max(z.size - 1, 1)
    layer, neuron = np.divmod(np.arange(z.size), base.d_mlp)
    columns = {name: values.ravel() for name, values in drift.items()}
    columns |= {"z": z.ravel(), "z_layer": _standardised(z, 1).ravel(), "rank": moved_more}
    return pd.DataFrame({"layer": layer, "neuron": neuron, **columns})


def drift_of(
    drift: pd.DataFrame, neurons: NeuronSet, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Mean drift of some neurons, beside as many random ones of the same layers.

    Tuning moves some layers more than others, so a set that lies in them looks moved (or spared)
    without being special; the null draws other neurons of the same layers.

    Args:
        drift: What `weight_drift` returned.
        neurons: The neurons, such as a detector's.
        draws: Number of random sets.
        seed: Seed of the draws.

    Returns:
        One row for ``z`` and one for ``rank``: ``measure, value, expected, low, high, p, n``.
        ``low`` and ``high`` span the central 95 % of the random sets, ``p`` is two-sided.

    Raises:
        HlensError: No neurons, neurons of another model, or too few others in a layer.
    """
    size = neurons.n_layers * neurons.d_mlp
    if len(drift) != size or len(neurons) == 0:
        raise HlensError(
            f"{len(neurons)} neurons of {size}, drift of {len(drift)}; expected at least one "
            "neuron, and the drift of the model that they are of"
        )
    flat = np.array(neurons.flat_indices)
    drawn = _layer_matched(neurons, draws, seed)
    rows = []
    for measure in ("z", "rank"):
        values = drift[measure].to_numpy()
        own, null = values[flat].mean(), values[drawn].mean(axis=1)
        low, high = np.quantile(null, [0.025, 0.975])
        centre = null.mean()
        beyond = int((np.abs(null - centre) >= abs(own - centre) - 1e-12).sum())
        row = {"measure": measure, "value": own, "expected": centre, "low": low, "high": high}
        rows.append(row | {"p": (1 + beyond) / (1 + draws), "n": len(flat)})
    return pd.DataFrame(rows)


def check_pair(base: Model, tuned: Model) -> None:
    """Raise `HlensError` unless both models have the same shape and are two."""
    shapes = [(m.n_layers, m.d_mlp, m.d_model) for m in (base, tuned)]
    if shapes[0] != shapes[1]:
        raise HlensError(
            f"{base.name} has {shapes[0]} layers x neurons x d_model, {tuned.name} {shapes[1]}; "
            "origin needs a base model of the same shape"
        )
    if base.fingerprint == tuned.fingerprint:
        raise HlensError(
            f"{base.name} and {tuned.name} have the same weights; give the base model that the "
            "other was tuned from"
        )


def _turned(before: Tensor, after: Tensor) -> np.ndarray:
    """1 - cos of each pair of rows; 1 where a row is zero in one model only, 0 in both."""
    one, two = before.double().cpu(), after.double().cpu()
    norms = torch.linalg.vector_norm(one, dim=1), torch.linalg.vector_norm(two, dim=1)
    product = norms[0] * norms[1]
    # The chord keeps its digits where the angle is tiny and 1 - cos would cancel.
    apart = one / norms[0].clamp_min(1e-300)[:, None] - two / norms[1].clamp_min(1e-300)[:, None]
    turned = apart.square().sum(dim=1) / 2
    alone = torch.where((norms[0] == 0) & (norms[1] == 0), 0.0, 1.0)
    return torch.where(product > 0, turned, alone.double()).numpy()


def _standardised(values: np.ndarray, axis: int | None) -> np.ndarray:
    keep = axis is not None
    centre, spread = values.mean(axis, keepdims=keep), values.std(axis, keepdims=keep)
    return (values - centre) / np.where(spread > 0, spread, 1.0)


def _layer_matched(neurons: NeuronSet, draws: int, seed: int) -> np.ndarray:
    """Flat indices of random other neurons, as many in each layer, one row a draw."""
    draw = np.random.default_rng(seed)
    picked = []
    for layer, count in enumerate(neurons.per_layer()):
        free = np.setdiff1d(np.arange(neurons.d_mlp), neurons.in_layer(layer))
        if len(free) < count:
            raise HlensError(
                f"layer {layer} has {len(free)} other neurons for {count} of the set; "
                "use a smaller set"
            )
        chosen = [draw.choice(free, count, replace=False) for _ in range(draws)] if count else []
        picked += [layer * neurons.d_mlp + np.stack(chosen)] if chosen else []
    return np.concatenate(picked, axis=1)
