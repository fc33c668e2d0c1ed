"""In a worker: chosen neurons at each token, mixed into a few numbers while vLLM runs.

A detector's score is one number a token: the weighted sum over its neurons. Read one by one, each
neuron is a number of its own.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hlens import metrics
from hlens.engines.vllm.passes import Piece
from hlens.engines.vllm.wire import Packed, pack, unpack
from hlens.metrics import Factors, factors_of


@dataclass(frozen=True, eq=False)
class Mixed:
    """A layer's chosen neurons of this worker, and what each adds to the numbers of a token."""

    columns: Tensor  # [neuron]
    mix: Tensor  # [neuron, number]
    gain: Tensor | None


@dataclass(eq=False)
class Tokens:
    """Numbers of each token from a request's asked position on."""

    factors: Factors
    layers: dict[int, Mixed]
    numbers: int
    device: torch.device
    read_to: dict[int, int] = field(default_factory=dict)
    parts: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    # Of the running pass: rows to read (None for all), requests with their rows, numbers so far.
    rows: Tensor | None = None
    owners: list[tuple[int, int]] = field(default_factory=list)
    values: Tensor | None = None

    @classmethod
    def of(
        cls, plan: dict[str, Any], layers: dict[int, int], own: range, device: torch.device
    ) -> "Tokens":
        """From what the driver sent; `own` are the neurons that this worker has of each layer."""
        mixed = {}
        for layer, (columns, mix, gain) in plan["layers"].items():
            held = [i for i, column in enumerate(columns) if column in own]
            if int(layer) in layers and held:
                index = torch.tensor([columns[i] - own.start for i in held], device=device)
                weights = unpack(mix)[held].to(device)
                gained = None if gain is None else unpack(gain).to(device)
                mixed[int(layer)] = Mixed(index, weights, gained)
        factors = factors_of(metrics.by_name(plan["metric"]))
        assert factors is not None  # the driver refuses others
        return cls(factors, mixed, plan["numbers"], device)

    def begin(self, pieces: Sequence[Piece]) -> None:
        """Find the rows of a pass that are read."""
        rows: list[int] = []
        self.owners, self.values = [], None
        for piece in pieces:
            if "tokens" not in piece.asked:
                continue
            name = piece.asked["id"]
            # What was run before, and is run again after a preemption, is read already.
            first: int = self.read_to.get(name) or piece.asked["tokens"]
            start = max(piece.start, first)
            stop = piece.start + piece.rows
            if start < stop:
                self.read_to[name] = stop
                place = piece.first - piece.start
                rows += range(place + start, place + stop)
                self.owners.append((name, stop - start))
        if not self.owners:
            return
        total = sum(piece.rows for piece in pieces)
        self.rows = None if len(rows) == total else torch.tensor(rows, device=self.device)
        self.values = torch.zeros(len(rows), self.numbers, device=self.device)

    def read(self, layer: int, act: Tensor, out: Tensor) -> None:
        """Add a layer's share."""
        own = self.layers.get(layer)
        if self.values is None or own is None:
            return
        n = len(self.values)
        act, out = (act[:n], out[:n]) if self.rows is None else (act[self.rows], out[self.rows])
        share = self.factors.act(act.index_select(1, own.columns)).float() @ own.mix
        if self.factors.pos is not None:
            share *= self.factors.pos(out, own.gain)[:, None]
        self.values += share

    def end(self) -> None:
        """Keep the numbers of a pass by request."""
        if self.values is None:
            return
        parts = self.values.split([n for _, n in self.owners])
        for (name, _), part in zip(self.owners, parts, strict=True):
            self.parts[name].append(part)
        self.values = None

    def take(self) -> dict[str, Packed]:
        """Numbers of each request since they were last taken, ``[token, number]``."""
        packed = {str(name): pack(torch.cat(parts)) for name, parts in self.parts.items()}
        self.parts.clear()
        return packed

    def forget(self, done: Sequence[int]) -> None:
        """Forget requests that have ended."""
        for name in done:
            self.parts.pop(name, None)
            self.read_to.pop(name, None)

    def collect(self) -> dict[str, Packed]:
        """Numbers of each request, ``[token, number]``; and forget them all."""
        packed = self.take()
        self.read_to.clear()
        return packed
