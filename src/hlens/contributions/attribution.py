"""Metrics that depend on the answer's logits, and so on what comes after the last MLP.

Their value at a neuron needs a direction or a gradient that is known only when the pass is over. So
activations and outputs are held, layer by layer, until the logits are known, and reduced then.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hlens.contributions.passes import Results, collect, or_empty, right_padded
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.rows import Piece, Readout, Row, all_needs, lay_out
from hlens.errors import HlensError
from hlens.model import MlpActs, Model, Read, hook_output
from hlens.types.norms import NormGain, post_mlp_norm

_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def run_attributed(reducer: Reducer, rows: Sequence[Row]) -> Results:
    """Run rows right-padded, and hold their neurons until the logits are known.

    Memory grows with the read positions x layers, and for gradients with tokens x layers.
    """
    model = reducer.model
    ids = right_padded([row.token_ids for row in rows], model)
    readout = lay_out([Piece(row, number, 0, len(row)) for number, row in enumerate(rows)], ids)
    assert readout is not None
    with_gradient = "gradient" in all_needs(reducer.asks)
    held: list[Held] = []
    reducer.begin(None)
    with ExitStack() as stack:
        for mlp in model.mlps:
            stack.enter_context(mlp.reading(_hold(held, readout, whole=with_gradient)))
        if with_gradient:
            stack.enter_context(_differentiable(model.hf))
        direction = stack.enter_context(_final_direction(model, ids, readout, reducer.asks))
        gradients: list[Tensor] = []
        if with_gradient:
            logprob = _logprob(model, ids, rows)
            acts = [values for one in held for values in one.values]
            # An expert that no token was routed to has no part in the answer.
            found = torch.autograd.grad(logprob, acts, allow_unused=True, materialize_grads=True)
            gradients = list(found)
        else:
            model.body(input_ids=ids, use_cache=False)
    reducer.begin(readout)
    with torch.no_grad():
        for layer, one in enumerate(held):
            act, out, gradient = one.act, one.out, None
            if one.acts is not None:
                own = [gradients.pop(0) for _ in one.values]
                gradient = one.acts.with_gradients(own).weighted(readout.gather)
            trace = replace(reducer.trace(layer, act, out), gradient=gradient)
            if direction:
                back = _through_post_norm(model, layer, direction[0].to(act.device), out)
                trace = replace(trace, direction=back)
            reducer.reduce(layer, readout, trace)
    return or_empty(collect(reducer, len(rows)), reducer, len(rows))


@dataclass(frozen=True, eq=False)
class Held:
    """What is kept of a layer until the logits are known."""

    act: Tensor  # at the read positions, as `out`
    out: Tensor
    acts: MlpActs | None = None  # at all positions, where a gradient is taken by them

    @property
    def values(self) -> list[Tensor]:
        """The activations of each block, in the graph of the pass."""
        return [] if self.acts is None else [block.values for block in self.acts.blocks]


def _hold(held: list[Held], readout: Readout, *, whole: bool) -> Read:
    def hold(acts: MlpActs, out: Tensor) -> None:
        act = acts.weighted(readout.gather).detach()
        # A copy: parallel blocks (Falcon) add attention to the output in place, later on.
        held.append(Held(act, readout.gather(out.detach()).clone(), acts if whole else None))

    return hold


def _through_post_norm(model: Model, layer: int, direction: Tensor, out: Tensor) -> Tensor:
    """The direction of the residual stream, as seen from the output of the down projection."""
    scale = float(getattr(model.hf.config, "residual_multiplier", 1.0))
    norm = post_mlp_norm(model.bridge.blocks[layer], model.d_model)
    if norm is None:
        return direction * scale
    inverse = norm.inverse_scale(out, norm(out))
    return norm.pull_back(direction) * inverse[..., None] * scale


@contextmanager
def _final_direction(
    model: Model, ids: Tensor, readout: Readout, asks: Sequence[Ask]
) -> Iterator[list[Tensor]]:
    """A list that holds, after the pass, the direction of each read position's next token."""
    direction: list[Tensor] = []
    if "direction" not in all_needs(asks):
        yield direction
        return
    norm = _final_norm(model)
    gain = NormGain(norm, model.d_model)
    # Past the end there is no next token; no ask gives such a position a weight.
    targets = readout.gather(torch.cat([ids[:, 1:], ids[:, -1:]], dim=1))
    unembedding, scale = model.unembedding, _logit_scale(model)

    def hook(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = readout.gather(args[0].detach()), readout.gather(output.detach())
        inverse = gain.inverse_scale(before, after)
        rows = unembedding[targets.to(unembedding.device)].to(before.device)
        # The last call counts: NanoChat runs the same norm behind its embedding.
        direction[:] = [gain.pull_back(rows) * inverse[..., None] * scale]

    with hook_output(norm, hook):
        yield direction


def _logit_scale(model: Model) -> float:
    """Factor between the unembedding's output and the logits (Cohere, Granite)."""
    config = model.hf.config
    return getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)


def _final_norm(model: Model) -> nn.Module:
    for name in _FINAL_NORMS:
        if isinstance(norm := getattr(model.body, name, None), nn.Module):
            return norm
    raise HlensError(
        f"{model.name}: no final norm found ({', '.join(_FINAL_NORMS)}); direct logit attribution "
        "is not available for this architecture, use another metric"
    )


def _logprob(model: Model, ids: Tensor, rows: Sequence[Row]) -> Tensor:
    """Log-probability (nats) of all answers, summed."""
    logits = model.hf(input_ids=ids, use_cache=False).logits
    total = logits.new_zeros((), dtype=torch.float32)
    for number, row in enumerate(rows):
        first = max(1, row.example.start)  # nothing predicts the first token
        before = torch.arange(first - 1, row.example.stop - 1, device=logits.device)
        logprobs = torch.log_softmax(logits[number, before].float(), dim=-1)
        targets = ids[number, before + 1, None].to(logprobs.device)
        total = total + logprobs.gather(1, targets).sum()
    return total


@contextmanager
def _differentiable(hf: Any) -> Iterator[None]:
    """Gradients of activations alone: weights are frozen, and the embedding starts the graph."""
    trained = [parameter for parameter in hf.parameters() if parameter.requires_grad]

    def start(module: Any, args: Any, output: Tensor) -> Tensor:
        return output.detach().requires_grad_()

    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with torch.enable_grad(), hook_output(hf.get_input_embeddings(), start):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
