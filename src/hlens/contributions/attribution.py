"""Metrics that look at the answer's logits: they need what comes after the last MLP, too."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hlens.contributions.passes import Results, collect, or_nothing, right_padded
from hlens.contributions.reducing import Reducer, post_mlp_norm
from hlens.contributions.regions import Ask
from hlens.contributions.taking import Taking, taking, wants
from hlens.contributions.tasks import Task
from hlens.errors import HlensError
from hlens.metrics import NEEDS
from hlens.model import Model
from hlens.types.norms import NormGain

_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def needs(asks: Sequence[Ask], what: str) -> bool:
    """Whether any ask needs ``"direction"`` or ``"gradient"``."""
    return any(NEEDS.get(ask.metric) == what for ask in asks)


def run_attributed(
    model: Model, reducer: Reducer, tasks: Sequence[Task], asks: Sequence[Ask]
) -> Results:
    """Run examples as right-padded rows, and keep their neurons until the logits are known.

    Memory grows with the positions asked x layers, and for gradients with tokens x layers.
    """
    ids = right_padded([task.token_ids for task in tasks], model)
    wanted = [wants(asks, task.positions, row, row, 0, len(task)) for row, task in enumerate(tasks)]
    taken = taking(wanted, ids.shape[0], ids.shape[1], model.device)
    assert taken is not None
    graded = needs(asks, "gradient")
    held: list[tuple[Tensor, Tensor]] = []
    reducer.begin(None)
    with ExitStack() as stack:
        for module in model.down_projections:
            hook = module.register_forward_hook(_hold(held, None if graded else taken))
            stack.callback(hook.remove)
        if graded:
            stack.enter_context(_differentiable(model.hf))
        direction = stack.enter_context(_final_direction(model, ids, taken, asks))
        gradients = [None] * model.n_layers
        if graded:
            logprob = _logprob(model, ids, tasks)
            gradients = list(torch.autograd.grad(logprob, [act for act, _ in held]))
        else:
            model.body(input_ids=ids, use_cache=False)
    reducer.begin(taken)
    with torch.no_grad():
        for layer, gradient in enumerate(gradients):
            _reduce(model, reducer, layer, held[layer], gradient, direction)
    results = collect(reducer, asks, len(tasks), None)
    return or_nothing(results, reducer, asks, len(tasks))


def _hold(held: list[tuple[Tensor, Tensor]], taken: Taking | None) -> Any:
    def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        act, out = args[0], output.detach()
        # Parallel blocks (Falcon) add attention to the output in place, later on.
        held.append((act, out.clone()) if taken is None else (taken.gather(act), taken.gather(out)))

    return hook


def _reduce(
    model: Model,
    reducer: Reducer,
    layer: int,
    held: tuple[Tensor, Tensor],
    gradient: Tensor | None,
    direction: list[Tensor],
) -> None:
    taken = reducer.taking
    assert taken is not None
    act, out = held[0].detach(), held[1]
    if gradient is not None:  # then all positions were held
        act, out, gradient = (taken.gather(each) for each in (act, out, gradient))
    trace = replace(reducer.trace(layer, act, out), gradient=gradient)
    if direction:
        back = _through_post_norm(model, layer, direction[0].to(act.device), trace.out)
        trace = replace(trace, direction=back)
    reducer.reduce(layer, taken, trace)


def _through_post_norm(model: Model, layer: int, direction: Tensor, out: Tensor) -> Tensor:
    """The direction of the residual stream, as seen from the output of the down projection."""
    scale = float(getattr(model.hf.config, "residual_multiplier", 1.0))
    norm = post_mlp_norm(model, layer)
    if norm is None:
        return direction * scale
    inverse = norm.inverse_scale(out, norm(out))
    return norm.pull_back(direction) * inverse[..., None] * scale


@contextmanager
def _final_direction(
    model: Model, ids: Tensor, taken: Taking, asks: Sequence[Ask]
) -> Iterator[list[Tensor]]:
    """A list that holds, after the pass, the direction of each taken position's next token."""
    found: list[Tensor] = []
    if not needs(asks, "direction"):
        yield found
        return
    norm = _final_norm(model)
    shape = NormGain(norm, model.d_model)
    # Past the end there is no next token; no ask gives such a position a weight.
    targets = taken.gather(torch.cat([ids[:, 1:], ids[:, -1:]], dim=1))
    unembedding, scale = model.hf.get_output_embeddings().weight.detach(), _logit_scale(model)

    def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = taken.gather(args[0].detach()), taken.gather(output.detach())
        inverse = shape.inverse_scale(before, after)
        rows = unembedding[targets.to(unembedding.device)].to(before.device)
        found.append(shape.pull_back(rows) * inverse[..., None] * scale)

    handle = norm.register_forward_hook(hook)
    try:
        yield found
    finally:
        handle.remove()


def _logit_scale(model: Model) -> float:
    """What the unembedding's output is multiplied with: Cohere does so, and Granite divides."""
    config = model.hf.config
    return float(getattr(config, "logit_scale", 1.0)) / float(
        getattr(config, "logits_scaling", 1.0)
    )


def _final_norm(model: Model) -> nn.Module:
    for name in _FINAL_NORMS:
        norm = getattr(model.body, name, None)
        if isinstance(norm, nn.Module):
            return norm
    raise HlensError(
        f"{model.name}: no final norm found ({', '.join(_FINAL_NORMS)}); direct logit attribution "
        "is not available for this architecture, use another metric"
    )


def _logprob(model: Model, ids: Tensor, tasks: Sequence[Task]) -> Tensor:
    """Log-probability (nats) of all answers, summed."""
    logits = model.hf(input_ids=ids, use_cache=False).logits
    total = logits.new_zeros((), dtype=torch.float32)
    for row, task in enumerate(tasks):
        first = max(1, task.example.start)  # nothing predicts the first token
        at = torch.arange(first - 1, task.example.stop - 1, device=logits.device)
        chosen = torch.log_softmax(logits[row, at].float(), dim=-1)
        total = total + chosen.gather(1, ids[row, at + 1, None].to(chosen.device)).sum()
    return total


@contextmanager
def _differentiable(hf: Any) -> Iterator[None]:
    """Gradients of activations alone: weights are frozen, the embedding starts the graph."""
    flags = [(parameter, parameter.requires_grad) for parameter in hf.parameters()]

    def start(module: Any, args: Any, output: Tensor) -> Tensor:
        return output.detach().requires_grad_()

    handle = hf.get_input_embeddings().register_forward_hook(start)
    try:
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        handle.remove()
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
