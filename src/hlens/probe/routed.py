"""The matrix of a mixture of experts: only the examples that use an expert are kept of its neurons.

Problem: the contributions of 128 experts a layer are zero in most answers, since a token is routed
to eight of them; as a dense matrix 1,000 answers of a model of 4.7 million neurons are 19 GB.

Idea: all neurons of an expert contribute in the same examples. So each expert is a dense block
``[neuron, example that uses it]`` with one list of examples, and a product with residuals is a
product of dense blocks with some of their entries. No index is kept for a single value.

Example, 2 experts of 3 neurons over 5 examples, the first used in examples 0 and 3::

    expert 0   examples [0, 3]      values [3, 2]
    expert 1   examples [1, 2, 4]   values [3, 3]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.probe.design import Design
from hlens.probe.resources import empty
from hlens.types import Contributions, experts_in

BLOCK_NEURONS = 4096  # of what stands beside the experts, which is used by every example


@dataclass(frozen=True, eq=False)
class Block:
    """Features that are zero outside of the same examples."""

    start: int  # first feature
    examples: Int[Tensor, " used"]
    values: Float[Tensor, "feature used"]

    @property
    def features(self) -> slice:
        return slice(self.start, self.start + len(self.values))

    def __len__(self) -> int:
        return len(self.values)


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
        """Memory of the values and of the lists of examples."""
        tensors = [t for block in self.blocks for t in (block.values, block.examples)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @classmethod
    def from_contributions(cls, data: Contributions) -> "RoutedMatrix":
        """What is not zero of the contributions of a mixture, read an expert at a time."""
        blocks: list[Block] = []
        for layer in range(data.n_layers):
            of = experts_in(data.provenance.experts, layer, data.d_mlp)
            cuts = np.flatnonzero(np.r_[True, np.diff(of) != 0, True])
            for start, stop in pairwise(cuts):
                for first in range(int(start), int(stop), BLOCK_NEURONS):
                    last = min(first + BLOCK_NEURONS, int(stop))
                    values = data.values[:, layer, first:last].T
                    used = (values != 0).any(dim=0).nonzero().flatten()
                    if len(used):
                        kept = values[:, used].contiguous()
                        blocks.append(Block(layer * data.d_mlp + first, used, kept))
        return cls(blocks, (len(data), data.n_layers * data.d_mlp))


class RoutedDesign(Design):
    """A `RoutedMatrix` as the solver reads it: one block is one chunk."""

    def __init__(self, routed: RoutedMatrix, threads: int | None = None) -> None:
        super().__init__(torch.empty(routed.shape[::-1], device="meta"), threads)
        self.routed, self.device = routed, torch.device("cpu")

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([block.start for block in self.routed.blocks])

    def map_chunks(self, work: Any) -> list[Any]:
        return self.map(lambda block: work(block.features, block), self.routed.blocks)

    def abs_products(self, residuals: Tensor, chunk: Any) -> Tensor:
        values = chunk.values.to(self.dtype)
        out = self.buffer("products", (len(residuals), len(values)), self.dtype)
        torch.mm(residuals[:, chunk.examples], values.T, out=out)
        return out.abs_()

    def gather(self, features: np.ndarray, examples: np.ndarray | None = None) -> np.ndarray:
        n = self.n_examples if examples is None else len(examples)
        out = empty((len(features), n), np.dtype(np.float32))
        out[:] = 0.0
        place = np.full(self.n_examples, -1)
        place[np.arange(n) if examples is None else examples] = np.arange(n)
        owner = np.searchsorted(self._starts, features, side="right") - 1
        for number in np.unique(owner[owner >= 0]):
            block = self.routed.blocks[number]
            rows = np.flatnonzero(owner == number)
            inside = rows[features[rows] < block.features.stop]
            to = place[block.examples.numpy()]
            values = block.values[features[inside] - block.start].float().numpy()
            out[np.ix_(inside, to[to >= 0])] = values[:, to >= 0]
        return out

    def variance(self, weights: Tensor) -> Tensor:
        weights = weights.double()
        out = torch.zeros(len(weights), self.n_features, dtype=self.dtype)

        def fill(features: slice, block: Block) -> None:
            # About zero, where most examples are, and in float64, since the mean is near it.
            own, values = weights[:, block.examples], block.values.double()
            mean = own @ values.T
            out[:, features] = (own @ values.square().T - mean.square()).clamp_min(0).to(out)

        self.map_chunks(fill)
        return out

    def check_finite(self) -> None:
        for block in self.routed.blocks:
            broken = (~block.values.isfinite()).nonzero()
            if len(broken):
                feature, used = broken[0].tolist()
                raise HlensError(
                    f"the contributions hold {float(block.values[feature, used])}: example "
                    f"{int(block.examples[used])}, neuron (feature) {block.start + feature}; drop "
                    "that example or measure it again"
                )
