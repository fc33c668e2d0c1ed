"""Key/value prefixes: tokens that are run once and read by many rows.

The answers to one question share their prompt, and all prompts share the head of the chat template.
In causal attention the keys and values of such a beginning depend on nothing that follows, so they
are computed once and shown to every row that begins with them:

    system turn ── prompt of question 1 ─┬─ answer a
                │                        └─ answer b
                └─ prompt of question 2 ─── answer c

A cache of transformers would copy the prefix for each row and keep the keys and values of the
answers as well, which nobody reads; here a prefix is expanded layer by layer while a pass runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import takewhile
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.model.network import Network

# Anonymous axes: layers may differ in heads and widths (Gemma 4), keys in width from values (MLA).
KeyValues = tuple[Float[Tensor, "row _ pos _"], Float[Tensor, "row _ pos _"]]


@dataclass(frozen=True, eq=False)
class Prefix:
    """Right-padded rows of tokens that were run.

    Attributes:
        lengths: Tokens of each row, padding not counted.
        layers: Keys and values of each layer.
        picked: The row that each reader reads; None where all read the only one.
    """

    lengths: Int[Tensor, " row"]
    layers: list[KeyValues] = field(default_factory=list)
    picked: Int[Tensor, " reader"] | None = None

    def pick(self, rows: Int[Tensor, " reader"]) -> "Prefix":
        """This prefix for readers of the given rows; nothing is copied until a pass reads them."""
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
        """Keys and values of a layer, one row per reader."""
        keys, values = self.layers[layer]
        if self.picked is not None:
            picked = self.picked.to(keys.device)
            keys, values = keys[picked], values[picked]
        return keys.expand(n_readers, -1, -1, -1), values.expand(n_readers, -1, -1, -1)


def common_length(prompts: Sequence[Sequence[int]]) -> int:
    """Number of tokens that all prompts begin with."""
    columns = zip(*prompts, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def run_with_prefixes(
    model: Network,
    ids: Int[Tensor, "row pos"],
    lengths: Int[Tensor, " row"],
    prefixes: Sequence[Prefix] = (),
    *,
    keep: bool = False,
    run: Callable[..., Any] | None = None,
) -> tuple[Any, Prefix]:
    """Run right-padded rows through the model.

    Where no prefix is padded, no mask is needed: attention is causal, so that a token never sees
    the padding to its right.

    Args:
        model: A model for which `can_share_prefixes` is true, if `prefixes` or `keep` are used.
        ids: Token ids.
        lengths: Tokens of each row, padding not counted.
        prefixes: What the rows read before their own tokens, in order.
        keep: Keep the keys and values of these rows as a prefix for others.
        run: What is run: ``model.hf``, or by default the model without its unembedding.

    Returns:
        The model's output, and these rows as a prefix; without `keep` it has no layers.
    """
    from transformers.cache_utils import Cache

    own = Prefix(lengths)
    run = run or model.body
    if not prefixes and not keep:
        return run(input_ids=ids, use_cache=False), own
    kept = own.layers if keep else None
    layers = [_layer_class()(layer, prefixes, kept) for layer in range(model.n_layers)]
    start = sum((prefix.read_lengths for prefix in prefixes), torch.zeros(1, dtype=torch.long))
    positions = (start[:, None] + torch.arange(ids.shape[1])).expand(ids.shape)
    out = run(
        input_ids=ids,
        attention_mask=_mask(ids, prefixes),
        past_key_values=Cache(layers=layers),
        use_cache=True,
        **model.position_kwargs(positions.to(ids.device)),
    )
    return out, own


def _mask(ids: Tensor, prefixes: Sequence[Prefix]) -> Tensor | None:
    """One at tokens and zero at the padding of prefixes; None where nothing is padded."""
    if all(bool((prefix.lengths == prefix.width).all()) for prefix in prefixes):
        return None
    parts = [torch.arange(prefix.width) < prefix.read_lengths[:, None] for prefix in prefixes]
    parts = [part.expand(len(ids), -1) for part in parts]
    own = torch.ones(ids.shape, dtype=torch.bool)
    return torch.cat([*parts, own], dim=1).long().to(ids.device)


@cache
def _layer_class() -> type:
    from transformers.cache_utils import DynamicLayer  # not at the top: it takes seconds to import

    class PrefixLayer(DynamicLayer):
        """Shows attention the prefixes before the running tokens, which go to `kept`, if given."""

        def __init__(
            self, layer: int, prefixes: Sequence[Prefix], kept: list[KeyValues] | None
        ) -> None:
            super().__init__()
            self._layer, self._prefixes, self._kept = layer, prefixes, kept

        def update(
            self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            if self._kept is not None:
                self._kept.append((key_states, value_states))
            parts = [prefix.of_layer(self._layer, len(key_states)) for prefix in self._prefixes]
            if not parts:
                return key_states, value_states
            keys, values = zip(*parts, (key_states, value_states), strict=True)
            return torch.cat(keys, dim=-2), torch.cat(values, dim=-2)

        def get_seq_length(self) -> int:
            return sum(prefix.width for prefix in self._prefixes)

    return PrefixLayer


def repeat_rows(past: Any, rows: int, times: int) -> None:
    """Repeat each row of a cache of transformers, in place: row 0 `times` times, then row 1.

    As beam search reorders rows, which every kind of layer does for all that it holds;
    ``batch_repeat_interleave`` forgets the states of linear attention.
    """
    past.reorder_cache(torch.arange(rows).repeat_interleave(times))


def can_share_prefixes(model: Network, longest: int) -> bool:
    """Whether rows that read prefixes give the same results as rows run whole.

    Not where attention counts places in the cache, padding included (a window shorter than the row,
    chunks), or where a layer keeps a state instead of keys and values. Architectures do not say so
    in one way, so it is tried out on random tokens, once for a model and length: `longest` is that
    of the longest row with all prefixes that it reads, padding included.
    """
    trials, known = model.prefix_trials, model.prefix_trials.known
    if any(can and length >= longest for length, can in known.items()):
        return True
    if any(not can and length <= longest for length, can in known.items()):
        return False
    # The architecture is on trial, and not the edits of a block around this call.
    trials.running = True
    try:
        with torch.inference_mode():
            known[longest] = _caches_keys(model, longest) and _agrees_in_parts(
                model, max(longest, 6)
            )
    finally:
        trials.running = False
    return known[longest]


def _caches_keys(model: Network, longest: int) -> bool:
    """Whether every layer remembers a key and a value of each token, and no more, for so many."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    two = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    if not model.position_kwargs(two):
        return False
    past = getattr(model.body(input_ids=two, use_cache=True), "past_key_values", None)
    layers = getattr(past, "layers", None) or []
    # Other kinds hold a state or an index beside, and some hold it beside keys and values.
    return len(layers) == model.n_layers and all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer)
        and layer.keys.shape[-2] == 2
        and longest <= getattr(layer, "sliding_window", longest)
        for layer in layers
    )


def _agrees_in_parts(model: Network, length: int) -> bool:
    """Whether a row run in two parts, the first of them padded, gives the output of the whole.

    The padding is a third of the length: a window that counts it loses enough to be seen in half
    precision, too.
    """
    draw = torch.Generator().manual_seed(0)
    third = length // 3  # of the length, which may be more than a row has positions
    size = min(length - third, model.n_positions or length)
    row = torch.randint(model.n_tokens, (1, size), generator=draw).to(model.device)
    cut = size // 2
    whole = model.body(input_ids=row, use_cache=False)[0][:, cut:].float()
    padded = torch.nn.functional.pad(row[:, :cut], (0, third))
    _, first = run_with_prefixes(model, padded, torch.tensor([cut]), keep=True)
    out, _ = run_with_prefixes(model, row[:, cut:], torch.tensor([size - cut]), [first])
    error = torch.linalg.vector_norm(out[0].float() - whole) / torch.linalg.vector_norm(whole)
    return bool(error < (1e-4 if model.dtype in (torch.float32, torch.float64) else 3e-2))
