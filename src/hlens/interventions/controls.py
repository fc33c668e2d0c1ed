"""The control of an edit: as large a push in a random direction."""

import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.model import Columns, Edit, Model, Site
from hlens.types import NeuronSet


def norm_matched(
    model: Model, neurons: NeuronSet, edit: Edit, seed: int, *, backwards: bool = False
) -> tuple[NeuronSet, Edit]:
    """A random perturbation as large, token by token and layer by layer, as the edit itself.

    In every layer with members, the MLP output moves by as much (Euclidean norm in the residual
    stream) as `edit` would have moved it, but along the image of one random direction over all
    neurons of the layer. What the edit does beyond this is more than its size.

    Args:
        model: The model.
        neurons: The neurons of the edit.
        edit: The edit to be matched.
        seed: Seed of the random directions.
        backwards: Push the other way: for doses on the other side of the unmodified one, where
            the edit itself turns round too.

    Returns:
        All neurons of these layers, and the edit that moves them.

    Raises:
        HlensError: No neurons.
    """
    layers = sorted({layer for layer, _ in neurons.members})
    if not layers:
        raise HlensError("a norm-matched perturbation of an empty neuron set; give some neurons")
    whole = NeuronSet(
        frozenset((layer, j) for layer in layers for j in range(model.d_mlp)),
        model.n_layers,
        model.d_mlp,
        model=neurons.model,
        name=f"norm-matched {seed}",
    )
    draw = torch.Generator().manual_seed(seed)
    sign = -1.0 if backwards else 1.0
    chosen: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    for layer in layers:
        rows = model.w_out(layer).float()
        device = rows.device
        members = torch.tensor(neurons.in_layer(layer), device=device)
        direction = torch.randn(model.d_mlp, generator=draw).to(device)
        chosen[layer] = (members, rows[members], sign * direction / (direction @ rows).norm())

    def change(old: Columns, site: Site) -> Columns:
        members, rows, direction = chosen[site.layer]
        before = old.index_select(-1, members)
        after = edit.change(before, Site(site.layer, members, site.batch))
        size = ((after - before).float() @ rows).norm(dim=-1, keepdim=True)
        return old + (size * direction).to(old.dtype)

    name, shape = f"norm-matched {edit.name}", (model.n_layers, model.d_mlp)
    held = (*edit.values, *(tensor for one in chosen.values() for tensor in one))
    return whole, Edit(name, change, edit.scope, shape=shape, values=held)
