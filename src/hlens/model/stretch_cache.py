"""The cache that shows attention the stretches before the running tokens."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from hlens.model.stretches import KeyValues, Stretch


def cache_over(before: Sequence[Stretch], kept: list[KeyValues] | None, n_layers: int) -> Cache:
    """A cache for one forward pass.

    Args:
        before: What the rows read before their own tokens, in order.
        kept: Where the keys and values of the rows go, layer by layer; None keeps none.
        n_layers: Layers of the model.
    """
    return Cache(layers=[_Layer(number, before, kept) for number in range(n_layers)])


class _Layer(DynamicLayer):
    """Gives attention what stands before the running tokens, and keeps these only when asked."""

    def __init__(self, number: int, before: Sequence[Stretch], kept: list[KeyValues] | None):
        super().__init__()
        self._number = number
        self._before = before
        self._kept = kept

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if self._kept is not None:
            self._kept.append((key_states, value_states))
        parts = [stretch.of_layer(self._number, len(key_states)) for stretch in self._before]
        if not parts:
            return key_states, value_states
        keys, values = zip(*parts, (key_states, value_states), strict=True)
        return torch.cat(keys, dim=-2), torch.cat(values, dim=-2)

    def get_seq_length(self) -> int:
        return sum(stretch.width for stretch in self._before)
