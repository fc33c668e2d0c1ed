"""Activations of other runs: references for ablation, sources for patching."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from hlens.errors import HlensError
from hlens.model import MlpActs, Model, Site, check_neurons
from hlens.types import NeuronSet


@dataclass(frozen=True, eq=False)
class Reference:
    """Activations of some neurons on some tokens; of each layer, one column a member, ascending."""

    neurons: NeuronSet
    layers: dict[int, Float[Tensor, "sample neuron"]]

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and neurons of the model."""
        return self.neurons.n_layers, self.neurons.d_mlp

    def columns(self, site: Site) -> Float[Tensor, "sample neuron"]:
        """The activations of the neurons of a site.

        Raises:
            HlensError: The reference lacks one of them.
        """
        return self.columns_of(site.layer, site.neurons)

    def columns_of(
        self, layer: int, neurons: Int[Tensor, " neuron"]
    ) -> Float[Tensor, "sample neuron"]:
        """The activations of some neurons of a layer; raises as `columns`."""
        column = {neuron: i for i, neuron in enumerate(self.neurons.in_layer(layer))}
        wanted = neurons.tolist()
        missing = [neuron for neuron in wanted if neuron not in column]
        if missing:
            address = self.neurons.address((layer, missing[0]))
            raise HlensError(
                f"the reference holds no activations of {address}; "
                "capture it for all neurons that are edited"
            )
        return self.layers[layer][:, [column[neuron] for neuron in wanted]]

    def mean(self, site: Site) -> Float[Tensor, " neuron"]:
        """Mean activation of each neuron of a site."""
        return self.columns(site).float().mean(dim=0)


@dataclass(frozen=True, eq=False)
class Activations:
    """All neurons on all tokens of one prompt (inputs of the down projections), to patch from."""

    values: Float[Tensor, "layer pos neuron"]
    token_ids: tuple[int, ...]


def capture(model: Model, token_ids: Sequence[int]) -> Activations:
    """Run the model on one prompt and keep every neuron's activation."""
    acts = record(model, token_ids)
    # Zeros where a mixture's layer has fewer neurons than its widest.
    wide = [pad(acts[layer], (0, model.d_mlp - acts[layer].shape[1])) for layer in sorted(acts)]
    return Activations(torch.stack([one.to(wide[0].device) for one in wide]), tuple(token_ids))


def capture_reference(
    model: Model, prompts: Sequence[Sequence[int]], neurons: NeuronSet, *, start: int = 0
) -> Reference:
    """Activations of `neurons` on all tokens of some prompts, from token `start` of each.

    Raises:
        HlensError: Neurons of another model, or no prompt has a token from `start` on.
    """
    check_neurons(model, neurons)
    wanted = {layer: neurons.in_layer(layer) for layer, _ in sorted(neurons.members)}
    kept: dict[int, list[Tensor]] = {layer: [] for layer in wanted}
    for token_ids in prompts:
        if len(token_ids) <= start:
            continue
        acts = record(model, token_ids)
        for layer, columns in wanted.items():
            kept[layer].append(acts[layer][start:, columns].clone())
    if not prompts or not all(kept.values()):
        raise HlensError(f"no reference token: {len(prompts)} prompts, none longer than {start}")
    return Reference(neurons, {layer: torch.cat(rows) for layer, rows in kept.items()})


def record(model: Model, token_ids: Sequence[int]) -> dict[int, Float[Tensor, "pos neuron"]]:
    """Run the model on one prompt; the activations of each layer, as W_out reads them.

    Of an expert's neuron they are zero at the tokens that are not routed to it.
    """
    model.need_modules("the activations of all neurons")
    if not len(token_ids):
        raise HlensError("a prompt without tokens; give at least one token id")
    acts: dict[int, Tensor] = {}

    def keep(layer: int, of_layer: MlpActs, out: Tensor) -> None:
        acts[layer] = of_layer.whole()

    with ExitStack() as stack:
        for layer, mlp in enumerate(model.mlps):
            stack.enter_context(mlp.reading(partial(keep, layer)))
        with torch.inference_mode():
            ids = torch.tensor([list(token_ids)], device=model.device)
            model.body(input_ids=ids, use_cache=False)
    return acts
