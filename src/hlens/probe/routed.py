"""The matrix of a mixture of experts as the solver reads it: an expert is a chunk.

A product with residuals is one of dense blocks (`hlens.types.routed`) with some of their entries.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hlens.errors import HlensError
from hlens.probe.design import Design
from hlens.types import Block, RoutedMatrix


class RoutedDesign(Design):
    """A `RoutedMatrix` as the solver reads it: one block is one chunk."""

    def __init__(self, routed: RoutedMatrix, threads: int | None = None) -> None:
        whole = torch.empty(routed.shape[::-1], device="meta")  # of which the shape is read alone
        super().__init__(whole, threads)
        self.routed, self.device = routed, torch.device("cpu")

    def map_chunks(self, work: Any) -> list[Any]:
        return self.map(lambda block: work(block.features, block), self.routed.blocks)

    def abs_products(self, residuals: Tensor, chunk: Any) -> Tensor:
        values = chunk.values.to(self.dtype)
        out = self.buffer("products", (len(residuals), len(values)), self.dtype)
        torch.mm(residuals[:, chunk.examples], values.T, out=out)
        return out.abs_()

    def gather(self, features: np.ndarray, examples: np.ndarray | None = None) -> np.ndarray:
        return self.routed.rows(features, examples).float().numpy()

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
