"""Parts of the plain model that readings are taken from: its blocks, attention and unembedding."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from hlens.errors import HlensError
from hlens.model.stretches import Stretch, read, serves

if TYPE_CHECKING:
    from hlens.model.lens import Model

# Layer, and what it gives: [row, pos, d_model], or attention weights [row, head, pos, key].
Listener = Callable[[int, Tensor], None]


def blocks(model: "Model") -> list[nn.Module]:
    """The block of each layer: its output is the residual stream behind that layer.

    Raises:
        HlensError: The blocks do not stand in one list, as in every architecture known here.
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
def listening(
    model: "Model", residual: Listener | None = None, attention: Listener | None = None
) -> Iterator[None]:
    """Hear each layer of the plain model for the length of a block.

    Args:
        model: The model.
        residual: Called with the output of each block.
        attention: Called with the attention weights of each layer. They exist only where attention
            is computed eagerly, so the model is switched to that for the time of the block. Not
            called where the architecture hands no weights out.
    """
    with ExitStack() as stack:
        if attention is not None:
            stack.enter_context(_eager(model.hf))
        for layer, block in enumerate(blocks(model)):
            if residual is not None:
                hook = block.register_forward_hook(_hear(layer, residual))
                stack.callback(hook.remove)
            if attention is not None:
                hear = _hear_weights(layer, attention)
                for child in block.children():
                    stack.callback(child.register_forward_hook(hear).remove)
        yield


class _EnoughError(Exception):
    """The layer that was asked for has been run; a forward pass ends here."""


@contextmanager
def ending_behind(model: "Model", layer: int, residual: Listener) -> Iterator[None]:
    """Let the forward pass in this block end behind a layer: what comes later is not read.

    Args:
        model: The model.
        layer: The last layer that is run.
        residual: Called with the layer's output.
    """

    def end(module: Any, args: tuple[Any, ...], output: Any) -> None:
        raise _EnoughError

    with ExitStack() as stack:
        for hook in (_hear(layer, residual), end):  # called in the order in which they are hung up
            stack.callback(blocks(model)[layer].register_forward_hook(hook).remove)
        with suppress(_EnoughError):
            yield


@contextmanager
def unembedding_at(
    model: "Model", rows: Int[Tensor, " place"], positions: Int[Tensor, " place"]
) -> Iterator[None]:
    """Let the model make logits at these places only: ``logits`` is then ``[1, place, token]``.

    The unembedding of all other tokens would cost most of the memory of a pass, and is not read.
    What an architecture does to its logits afterwards (scaling, capping) it does as always.
    """

    def gather(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = args[0]
        chosen = hidden[rows.to(hidden.device), positions.to(hidden.device)]
        return (chosen[None], *args[1:])

    handle = model.hf.get_output_embeddings().register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def next_token_logprobs(
    model: "Model", prompts: Sequence[Sequence[int]], tokens: int = 1024
) -> Iterator[tuple[list[int], Tensor]]:
    """Log-probabilities (nats) of the token after each prompt; what all begin with is run once.

    Args:
        model: The model.
        prompts: Token ids of each prompt, none of them empty.
        tokens: Tokens of a batch, padding included; a single prompt may be longer.

    Yields:
        Indices of the prompts of a batch, and ``[prompt, token]``, float32.
    """
    before = _beginning(model, prompts) if prompts else []
    start = before[0].width if before else 0
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    while order:
        size = max(1, tokens // (len(prompts[order[0]]) - start))
        batch, order = order[:size], order[size:]
        lengths = torch.tensor([len(prompts[i]) - start for i in batch])
        ids = torch.full((len(batch), int(lengths.max())), model.pad_id)
        for row, index in enumerate(batch):  # right-padded: a token never sees what follows it
            ids[row, : lengths[row]] = torch.tensor(prompts[index][start:])
        with torch.inference_mode(), unembedding_at(model, torch.arange(len(batch)), lengths - 1):
            out, _ = read(model, ids.to(model.device), lengths, before, run=model.hf)
        yield batch, out.logits[0].float().log_softmax(dim=-1).cpu()


def _beginning(model: "Model", prompts: Sequence[Sequence[int]]) -> list[Stretch]:
    """What all prompts begin with, run once; empty for one prompt, or where nothing is common."""
    ordered = sorted(list(prompt) for prompt in prompts)
    first, last = ordered[0], ordered[-1]  # of all prompts these two part first
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    if length == 0 or not serves(model, max(map(len, prompts))):
        return []
    with torch.inference_mode():
        ids = torch.tensor([first[:length]], device=model.device)
        return [read(model, ids, torch.tensor([length]), keep=True)[1]]


def _hear(layer: int, listener: Listener) -> Any:
    def hook(module: Any, args: tuple[Any, ...], output: Any) -> None:
        listener(layer, output[0] if isinstance(output, tuple) else output)

    return hook


def _hear_weights(layer: int, listener: Listener) -> Any:
    """Of the children of a block, attention is the one that hands out weights of four axes."""

    def hook(module: Any, args: tuple[Any, ...], output: Any) -> None:
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if isinstance(weights, Tensor) and weights.dim() == 4:
            listener(layer, weights)

    return hook


@contextmanager
def _eager(hf: Any) -> Iterator[None]:
    before = hf.config._attn_implementation
    hf.set_attn_implementation("eager")
    try:
        yield
    finally:
        hf.set_attn_implementation(before)
