"""Attribution patching: the effect of patching every single neuron, from one backward pass.

Exact patching needs a forward pass for each neuron. To first order the effect is (clean - corrupted
activation) x gradient, which one backward pass gives for all (arXiv 2310.10348): a screen, of which
`hlens.effects.patching` is the check.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hlens.effects.pairs import Pair, PairRun
from hlens.errors import HlensError
from hlens.model import Model
from hlens.types import NeuronSet


def attribution(model: Model, pair: Pair) -> Float[Tensor, "layer neuron"]:
    """First-order estimate of the share that patching each neuron restores.

    Raises:
        HlensError: Both prompts give the same logit difference.
    """
    return attribute_run(PairRun.start(model, pair))


def attribute_run(run: PairRun) -> Float[Tensor, "layer neuron"]:
    """(clean - corrupted activation) x gradient of the logit difference at the corrupted prompt.

    Summed over shared tokens, as a share of the difference between the runs.
    """
    model, pair = run.model, run.pair
    here, there = torch.tensor(list(run.places)), torch.tensor(list(run.places.values()))
    acts: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for layer, module in enumerate(model.down_projections):
            hook = module.register_forward_pre_hook(_keep_in_graph(acts, layer))
            stack.callback(hook.remove)
        ids = torch.tensor([pair.corrupted], device=model.device)
        with torch.enable_grad():
            logits = model.hf(input_ids=ids, use_cache=False).logits[0, -1]
            value = logits[pair.answer] - logits[pair.foil]
        grads = torch.autograd.grad(value, [acts[layer] for layer in range(model.n_layers)])
    effects = []
    for layer, grad in enumerate(grads):
        width = len(pair.corrupted)
        step = run.source.values[layer][there] - acts[layer].detach().reshape(width, -1)[here]
        effects.append((step * grad.reshape(width, -1)[here]).sum(0).float().cpu())
    return torch.stack(effects) / (run.clean - run.corrupted)


def screen(model: Model, pairs: Sequence[Pair], *, k: int) -> NeuronSet:
    """The `k` neurons of the whole model to which attribution patching gives the largest share.

    One backward pass a pair; run `hlens.effects.patching` on the result to check it.

    Raises:
        HlensError: No pairs, or `k` is not between 1 and the number of neurons.
    """
    if not pairs or not 0 < k <= model.n_layers * model.d_mlp:
        raise HlensError(f"{len(pairs)} pairs, k={k}; give one pair or more, and 1 or more neurons")
    mean = torch.stack([attribution(model, pair) for pair in pairs]).mean(dim=0)
    mask = torch.zeros(mean.numel(), dtype=torch.bool)
    mask[mean.flatten().abs().topk(k).indices] = True
    return NeuronSet.from_mask(
        mask.reshape(mean.shape), model=model.fingerprint, name="screened neurons"
    )


def _keep_in_graph(acts: dict[int, Tensor], layer: int) -> Any:
    """Hook that keeps the activation in the graph, whether or not the weights want gradients."""

    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        act = args[0] if args[0].requires_grad else args[0].detach().requires_grad_()
        acts[layer] = act
        return (act, *args[1:])

    return hook
