"""In a worker: contributions summed over the asked positions, while vLLM is in the layer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hlens import metrics
from hlens.engines.vllm.passes import Piece
from hlens.engines.vllm.wire import Packed, pack, unpack
from hlens.metrics import Factors, factors_of

Rows = tuple[Tensor, Tensor, Tensor]  # index of each row that is read, its slot and its weight


@dataclass(eq=False)
class Sums:
    """What is asked of several examples: a slot of each, filled as their positions are run.

    Attributes:
        factors: Of each ask's metric.
        most: For each ask, whether the largest value is taken in place of the sum.
        shape: Layers of this worker, slots, neurons of this worker.
        layers: Index of each layer among those of this worker.
        gains: Of the norms behind the MLPs, by layer, where there are such norms.
    """

    factors: list[Factors]
    most: list[bool]
    shape: tuple[int, int, int]
    layers: dict[int, int]
    gains: dict[int, Tensor]
    device: torch.device
    read_to: dict[int, int] = field(default_factory=dict)  # of each request, next position
    rows: list[Rows | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        begin = [-torch.inf if most else 0.0 for most in self.most]
        self.values = [torch.full(self.shape, own, device=self.device) for own in begin]

    @classmethod
    def of(
        cls, plan: dict[str, Any], layers: dict[int, int], width: int, device: torch.device
    ) -> "Sums":
        """From what the driver sent: names of metrics, reductions, slots and gains."""
        factors = [factors_of(metrics.by_name(name)) for name, _ in plan["asks"]]
        return cls(
            [own for own in factors if own is not None],
            [reduce == "max" for _, reduce in plan["asks"]],
            (len(layers), plan["slots"], width),
            layers,
            {int(k): unpack(v).to(device) for k, v in plan["gains"].items() if int(k) in layers},
            device,
        )

    def begin(self, pieces: Sequence[Piece]) -> None:
        """Find the rows of a pass that are read."""
        found: list[list[tuple[int, int, float]]] = [[] for _ in self.factors]
        for piece in pieces:
            if "sums" not in piece.asked:
                continue
            # What was run before, and is run again after a preemption, is read already.
            start = max(piece.start, self.read_to.get(piece.asked["id"], 0))
            stop = piece.start + piece.rows
            self.read_to[piece.asked["id"]] = max(start, stop)
            for slot, of_asks in piece.asked["sums"]:
                for number, (runs, weight) in enumerate(of_asks):
                    for first, end in runs:
                        own = range(max(first, start), min(end, stop))
                        place = piece.first - piece.start
                        found[number] += [(place + at, slot, weight) for at in own]
        self.rows = [self._as_tensors(own) for own in found]

    def _as_tensors(self, own: list[tuple[int, int, float]]) -> Rows | None:
        if not own:
            return None
        rows, slots, weights = (np.array(column) for column in zip(*own, strict=True))
        index = torch.from_numpy(rows).to(self.device), torch.from_numpy(slots).to(self.device)
        return *index, torch.from_numpy(weights).float().to(self.device)

    def read(self, layer: int, act: Tensor, out: Tensor) -> None:
        """Add what a layer's rows of this pass give."""
        for number, (factors, rows) in enumerate(zip(self.factors, self.rows, strict=True)):
            if rows is None:
                continue
            index, slots, weights = rows
            values = factors.act(act[index]).float()
            if factors.pos is not None:
                weights = weights * factors.pos(out[index], self.gains.get(layer))
            to = self.values[number][self.layers[layer]]
            if self.most[number]:
                slots = slots[:, None].expand(-1, values.shape[1])
                to.scatter_reduce_(0, slots, values * weights[:, None], "amax")
            else:
                to.index_add_(0, slots, values * weights[:, None])

    def collect(self) -> Packed:
        """All values: ``[ask, layer, slot, neuron]``."""
        return pack(torch.stack(self.values))
