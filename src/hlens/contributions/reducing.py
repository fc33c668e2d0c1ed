"""The reducer: hooks on the down projections that keep only the numbers that are asked for."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hlens.contributions.regions import Ask
from hlens.contributions.rows import Readout
from hlens.metrics import Factors, factors_of, reads_rows
from hlens.model import MlpActs, Model
from hlens.types import MlpTrace
from hlens.types.norms import post_mlp_norm


class Reducer:
    """Reduces each layer's neurons while the forward pass is in that layer.

    What it holds grows with sequences x neurons x asks, and never with the number of tokens.
    Everything is summed in float32, whatever the model computes in.
    """

    def __init__(self, model: Model, asks: Sequence[Ask]) -> None:
        self.model = model
        self.asks = list(asks)
        # Where the running pass is read; None switches the hooks off.
        self.readout: Readout | None = None
        # [ask, layer, sequence, member, neuron] of the last pass, on the CPU.
        self.results = torch.empty(0)
        self._pinned = False
        self._reads_rows = not model.copies_rows or any(reads_rows(ask.metric) for ask in asks)
        pairs = zip(model.mlps, model.w_norms, strict=True)
        self._norms = [norms[: mlp.width].to(mlp.device) for mlp, norms in pairs]
        self._gains = [post_gain(model, layer) for layer in range(model.n_layers)]

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Read the down projections for the length of a block."""
        with ExitStack() as stack:
            for layer, mlp in enumerate(self.model.mlps):
                stack.enter_context(mlp.reading(partial(self._read, layer)))
            yield

    def begin(self, readout: Readout | None) -> None:
        """Prepare for one forward pass."""
        self.readout = readout
        if readout is None:
            return
        n_asks, sequences, members, _ = readout.weights.shape
        shape = (n_asks, self.model.n_layers, sequences, members, self.model.d_mlp)
        # Pinned, so that a GPU does not wait for each layer's result to be copied off it.
        self._pinned = readout.weights.is_cuda
        # Zeros where a mixture's layer has fewer neurons than its widest.
        made = torch.zeros if self.model.experts else torch.empty
        self.results = made(shape, pin_memory=self._pinned)

    def _read(self, layer: int, acts: MlpActs, out: Tensor) -> None:
        if self.readout is None:
            return
        gather = self.readout.gather
        act = acts.weighted(gather).detach()
        trace = self.trace(layer, act, gather(out.detach()))
        if any(ask.counts for ask in self.asks):
            trace = replace(trace, used=acts.reached_at(gather))
        self.reduce(layer, self.readout, trace)

    def trace(self, layer: int, act: Tensor, out: Tensor) -> MlpTrace:
        """The trace of one layer, of activations and outputs at the read positions."""
        # Rows may have to be copied or unpacked, which for most metrics would be in vain.
        shape = act.shape[-1], out.shape[-1]
        rows = self.model.w_out(layer) if self._reads_rows else torch.empty(shape, device="meta")
        norms, gain = self._norms[layer], self._gains[layer]
        return MlpTrace(act, out, rows, row_norms=norms, post_gain=gain)

    def reduce(self, layer: int, readout: Readout, trace: MlpTrace) -> None:
        weights = readout.weights.to(trace.act.device)
        # Asks that read the same function of the activation share one matrix product.
        by_act: dict[Any, list[tuple[int, Factors]]] = {}
        for number, ask in enumerate(self.asks):
            if ask.counts:
                assert trace.used is not None
                self._keep(number, layer, torch.bmm(weights[number], trace.used.float()))
                continue
            factors = factors_of(ask.metric)
            if factors is None or ask.reduce == "max":
                self._keep(number, layer, _reduce_whole(ask, weights[number], trace))
            else:
                by_act.setdefault(factors.act, []).append((number, factors))
        for act, factored in by_act.items():
            scaled = [_scale(weights[number], factors, trace) for number, factors in factored]
            sums = torch.bmm(torch.cat(scaled, dim=1), act(trace.act).float())
            parts = sums.chunk(len(factored), dim=1)
            for (number, factors), part in zip(factored, parts, strict=True):
                reduced = part * factors.neuron(trace) if factors.neuron else part
                self._keep(number, layer, reduced)

    def _keep(self, number: int, layer: int, reduced: Tensor) -> None:
        # Into unpinned memory, a copy that is not waited for may arrive too late.
        to = self.results[number, layer, ..., : reduced.shape[-1]]
        to.copy_(reduced, non_blocking=self._pinned)

    def wait(self) -> None:
        """Wait until the GPUs have copied off what they computed."""
        if self._pinned:
            for device in {norms.device for norms in self._norms}:
                torch.cuda.synchronize(device)


def post_gain(model: Model, layer: int) -> Tensor | None:
    """Gain of the norm behind the MLP, or None where the architecture has none."""
    norm = post_mlp_norm(model.bridge.blocks[layer], model.d_model)
    return None if norm is None else norm.gain


def _scale(weights: Tensor, factors: Factors, trace: MlpTrace) -> Tensor:
    """The weight of each position times the metric's factor there."""
    if factors.pos is None:
        return weights
    # Where the weight is zero (padding) the factor may be anything, infinity included.
    by_position = factors.pos(trace.out, trace.post_gain)[:, None, :]
    return torch.where(weights == 0, 0.0, weights * by_position)


def _reduce_whole(ask: Ask, weights: Tensor, trace: MlpTrace) -> Tensor:
    """A formula without factors: its value at each read position, then reduced."""
    values = ask.metric(trace).float()
    if ask.reduce != "max":
        # A user's formula may give NaN at padding, and NaN times zero is NaN.
        used = (weights > 0).any(dim=1)[..., None]
        return torch.bmm(weights, torch.where(used, values, 0.0))
    members = [
        torch.where(weights[:, member, :, None] > 0, values, -torch.inf).amax(dim=1)
        for member in range(weights.shape[1])
    ]
    return torch.stack(members, dim=1)
