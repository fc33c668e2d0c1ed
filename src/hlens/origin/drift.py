"""How far instruction tuning moved each neuron's weights.

A neuron has up to three weight vectors: it reads with gate and up, and writes with out. The drift
of a vector is the angle that tuning turned it by, as 1 - cos, which its length does not enter.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.model import Model, rows_of
from hlens.types import NeuronSet


def weight_drift(base: Model, tuned: Model) -> pd.DataFrame:
    """Drift of every neuron from a base model to the model tuned from it.

    For each of a neuron's weight vectors the drift is 1 - cos(base, tuned); it is z-scored over
    all neurons of the model, and averaged over the vectors (arXiv 2512.01797 takes up and out;
    the gate is taken too where there is one).

    Returns:
        One row a neuron, by (layer, neuron): ``layer, neuron``, the drift of each vector
        (``gate, up, out``), ``z``, ``z_layer`` (z less its layer's mean, over its layer's
        standard deviation) and ``rank`` (share of neurons that moved more; higher is less
        changed, as in the paper).

    Raises:
        HlensError: The models have different shapes, or one is the other.
    """
    _check_pair(base, tuned)
    for model in (base, tuned):
        model.need_modules("weights other than W_out")
    layers = []
    for layer in range(base.n_layers):
        before, after = neuron_weights(base, layer), neuron_weights(tuned, layer)
        if before.keys() != after.keys():
            raise HlensError(
                f"layer {layer}: {base.name} has {sorted(before)}, {tuned.name} {sorted(after)}; "
                "a pair must share its architecture"
            )
        layers.append({name: _cosine_distance(before[name], after[name]) for name in before})
    drift = {name: np.stack([layer[name] for layer in layers]) for name in layers[0]}
    z = np.mean([_standardise(values, None) for values in drift.values()], axis=0)
    moved_more = (-z).ravel().argsort(kind="stable").argsort(kind="stable") / max(z.size - 1, 1)
    layer, neuron = np.divmod(np.arange(z.size), base.d_mlp)
    columns = {name: values.ravel() for name, values in drift.items()}
    columns |= {"z": z.ravel(), "z_layer": _standardise(z, 1).ravel(), "rank": moved_more}
    return pd.DataFrame({"layer": layer, "neuron": neuron, **columns})


def drift_beside_random(
    drift: pd.DataFrame, neurons: NeuronSet, *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Mean drift of some neurons, beside as many random ones of the same layers.

    Tuning moves some layers more than others, so a set in such a layer looks moved (or spared)
    without being special: the null draws other neurons of the same layers.

    `drift` is from `weight_drift`; `draws` is the number of random sets.

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
            "neuron, and the drift of their own model"
        )
    flat = np.array([layer * neurons.d_mlp + neuron for layer, neuron in neurons])
    drawn = _draw_by_layer(neurons, draws, seed)
    rows = []
    for measure in ("z", "rank"):
        values = drift[measure].to_numpy()
        own, null = values[flat].mean(), values[drawn].mean(axis=1)
        low, high = np.quantile(null, [0.025, 0.975])
        centre = null.mean()
        # Draws that equal the set's own mean count, whatever rounding makes of them.
        beyond = int((np.abs(null - centre) >= abs(own - centre) - 1e-12).sum())
        row = {"measure": measure, "value": own, "expected": centre, "low": low, "high": high}
        rows.append(row | {"p": (1 + beyond) / (1 + draws), "n": len(flat)})
    return pd.DataFrame(rows)


def neuron_weights(model: Model, layer: int) -> dict[str, Float[Tensor, "neuron d_model"]]:
    """Rows of one layer's MLP, one a neuron: ``gate`` (where the MLP has one), ``up``, ``out``.

    Views of the weights; `HlensError` where beside the down projection there is not one up and at
    most one gate.
    """
    if model.experts:
        raise HlensError(
            f"{model.name} is a mixture of experts, whose gate and up rows are not read; compare "
            "dense models"
        )
    down = model.down_projections[layer]
    shape = (model.d_mlp, model.d_model)
    mlp = next(one for one in model.hf.modules() if any(x is down for x in one.children()))
    siblings = {
        name: _weight_rows(child)
        for name, child in mlp.named_children()
        if child is not down and getattr(child, "weight", None) is not None
    }
    fused = [rows for rows in siblings.values() if tuple(rows.shape) == (2 * shape[0], shape[1])]
    if len(fused) == 1:  # Phi-3 keeps both in one matrix, the gate first
        gate, up = fused[0].split(shape[0])
        return {"gate": gate, "up": up, "out": model.w_out(layer)}
    plain = {name: rows for name, rows in siblings.items() if tuple(rows.shape) == shape}
    gates = [name for name in plain if "gate" in name]
    ups = [name for name in plain if "gate" not in name]
    if len(ups) != 1 or len(gates) > 1:
        raise HlensError(
            f"layer {layer} of {model.name}: expected one up projection, and perhaps one gate, of "
            f"{shape[0]} neurons x {shape[1]} beside the down projection; found {sorted(plain)}"
        )
    gate = {"gate": plain[gates[0]]} if gates else {}
    return gate | {"up": plain[ups[0]], "out": model.w_out(layer)}


def _check_pair(base: Model, tuned: Model) -> None:
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


def _cosine_distance(before: Tensor, after: Tensor) -> np.ndarray:
    """1 - cos of each pair of rows; 1 where a row is zero in one model only, 0 in both."""
    one, two = before.cpu().double(), after.cpu().double()
    norms = torch.linalg.vector_norm(one, dim=1), torch.linalg.vector_norm(two, dim=1)
    # Half the squared chord of unit vectors is 1 - cos, and keeps its digits where the angle is
    # tiny and 1 - cos would cancel.
    chord = one / norms[0].clamp_min(1e-300)[:, None] - two / norms[1].clamp_min(1e-300)[:, None]
    distance = chord.square().sum(dim=1) / 2
    with_zeros = torch.where((norms[0] == 0) & (norms[1] == 0), 0.0, 1.0)
    return torch.where(norms[0] * norms[1] > 0, distance, with_zeros.double()).numpy()


def _standardise(values: np.ndarray, axis: int | None) -> np.ndarray:
    keep = axis is not None
    centre, spread = values.mean(axis, keepdims=keep), values.std(axis, keepdims=keep)
    return (values - centre) / np.where(spread > 0, spread, 1.0)


def _draw_by_layer(neurons: NeuronSet, draws: int, seed: int) -> np.ndarray:
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
        if count:
            chosen = [draw.choice(free, count, replace=False) for _ in range(draws)]
            picked.append(layer * neurons.d_mlp + np.stack(chosen))
    return np.concatenate(picked, axis=1)


def _weight_rows(module: Any) -> Tensor:
    """A projection with one row for each of its outputs."""
    return rows_of(module).T
