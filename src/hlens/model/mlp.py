"""The MLP of one layer: where its neurons are read and changed, and their rows of W_out.

Problem: in a dense MLP the neurons are the input of one module, the down projection, and its output
is the MLP's. In a mixture they are spread over experts, each of which reads some of the tokens, and
a shared expert may stand beside them with a gate of its own.

Idea: an `Mlp` is a row of blocks of neurons under one flat index. A block says when it has run,
with its activations and what it wrote; the MLP has run when all of its blocks have, and what it
wrote is their sum. Who reads or changes neurons never asks what kind of block they are in.

Example, a mixture of 2 experts of 3 neurons and a shared expert of 4::

    index    0 1 2 | 3 4 5 | 6 7 8 9
    block    experts         shared
    address  E0N0..  E1N0..  SN0..

Activations are read *with* the weight by which the router or a gate multiplies what they write, so
that activation times row of W_out is what reaches the residual stream. They are changed *without*
it, as the down projection reads them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hlens.model.projection import (
    has_plain_rows,
)
from hlens.model.weights import device_of

Gather = Callable[[Tensor], Tensor]  # the read positions of ``[row * pos, ...]``
_NORM_ROWS = 1 << 16  # of W_out that are widened at a time


class BlockActs(ABC):
    """The activations of a block at all tokens of a pass."""

    values: Tensor  # as the down projection reads them, however the block keeps them

    @abstractmethod
    def columns(self, index: Int[Tensor, " neuron"]) -> Float[Tensor, "token neuron"]:
        """Activations of some neurons as the down projection reads them; 0 where not routed."""

    @abstractmethod
    def with_columns(
        self, index: Int[Tensor, " neuron"], columns: Float[Tensor, "token neuron"]
    ) -> "BlockActs":
        """The same with these columns exchanged, wherever their expert reads the token."""

    @abstractmethod
    def reached(self, index: Int[Tensor, " neuron"]) -> Bool[Tensor, "token neuron"] | None:
        """Where each neuron's expert reads the token; None for everywhere."""

    @abstractmethod
    def weights(self, index: Int[Tensor, " neuron"]) -> Float[Tensor, "token neuron"] | None:
        """What router or gate multiplies each neuron's writing by; None for one."""

    @abstractmethod
    def weighted(self, gather: Gather | None = None) -> Float[Tensor, "*pos neuron"]:
        """All activations at the gathered positions, times what their writing is multiplied by.

        Without `gather` at all tokens, ``[row * pos, neuron]``.
        """

    @abstractmethod
    def reached_at(self, gather: Gather) -> Bool[Tensor, "*pos neuron"]:
        """Where the neurons' experts read the gathered positions; everywhere, beside experts."""

    @abstractmethod
    def whole(self) -> Float[Tensor, "token neuron"]:
        """All activations at all tokens, as the down projection reads them."""

    @abstractmethod
    def with_values(self, values: Tensor) -> Any:
        """The same with all values exchanged."""

    @abstractmethod
    def with_gradient(self, gradient: Tensor) -> Any:
        """Acts whose `weighted` is the gradient by the weighted activations.

        `gradient` is that by `values`, as they are kept.
        """


class Block(ABC):
    """Neurons of a layer that are run by one module, under a range of its flat index."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many neurons it has."""

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """The module that runs them."""

    @property
    @abstractmethod
    def experts_of(self) -> tuple[int, int]:
        """How many experts they are of, and the neurons of each; no experts for a dense block."""

    @property
    def rounding(self) -> float:
        """How far quantised weights may be off their own rows in what they write, relative."""
        return 0.0

    @abstractmethod
    def reading(self, read: Callable[[Any, Tensor], None]) -> Any:
        """Within a block of code, call `read` with activations and what they wrote."""

    @abstractmethod
    def changing(self, change: Callable[[Any], Any]) -> Any:
        """Within a block of code, exchange the activations for what `change` returns."""

    @abstractmethod
    def rows(self, index: Int[Tensor, " neuron"] | None = None) -> Float[Tensor, "neuron d_model"]:
        """Rows of W_out; all of them a view where memory allows, else a copy."""

    @abstractmethod
    def write_rows(
        self, index: Int[Tensor, " neuron"], rows: Float[Tensor, "neuron d_model"]
    ) -> None:
        """Write rows of W_out in place."""

    @abstractmethod
    def bias(self, acts: Any) -> Tensor | None:
        """What is written beside the neurons: one for all tokens, or one for each."""

    @abstractmethod
    def tensors(self) -> list[Tensor]:
        """The weights that hold W_out."""


@dataclass(frozen=True, eq=False)
class MlpActs:
    """The activations of a layer: those of its blocks, under one flat index."""

    blocks: Sequence[BlockActs]
    widths: Sequence[int]

    def weighted(self, gather: Gather | None = None) -> Float[Tensor, "*pos neuron"]:
        """All activations at the gathered positions, times what router and gates multiply by.

        Without `gather` at all tokens, ``[row * pos, neuron]``.
        """
        parts = [block.weighted(gather) for block in self.blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def reached_at(self, gather: Gather) -> Bool[Tensor, "*pos neuron"]:
        """Where each neuron's expert reads the gathered positions; all, beside the experts."""
        return torch.cat([block.reached_at(gather) for block in self.blocks], dim=-1)

    def weighted_columns(self, index: Int[Tensor, " neuron"]) -> Float[Tensor, "token neuron"]:
        """The same of some neurons alone, at all tokens; `index` ascends."""
        parts = []
        for block, own in zip(self.blocks, split_index(index, self.widths), strict=True):
            if len(own):
                columns, weights = block.columns(own), block.weights(own)
                parts.append(columns if weights is None else columns * weights.to(columns.dtype))
        return torch.cat(parts, dim=-1)

    def whole(self) -> Float[Tensor, "token neuron"]:
        """All activations at all tokens, as the down projections read them."""
        return torch.cat([block.whole() for block in self.blocks], dim=-1)

    def with_values(self, values: Sequence[Tensor]) -> "MlpActs":
        """The same with the values of each block exchanged."""
        pairs = zip(self.blocks, values, strict=True)
        return MlpActs([block.with_values(own) for block, own in pairs], self.widths)

    def with_gradients(self, gradients: Sequence[Tensor]) -> "MlpActs":
        """The same of all blocks, from the gradient by each one's values."""
        pairs = zip(self.blocks, gradients, strict=True)
        return MlpActs([block.with_gradient(own) for block, own in pairs], self.widths)


Read = Callable[[MlpActs, Tensor], None]


@dataclass(frozen=True, eq=False)
class Mlp:
    """The MLP of one layer: its blocks of neurons, under one flat index."""

    blocks: tuple[Block, ...]

    @property
    def widths(self) -> list[int]:
        """Neurons of each block."""
        return [block.width for block in self.blocks]

    @property
    def width(self) -> int:
        """Neurons of the layer."""
        return sum(self.widths)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return device_of(self.blocks[0].module)

    @property
    def rounding(self) -> float:
        """How far quantised weights may be off their own rows in what they write, relative."""
        return max((block.rounding for block in self.blocks), default=0.0)

    @property
    def copies_rows(self) -> bool:
        """Whether rows of W_out are made when they are asked for, and are no view of weights."""
        return len(self.blocks) > 1 or not all(has_plain_rows(one.module) for one in self.blocks)

    @property
    def experts(self) -> tuple[int, int, int]:
        """How many experts, neurons of each, and neurons beside them."""
        n, width = next((b.experts_of for b in self.blocks if b.experts_of[0]), (0, 0))
        return n, width, self.width - n * width

    @contextmanager
    def reading(self, read: Read) -> Iterator[None]:
        """Call `read` with activations and output of the MLP whenever it has run.

        In this thread, for the length of a block of code. What several blocks wrote comes with
        tokens flattened: ``[row * pos, d_model]``.
        """
        widths = self.widths
        if len(self.blocks) == 1:
            with self.blocks[0].reading(lambda acts, out: read(MlpActs([acts], widths), out)):
                yield
            return
        ran: dict[int, tuple[Any, Tensor]] = {}

        def collect(number: int, acts: Any, out: Tensor) -> None:
            ran[number] = acts, out.reshape(-1, out.shape[-1])
            if len(ran) == len(self.blocks):
                parts = [ran.pop(each) for each in range(len(self.blocks))]
                whole = torch.stack([part for _, part in parts]).sum(0)
                read(MlpActs([acts for acts, _ in parts], widths), whole)

        with ExitStack() as stack:
            for number, block in enumerate(self.blocks):
                hook = _numbered(collect, number)
                stack.enter_context(block.reading(hook))
            yield

    @contextmanager
    def changing(
        self, index: Int[Tensor, " neuron"], change: Callable[[BlockActs, Tensor, Tensor], Any]
    ) -> Iterator[None]:
        """Exchange activations of some neurons whenever the MLP runs.

        `change` is called once for each block that has some of them, with its activations, the
        neurons' indices in the block, and their flat indices in the layer; `index` ascends.
        """
        with ExitStack() as stack:
            start = 0
            for block, own in zip(self.blocks, split_index(index, self.widths), strict=True):
                if len(own):
                    exchange = _for_block(change, own, own + start)
                    stack.enter_context(block.changing(exchange))
                start += block.width
            yield

    def rows(self, index: Int[Tensor, " neuron"] | None = None) -> Float[Tensor, "neuron d_model"]:
        """Rows of W_out, one a neuron; all of them a view where memory allows, else a copy."""
        if len(self.blocks) == 1:
            return self.blocks[0].rows(index)
        if index is None:
            return torch.cat([block.rows() for block in self.blocks])
        split = split_index(index, self.widths)
        return torch.cat([b.rows(own) for b, own in zip(self.blocks, split, strict=True)])

    def write_rows(
        self, index: Int[Tensor, " neuron"], rows: Float[Tensor, "neuron d_model"]
    ) -> None:
        """Write rows of W_out in place; `index` ascends."""
        start = 0
        for block, own in zip(self.blocks, split_index(index, self.widths), strict=True):
            block.write_rows(own, rows[start : start + len(own)])
            start += len(own)

    def row_norms(self) -> Float[Tensor, " neuron"]:
        """Euclidean norm of each row of W_out, float32, on the CPU."""
        # In pieces: an expert layer in float32 may be larger than the memory that is left.
        parts = []
        for block in self.blocks:
            for piece in torch.arange(block.width).split(_NORM_ROWS):
                rows = block.rows() if len(piece) == block.width else block.rows(piece)
                parts.append(torch.linalg.vector_norm(rows.float(), dim=1).cpu())
        return torch.cat(parts)

    def written_beside(self, acts: MlpActs) -> Tensor | None:
        """What the MLP writes that is of no neuron: its biases, or None."""
        own = [block.bias(of) for block, of in zip(self.blocks, acts.blocks, strict=True)]
        there = [bias for bias in own if bias is not None]
        return None if not there else sum(there[1:], start=there[0])

    def tensors(self) -> list[Tensor]:
        """The weights that hold W_out."""
        return [tensor for block in self.blocks for tensor in block.tensors()]


def split_index(index: Int[Tensor, " neuron"], widths: Sequence[int]) -> list[Int[Tensor, " _"]]:
    """An ascending flat index, as one index for each block.

    >>> [own.tolist() for own in split_index(torch.tensor([1, 5, 6, 9]), [6, 4])]
    [[1, 5], [0, 3]]
    """
    if len(widths) == 1:
        return [index]
    split, start = [], 0
    for width in widths:
        split.append(index[(index >= start) & (index < start + width)] - start)
        start += width
    return split


def _numbered(collect: Callable[[int, Any, Tensor], None], number: int) -> Any:
    return lambda acts, out: collect(number, acts, out)


def _for_block(change: Callable[[Any, Tensor, Tensor], Any], own: Tensor, flat: Tensor) -> Any:
    return lambda acts: change(acts, own, flat)
