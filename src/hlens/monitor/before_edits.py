"""A layer as it would have been at the tokens that it reads, had its own edit not acted.

Problem: a detector that decides when its own neurons are scaled would read the scaled activations:
silenced neurons look safe, the edit stops, they look risky, it begins again.

Idea: hold the activations that the edit finds, and add what it took from the MLP's output back to
it (a neuron writes its activation times its row of W_out). The edits of lower layers in the same
pass, and of earlier tokens by way of their keys and values, are in what the layer read, and stay.

Example: a neuron of activation 2 and row w is scaled by 0. The MLP writes ``out``; the detector
reads an activation of 2 beside an output of ``out + 2 w``, as without the edit.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.model import BlockActs, Mlp, MlpActs, split_index


class BeforeEdits:
    """Activations of one layer's neurons as the edits of a block find them."""

    def __init__(
        self, mlp: Mlp, edited: Int[Tensor, " edited"], read: Int[Tensor, " read"]
    ) -> None:
        """Hold the edited neurons and those that are `read`; both ascend."""
        self.index = torch.cat([edited, read]).unique()
        self.read = torch.searchsorted(self.index, read)
        self.rows = mlp.rows(self.index)
        self.found: Tensor | None = None

    @contextmanager
    def holding(self, mlp: Mlp) -> Iterator[None]:
        """Hold what an edit finds that is entered within this block."""
        with mlp.changing(self.index, self._hold):
            yield

    def _hold(self, acts: BlockActs, own: Tensor, flat: Tensor) -> BlockActs:
        columns = acts.columns(own.to(acts.values.device))
        # Every pass overwrites all columns, those of a prompt, which is not read, too.
        if self.found is None or len(self.found) != len(columns):
            self.found = columns.new_zeros(len(columns), len(self.index))
        self.found[:, torch.searchsorted(self.index, flat).to(columns.device)] = columns
        return acts

    def restore(
        self, acts: MlpActs, output: Float[Tensor, "token d_model"]
    ) -> tuple[Float[Tensor, "token read"], Float[Tensor, "token d_model"]]:
        """Weighted activations of the read neurons and the output, without the edit."""
        found = self.found
        assert found is not None  # a layer is edited before it writes
        factor, now = torch.ones_like(found), []
        start = 0
        for block, own in zip(acts.blocks, split_index(self.index, acts.widths), strict=True):
            own = own.to(found.device)
            now.append(block.columns(own))
            if (weights := block.weights(own)) is not None:
                factor[:, start : start + len(own)] = weights.to(found.dtype)
            start += len(own)
        taken = (found - torch.cat(now, dim=-1)) * factor
        if bool(taken.any()):  # where nothing was edited, not even the rounding changes
            output = output + (taken.to(self.rows) @ self.rows).to(output)
        return (found * factor)[:, self.read.to(found.device)], output
