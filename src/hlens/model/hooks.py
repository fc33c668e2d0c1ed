"""Hooks on the plain model: its residual stream, attention weights, and fewer logits or layers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from threading import RLock
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hlens.errors import HlensError
from hlens.model.network import Network
from hlens.model.own_thread import hook_input, hook_output
from hlens.model.prefix import Prefix, can_share_prefixes, common_length, run_with_prefixes

# Called with a layer and its output [row, pos, d_model], or weights [row, head, pos, key].
Listener = Callable[[int, Tensor], None]
_EAGER = RLock()  # a thread that found another's "eager" would put that back in the end


def layer_blocks(model: Network) -> list[nn.Module]:
    """The block of each layer; its output is the residual stream after that layer.

    Raises:
        HlensError: The blocks are not in one list, as in every architecture known here.
    """
    for module in model.hf.modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.n_layers:
            pairs = zip(module, model.down_projections, strict=True)
            if all(any(part is down for part in block.modules()) for block, down in pairs):
                return list(module)
    raise HlensError(
        f"{model.name}: no list of {model.n_layers} blocks around its MLPs was found; the residual "
        "stream cannot be read in this architecture"
    )


@contextmanager
def capturing(
    model: Network, *, residual: Listener | None = None, attention: Listener | None = None
) -> Iterator[None]:
    """Pass the block outputs and attention weights of the plain model to listeners.

    Attention weights exist only where attention is computed eagerly, so the model is switched to
    that within the block. Their listener is not called where the architecture returns none.
    """
    with ExitStack() as stack:
        if attention is not None:
            stack.enter_context(_EAGER)
            stack.callback(model.hf.set_attn_implementation, model.hf.config._attn_implementation)
            model.hf.set_attn_implementation("eager")
        for layer, block in enumerate(layer_blocks(model)):
            if residual is not None:
                hook = partial(_pass_output, residual, layer)
                stack.enter_context(hook_output(block, hook))
            if attention is not None:
                hook = partial(_pass_weights, attention, layer)
                for child in block.children():
                    stack.enter_context(hook_output(child, hook))
        yield


class _EnoughError(Exception):
    """The last wanted layer has run; raised through the model to end its forward pass."""


@contextmanager
def stopping_after(model: Network, layer: int, residual: Listener) -> Iterator[None]:
    """End the forward pass in this block after `layer`, whose output goes to `residual`."""

    def end(module: Any, args: tuple[Any, ...], output: Any) -> None:
        raise _EnoughError

    with ExitStack() as stack:
        # Hooks run in order of registration.
        for hook in (partial(_pass_output, residual, layer), end):
            stack.enter_context(hook_output(layer_blocks(model)[layer], hook))
        with suppress(_EnoughError):
            yield


@contextmanager
def unembedding_at(
    model: Network, rows: Int[Tensor, " place"], positions: Int[Tensor, " place"]
) -> Iterator[None]:
    """Compute logits at these places only: ``logits`` is then ``[1, place, token]``.

    Unembedding all other tokens would cost most of the memory of a pass. Whatever an architecture
    does to its logits afterwards (scaling, capping) still happens.
    """

    def gather(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = args[0]
        chosen = hidden[rows.to(hidden.device), positions.to(hidden.device)]
        return (chosen[None], *args[1:])

    with hook_input(model.hf.get_output_embeddings(), gather):
        yield


def lens_logits(
    model: Network, states: Float[Tensor, "state d_model"]
) -> Float[Tensor, "state token"]:
    """Logits if these were the residual stream behind the last layer (nostalgebraist 2020).

    Whatever an architecture does behind its last layer (norm, unembedding, scaling, capping) is not
    written down here but run: a pass over one token, whose own stream is exchanged for the states.
    """

    def exchange(module: Any, args: tuple[Any, ...], output: Any) -> Any:
        own = output[0] if isinstance(output, tuple) else output
        given = states.to(own)[:, None]  # a row of one token each
        return (given, *output[1:]) if isinstance(output, tuple) else given

    def run(rows: int) -> Tensor:
        ids = torch.full((rows, 1), model.pad_id, device=model.device)
        return model.hf(input_ids=ids, use_cache=False).logits

    with torch.inference_mode(), hook_output(layer_blocks(model)[-1], exchange):
        try:
            logits = run(1)
        except RuntimeError:  # GPT-BigCode forces its stream into the shape of its input
            logits = run(len(states))
    return logits.reshape(len(states), -1)


def next_token_logprobs(
    model: Network, prompts: Sequence[Sequence[int]], *, tokens: int = 1024
) -> Iterator[tuple[list[int], Tensor]]:
    """Log-probabilities (nats) of the token after each prompt; a common beginning is run once.

    Batches hold at most `tokens` tokens, padding included, unless a single prompt is longer.

    Yields:
        Indices of the prompts of a batch, and ``[prompt, token]``, float32.

    Raises:
        HlensError: More tokens than the model has positions, or tokens that it has not.
    """
    model.need_modules("the likelihood of a token")
    model.check_prompts(prompts)
    prefixes = _common_prefix(model, prompts) if prompts else []
    start = prefixes[0].width if prefixes else 0
    # By length, so that a batch has little padding.
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    while order:
        size = max(1, tokens // (len(prompts[order[0]]) - start))
        batch, order = order[:size], order[size:]
        lengths = torch.tensor([len(prompts[i]) - start for i in batch])
        ids = torch.full((len(batch), int(lengths.max())), model.pad_id)
        for row, index in enumerate(batch):  # right-padded: a token never sees what follows it
            ids[row, : lengths[row]] = torch.tensor(prompts[index][start:])
        with torch.inference_mode(), unembedding_at(model, torch.arange(len(batch)), lengths - 1):
            out, _ = run_with_prefixes(model, ids.to(model.device), lengths, prefixes, run=model.hf)
        yield batch, out.logits[0].float().log_softmax(dim=-1).cpu()


def _common_prefix(model: Network, prompts: Sequence[Sequence[int]]) -> list[Prefix]:
    """What all prompts begin with, run once; empty for one prompt, or where nothing is common."""
    length = common_length(prompts)
    # A prompt that all others begin with would have no token of its own left to be run.
    whole = length in (0, min(map(len, prompts)))
    if whole or not can_share_prefixes(model, max(map(len, prompts))):
        return []
    with torch.inference_mode():
        ids = torch.tensor([prompts[0][:length]], device=model.device)
        return [run_with_prefixes(model, ids, torch.tensor([length]), keep=True)[1]]


def _pass_output(listener: Listener, layer: int, module: Any, args: Any, output: Any) -> None:
    listener(layer, output[0] if isinstance(output, tuple) else output)


def _pass_weights(listener: Listener, layer: int, module: Any, args: Any, output: Any) -> None:
    # Of the children of a block, attention is the one that returns weights of four axes.
    weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
    if isinstance(weights, Tensor) and weights.dim() == 4:
        listener(layer, weights)
