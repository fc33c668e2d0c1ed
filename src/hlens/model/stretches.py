"""Stretches of tokens that are run once and read by many rows: keys and values, held no longer.

A cache of transformers keeps whatever runs through it, for each row by itself. Measuring needs
less: a prompt's keys and values serve all of its answers, and those of the answers serve nobody.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from hlens.model.lens import Model

KeyValues = tuple[Float[Tensor, "row head pos d_head"], Float[Tensor, "row head pos d_head"]]


@dataclass(frozen=True, eq=False)
class Stretch:
    """Right-padded rows of tokens that were run.

    Attributes:
        lengths: Tokens of each row, padding not counted.
        layers: Keys and values of each layer.
        picked: The row that each reader reads; None where all read the only one.
    """

    lengths: Int[Tensor, " row"]
    layers: list[KeyValues] = field(default_factory=list)
    picked: Int[Tensor, " reader"] | None = None

    def pick(self, rows: Int[Tensor, " reader"]) -> "Stretch":
        """The same, for readers of the given rows; nothing is copied before they run."""
        return replace(self, picked=rows)

    @property
    def read_lengths(self) -> Int[Tensor, " reader"]:
        """Tokens that each reader reads; one for all where all read the same row."""
        return self.lengths if self.picked is None else self.lengths[self.picked]

    @property
    def width(self) -> int:
        """Tokens of a row, padding included."""
        return self.layers[0][0].shape[-2]

    def of_layer(self, layer: int, n_readers: int) -> KeyValues:
        """Keys and values of a layer, one row a reader."""
        keys, values = self.layers[layer]
        if self.picked is not None:
            picked = self.picked.to(keys.device)
            keys, values = keys[picked], values[picked]
        return keys.expand(n_readers, -1, -1, -1), values.expand(n_readers, -1, -1, -1)


def read(
    model: "Model",
    ids: Int[Tensor, "row pos"],
    lengths: Int[Tensor, " row"],
    before: Sequence[Stretch] = (),
    keep: bool = False,
    run: Callable[..., Any] | None = None,
) -> tuple[Any, Stretch]:
    """Run right-padded rows through the model.

    Without padding in `before` no mask is given: attention is causal, so that a token never sees
    the padding to its right.

    Args:
        model: The model; `serves` must hold of it where `before` or `keep` is used.
        ids: Token ids.
        lengths: Tokens of each row, padding not counted.
        before: What the rows read before their own tokens, in order.
        keep: Keep the keys and values of these rows for others to read.
        run: What is run: ``model.hf``, or by default the model without its unembedding.

    Returns:
        What the model gave, and the stretch; this without layers unless it was to be kept.
    """
    from hlens.model.stretch_cache import cache_over  # transformers take seconds to import

    stretch = Stretch(lengths)
    run = run or model.body
    if not before and not keep:
        return run(input_ids=ids, use_cache=False), stretch
    kept = stretch.layers if keep else None
    past = cache_over(before, kept, model.n_layers)
    start = torch.zeros(1, dtype=torch.long)
    for each in before:
        start = start + each.read_lengths
    positions = (start[:, None] + torch.arange(ids.shape[1])).expand(ids.shape)
    out = run(
        input_ids=ids,
        attention_mask=_mask(ids, before),
        past_key_values=past,
        use_cache=True,
        **model.position_kwargs(positions.to(ids.device)),
    )
    return out, stretch


def _mask(ids: Tensor, before: Sequence[Stretch]) -> Tensor | None:
    """One at tokens and zero at padding of what stands before; None where nothing is padded."""
    if all(bool((each.lengths == each.width).all()) for each in before):
        return None
    parts = [torch.arange(each.width) < each.read_lengths[:, None] for each in before]
    parts = [part.expand(len(ids), -1) for part in parts]
    own = torch.ones(ids.shape, dtype=torch.bool)
    return torch.cat([*parts, own], dim=1).long().to(ids.device)


def serves(model: "Model", longest: int) -> bool:
    """True where rows that read stretches of others give what they give when run as a whole.

    It does not hold where attention counts places in the cache, padding included (a window shorter
    than the row, chunks), or where a layer keeps a state instead of keys and values. So it is tried
    out, on random tokens, once for a model and length.

    Args:
        model: The model.
        longest: Tokens of the longest row with all that it reads, padding included.
    """
    known = model.served
    if any(held and length >= longest for length, held in known.items()):
        return True
    if any(not held and length <= longest for length, held in known.items()):
        return False
    config = getattr(model.hf.config, "text_config", None) or model.hf.config
    window = getattr(config, "sliding_window", None)
    with torch.inference_mode():
        known[longest] = (
            (window is None or longest <= window)
            and _keeps_keys(model)
            and _agrees(model, max(longest, 4))
        )
    return known[longest]


def _keeps_keys(model: "Model") -> bool:
    """Whether every layer's memory of two tokens is a key and a value for each."""
    two = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    if not model.position_kwargs(two):
        return False
    past = getattr(model.body(input_ids=two, use_cache=True), "past_key_values", None)
    keys = [getattr(layer, "keys", None) for layer in getattr(past, "layers", None) or []]
    return len(keys) == model.n_layers and all(
        key is not None and key.shape[-2] == 2 for key in keys
    )


def _agrees(model: "Model", length: int) -> bool:
    """Whether a row that is run in two stretches, the first of them padded, gives what it gives."""
    draw = torch.Generator().manual_seed(0)
    vocabulary = int(model.hf.get_input_embeddings().weight.shape[0])
    row = torch.randint(vocabulary, (1, length), generator=draw).to(model.device)
    cut = length // 2
    whole = model.body(input_ids=row, use_cache=False)[0][:, cut:].float()
    padded = torch.nn.functional.pad(row[:, :cut], (0, 3))
    _, first = read(model, padded, torch.tensor([cut]), keep=True)
    out, _ = read(model, row[:, cut:], torch.tensor([length - cut]), [first])
    off = torch.linalg.vector_norm(out[0].float() - whole) / torch.linalg.vector_norm(whole)
    return bool(off < (1e-4 if model.dtype in (torch.float32, torch.float64) else 3e-2))
