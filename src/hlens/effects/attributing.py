"""Attribution patching: the effect of patching every single neuron, from one backward pass."""

from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hlens.effects.pairs import Pair, ends
from hlens.interventions import align, capture
from hlens.model import Model


def attribution(model: Model, one: Pair) -> Float[Tensor, "layer neuron"]:
    """First-order estimate of the share that patching each neuron restores.

    (clean - corrupted activation) x gradient of the logit difference, summed over shared tokens, at
    the corrupted prompt (arXiv 2310.10348).

    Raises:
        HlensError: Both prompts call for the same.
    """
    source, places = capture(model, one.clean), align(one.corrupted, one.clean)
    here, there = torch.tensor(list(places)), torch.tensor(list(places.values()))
    acts: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for layer, module in enumerate(model.down_projections):
            hook = module.register_forward_pre_hook(_leaf(acts, layer))
            stack.callback(hook.remove)
        ids = torch.tensor([one.corrupted], device=model.device)
        with torch.enable_grad():
            logits = model.hf(input_ids=ids, use_cache=False).logits[0, -1]
            value = logits[one.answer] - logits[one.foil]
        grads = torch.autograd.grad(value, [acts[layer] for layer in range(model.n_layers)])
    clean, corrupted = ends(model, one)
    effects = []
    for layer, grad in enumerate(grads):
        width = len(one.corrupted)
        step = source.values[layer][there] - acts[layer].detach().reshape(width, -1)[here]
        effects.append((step * grad.reshape(width, -1)[here]).sum(0).float().cpu())
    return torch.stack(effects) / (clean - corrupted)


def _leaf(acts: dict[int, Tensor], layer: int) -> Any:
    """Hook that keeps the activation in the graph, whether or not the weights want gradients."""

    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        act = args[0] if args[0].requires_grad else args[0].detach().requires_grad_()
        acts[layer] = act
        return (act, *args[1:])

    return hook
