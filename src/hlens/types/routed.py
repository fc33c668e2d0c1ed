"""What a mixture's neurons contributed, kept an expert at a time: most of it is zero.

Problem: a token is routed to a few experts, so that the contributions of 128 experts a layer are
zero in most answers; kept whole, 1,000 answers of a model of 4.7 million neurons are 19 GB.

Idea: all neurons of an expert contribute in the same examples. So each expert is a dense block
``[neuron, example that uses it]`` with one list of examples. No index is kept for a single value,
and an expert is read without the others.

Example, 2 experts of 3 neurons over 5 examples, the first used in examples 0 and 3::

    expert 0   examples [0, 3]      values [3, 2]
    expert 1   examples [1, 2, 4]   values [3, 3]
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils._pytree import tree_map

from hlens.errors import HlensError
from hlens.types.experts import Experts, layers_of

BLOCK_NEURONS = 4096  # of what stands beside the experts, which is used by every example


@dataclass(frozen=True, eq=False)
class Block:
    """Features that are zero outside of the same examples."""

    start: int  # first feature
    examples: Int[Tensor, " used"]  # ascending
    values: Float[Tensor, "feature used"]

    @property
    def features(self) -> slice:
        return slice(self.start, self.start + len(self.values))

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of(cls, start: int, values: Float[Tensor, "feature example"]) -> "Block":
        """The block of some features, of which only the examples are kept that use them."""
        used = (values != 0).any(dim=0).nonzero().flatten()
        return cls(start, used, values if len(used) == values.shape[1] else values[:, used])


@dataclass(frozen=True, eq=False)
class RoutedMatrix:
    """A matrix ``[example, feature]`` of a mixture, as `hlens.SparseProbe` reads it.

    Attributes:
        blocks: Of consecutive features, in order; features of no block are zero.
        shape: Examples and features.
    """

    blocks: Sequence[Block]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def n_values(self) -> int:
        """How many values are kept."""
        return sum(block.values.numel() for block in self.blocks)

    @property
    def n_bytes(self) -> int:
        """Size of the values and of the lists of examples."""
        tensors = [t for block in self.blocks for t in (block.values, block.examples)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([block.start for block in self.blocks])

    def rows(
        self, features: np.ndarray, examples: np.ndarray | None = None
    ) -> Float[Tensor, "chosen example"]:
        """Some features of all or some examples, with their zeros."""
        n = len(self) if examples is None else len(examples)
        dtype = self.blocks[0].values.dtype if self.blocks else torch.float32
        out = torch.zeros(len(features), n, dtype=dtype)
        place = np.full(len(self), -1)
        place[np.arange(n) if examples is None else examples] = np.arange(n)
        owner = np.searchsorted(self._starts, features, side="right") - 1
        for number in np.unique(owner[owner >= 0]):
            block = self.blocks[number]
            own = np.flatnonzero(owner == number)
            own = own[features[own] < block.features.stop]
            to = torch.from_numpy(place[block.examples.numpy()])
            values = block.values[torch.from_numpy(features[own] - block.start)]
            out[torch.from_numpy(own)[:, None], to[to >= 0]] = values[:, to >= 0]
        return out

    def select(self, examples: Int[Tensor, " chosen"]) -> "RoutedMatrix":
        """The matrix of some examples, in the given order."""
        blocks = []
        for block in self.blocks:
            column = torch.full((len(self),), -1)
            column[block.examples] = torch.arange(len(block.examples))
            columns = column[examples]
            used = (columns >= 0).nonzero().flatten()
            if len(used):
                blocks.append(Block(block.start, used, block.values[:, columns[used]]))
        return RoutedMatrix(blocks, (len(examples), self.shape[1]))

    @classmethod
    def join(cls, parts: Sequence["RoutedMatrix"]) -> "RoutedMatrix":
        """The examples of all parts, in order; of one mixture, so that blocks begin alike."""
        own: dict[int, list[Block]] = {}
        n = 0
        for part in parts:
            for block in part.blocks:
                moved = replace(block, examples=block.examples + n)
                own.setdefault(block.start, []).append(moved)
            n += len(part)
        blocks = [
            Block(
                start,
                torch.cat([one.examples for one in some]),
                torch.cat([one.values for one in some], dim=1),
            )
            for start, some in sorted(own.items())
        ]
        return cls(blocks, (n, parts[0].shape[1]))


class RoutedValues(Tensor):
    """``[example, layer, neuron]`` of a mixture, kept as a `RoutedMatrix` until it is asked for.

    To everybody it is the tensor that it stands for. That tensor is made whole, for the length of
    an operation, by whatever is not answered from the blocks: its shape, and ``values[:, layer]``
    or ``values[:, layer, first:last]``.
    """

    matrix: RoutedMatrix

    @staticmethod
    def __new__(cls, matrix: RoutedMatrix, n_layers: int, dtype: torch.dtype) -> "RoutedValues":
        n, features = matrix.shape
        shape = (n, n_layers, features // n_layers)
        made = Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=torch.device("cpu"))
        made.matrix = matrix
        return made

    def __init__(self, matrix: RoutedMatrix, n_layers: int, dtype: torch.dtype) -> None:
        """Of blocks over the flat index of all layers; every layer has as many places."""

    def split_layers(self, n: int) -> list["RoutedValues"]:
        """The values of `n` equal shares of the layers."""
        layers, features = self.shape[1] // n, self.matrix.shape[1] // n
        own: list[list[Block]] = [[] for _ in range(n)]
        for block in self.matrix.blocks:
            part, start = divmod(block.start, features)
            own[part].append(replace(block, start=start))
        matrices = [RoutedMatrix(blocks, (len(self), features)) for blocks in own]
        return [RoutedValues(matrix, layers, self.dtype) for matrix in matrices]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.__name__ in _OF_SHAPE:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        if func is Tensor.__setitem__ or re.fullmatch(r"[a-z]\w*[^_]_", func.__name__):
            raise HlensError(
                f"{func.__name__} would write into what a mixture's store holds; give values of "
                "your own, such as a copy: replace(data, values=data.values.clone())"
            )
        if func is Tensor.__getitem__ and (part := _asked_part(*args)) is not None:
            return part
        return cls.__torch_dispatch__(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map(_whole, (args, kwargs or {}))
        return func(*args, **kwargs)


# Answered without the values; "__get__" is of shape, dtype, device and the like.
_OF_SHAPE = ("__get__", "size", "dim", "numel", "__len__", "element_size", "is_floating_point")


def _whole(value: Any) -> Any:
    """The tensor that routed values stand for; anything else as it is."""
    if not isinstance(value, RoutedValues):
        return value
    n, n_layers, d_mlp = value.shape
    whole = torch.zeros(n_layers * d_mlp, n, dtype=value.dtype)
    for block in value.matrix.blocks:
        whole[block.features, block.examples] = block.values
    return whole.reshape(n_layers, d_mlp, n).permute(2, 0, 1)


def _asked_part(values: RoutedValues, key: Any) -> Tensor | None:
    """``values[:, layer]`` and ``values[:, layer, first:last]``; None for another key."""
    if not (isinstance(key, tuple) and 2 <= len(key) <= 3 and key[0] == slice(None)):
        return None
    layer, part = key[1], key[2] if len(key) == 3 else slice(None)
    _, n_layers, d_mlp = values.shape
    if not (isinstance(layer, int) and -n_layers <= layer < n_layers and isinstance(part, slice)):
        return None
    first = layer % n_layers * d_mlp
    return values.matrix.rows(np.arange(first, first + d_mlp)[part]).T


def cut_by_expert(experts: Experts, n_layers: int, d_mlp: int) -> Iterator[tuple[int, slice]]:
    """Layer, and indices in it, of each expert, and of what stands beside them in pieces."""
    for layer, (n, width, beside) in enumerate(layers_of(experts, n_layers, d_mlp)):
        for start in range(0, n * width, max(width, 1)):
            yield layer, slice(start, start + width)
        stop = n * width + beside
        for start in range(n * width, stop, BLOCK_NEURONS):
            yield layer, slice(start, min(start + BLOCK_NEURONS, stop))


def routed_blocks(
    read: Callable[[int, slice], Float[Tensor, "neuron example"]],
    experts: Experts,
    n_layers: int,
    d_mlp: int,
) -> list[Block]:
    """The blocks of a mixture whose contributions are read an expert at a time."""
    blocks = [
        Block.of(layer * d_mlp + part.start, read(layer, part))
        for layer, part in cut_by_expert(experts, n_layers, d_mlp)
    ]
    return [block for block in blocks if len(block.examples)]
