"""The neurons that are the input of one down projection: a dense MLP, or a shared expert.

A shared expert may have a gate of its own (Qwen 2 MoE): one logit a token, whose sigmoid multiplies
what the block writes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hlens.model.mlp import Block, BlockActs, Gather
from hlens.model.own_thread import hook_input, hook_output
from hlens.model.projection import (
    bias_of,
    has_plain_rows,
    rounding_of,
    rows_of,
    tensors_of,
    width_of,
)


@dataclass(frozen=True, eq=False)
class DenseActs(BlockActs):
    """Activations of a block that reads every token."""

    values: Float[Tensor, "*token neuron"]
    gate: Float[Tensor, "*token one"] | None = None  # factor of what the block writes

    def columns(self, index: Int[Tensor, " neuron"]) -> Float[Tensor, "token neuron"]:
        chosen = self.values.index_select(-1, index)
        return chosen.reshape(-1, len(index))

    def with_columns(
        self, index: Int[Tensor, " neuron"], columns: Float[Tensor, "token neuron"]
    ) -> "DenseActs":
        shape = (*self.values.shape[:-1], len(index))
        columns = columns.to(self.values.dtype).reshape(shape)
        return DenseActs(self.values.index_copy(-1, index, columns), self.gate)

    def reached(self, index: Int[Tensor, " neuron"]) -> None:
        return None

    def weights(self, index: Int[Tensor, " neuron"]) -> Float[Tensor, "token neuron"] | None:
        return None if self.gate is None else self.gate.reshape(-1, 1).expand(-1, len(index))

    def weighted(self, gather: Gather | None = None) -> Float[Tensor, "*pos neuron"]:
        values = self.whole() if gather is None else gather(self.values)
        if self.gate is None:
            return values
        gate = self.gate.reshape(-1, 1)
        return values * (gate if gather is None else gather(gate)).to(values.dtype)

    def reached_at(self, gather: Gather) -> Bool[Tensor, "*pos neuron"]:
        return torch.ones_like(gather(self.values), dtype=torch.bool)

    def whole(self) -> Float[Tensor, "token neuron"]:
        return self.values.reshape(-1, self.values.shape[-1])

    def with_values(self, values: Tensor) -> "DenseActs":
        return DenseActs(values, self.gate)

    def with_gradient(self, gradient: Tensor) -> "DenseActs":
        if self.gate is None:
            return DenseActs(gradient)
        gate = self.gate.reshape(*gradient.shape[:-1], 1)
        return DenseActs(gradient / gate.square().clamp_min(1e-30), self.gate)


@dataclass(frozen=True, eq=False)
class DenseBlock(Block):
    """The neurons that are the input of one down projection.

    Attributes:
        down: The down projection.
        changed_at: The module whose input is exchanged; a bridge's module around `down`, so that
            its ``hook_in`` sees the change.
        gate: Module of one logit a token, whose sigmoid multiplies what the block writes.
    """

    down: nn.Module
    changed_at: nn.Module | None = None
    gate: nn.Module | None = None

    @property
    def width(self) -> int:
        return width_of(self.down)

    @property
    def module(self) -> nn.Module:
        return self.down

    @property
    def experts_of(self) -> tuple[int, int]:
        return 0, 0

    @property
    def rounding(self) -> float:
        return rounding_of(self.down)

    @contextmanager
    def reading(self, read: Callable[[DenseActs, Tensor], None]) -> Iterator[None]:
        if self.gate is None:

            def pass_on(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
                read(DenseActs(args[0]), output)

            with hook_output(self.down, pass_on):
                yield
            return
        held: list[tuple[Tensor, Tensor]] = []

        def hold(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            held[:] = [(args[0], output)]

        def pass_gated(module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
            (act, out), gate = held.pop(), output.sigmoid()
            read(DenseActs(act, gate), gate.reshape(*out.shape[:-1], 1) * out)

        with hook_output(self.down, hold), hook_output(self.gate, pass_gated):
            yield

    @contextmanager
    def changing(self, change: Callable[[DenseActs], DenseActs]) -> Iterator[None]:
        def exchange(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (change(DenseActs(args[0])).values, *args[1:])

        with hook_input(self.changed_at or self.down, exchange):
            yield

    def rows(self, index: Int[Tensor, " neuron"] | None = None) -> Float[Tensor, "neuron d_model"]:
        return rows_of(self.down, index)

    def write_rows(
        self, index: Int[Tensor, " neuron"], rows: Float[Tensor, "neuron d_model"]
    ) -> None:
        assert has_plain_rows(self.down)  # a copy would take the rows and change nothing
        whole = self.rows()
        whole[index.to(whole.device)] = rows.to(whole)

    def bias(self, acts: DenseActs) -> Tensor | None:
        own = bias_of(self.down)
        if own is None or acts.gate is None:
            return own
        return acts.gate.reshape(-1, 1) * own

    def tensors(self) -> list[Tensor]:
        return tensors_of(self.down)
