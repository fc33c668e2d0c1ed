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

    A sliding window counts places in the cache, padding included, so it must be no shorter than
    the longest row; and a layer that keeps a state instead of keys and values would have read the
    padding.

    Args:
        model: The model.
        longest: Tokens of the longest row with all that it reads, padding included.
    """
    config = getattr(model.hf.config, "text_config", None) or model.hf.config
    window = getattr(config, "sliding_window", None)
    if window is not None and longest > window:
        return False
    two = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    if not model.position_kwargs(two):
        return False
    with torch.inference_mode():
        past = getattr(model.body(input_ids=two, use_cache=True), "past_key_values", None)
    layers = getattr(past, "layers", None) or []
    keys = [getattr(layer, "keys", None) for layer in layers]
    return len(keys) == model.n_layers and all(
        key is not None and key.shape[-2] == 2 for key in keys
    )
