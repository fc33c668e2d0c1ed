"""Where in a batch of sequences the neurons are taken, and with which weight."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.contributions.regions import Ask


@dataclass(frozen=True)
class Wanted:
    """What one example asks of one sequence of a forward pass.

    Attributes:
        row: The sequence.
        slot: Where the result goes, among the examples of the batch.
        positions: For each ask, indices into the sequence; may be empty.
        shares: For each ask, the weight of one position: one over their number in the whole
            example, some of which another pass may see.
    """

    row: int
    slot: int
    positions: list[np.ndarray]
    shares: list[float]


@dataclass(frozen=True, eq=False)
class Taking:
    """The positions asked of a forward pass, as tensors on the model's device.

    Attributes:
        index: Positions to gather from each sequence, padded by repeating; None takes all.
        weights: Weight of each taken position in each result. A sequence has as many results
            ("members") as there are examples that read it.
        slots: Example of each member, -1 where a sequence has fewer.
    """

    index: Int[Tensor, "row taken"] | None
    weights: Float[Tensor, "ask row member taken"]
    slots: Int[Tensor, "row member"]

    def gather(self, hidden: Tensor) -> Tensor:
        """The taken positions of ``[row, pos, ...]``."""
        if hidden.dim() == 2 and hidden.is_floating_point():
            # Some architectures (OPT) flatten rows and positions for their MLP.
            hidden = hidden.view(self.weights.shape[1], -1, hidden.shape[-1])
        if self.index is None:
            return hidden
        rows = torch.arange(len(self.index), device=hidden.device)[:, None]
        return hidden[rows, self.index.to(hidden.device)]


def taking(
    wanted: Sequence[Wanted], n_rows: int, n_pos: int, device: torch.device
) -> Taking | None:
    """Lay out what is asked of `n_rows` sequences of `n_pos` tokens; None when nothing is."""
    by_row: list[list[Wanted]] = [[] for _ in range(n_rows)]
    for want in wanted:
        by_row[want.row].append(want)
    unions = [_union(row) for row in by_row]
    n_taken = max((len(union) for union in unions), default=0)
    if n_taken == 0:
        return None
    index = None
    if 2 * n_taken > n_pos:  # a copy of most is dearer than the few that it would leave out
        unions = [np.arange(n_pos)] * n_rows
        n_taken = n_pos
    else:
        index = torch.from_numpy(np.stack([_padded(union, n_taken) for union in unions]))
    n_members = max(len(row) for row in by_row)
    weights = np.zeros((len(wanted[0].positions), n_rows, n_members, n_taken), np.float32)
    slots = np.full((n_rows, n_members), -1)
    for row, (wants, union) in enumerate(zip(by_row, unions, strict=True)):
        for member, want in enumerate(wants):
            slots[row, member] = want.slot
            for ask, (at, share) in enumerate(zip(want.positions, want.shares, strict=True)):
                weights[ask, row, member, np.searchsorted(union, at)] = share
    return Taking(
        None if index is None else index.to(device),
        torch.from_numpy(weights).to(device),
        torch.from_numpy(slots),
    )


def wants(
    asks: Sequence[Ask],
    positions: list[np.ndarray],
    row: int,
    slot: int,
    start: int,
    stop: int,
    summed: bool = False,
) -> Wanted:
    """What an example asks of the stretch ``[start, stop)`` of its tokens.

    Args:
        asks: All asks.
        positions: For each ask, its positions in the whole example.
        row: The sequence that the stretch is run as.
        slot: Where the result goes.
        start: First token of the stretch.
        stop: One past its last.
        summed: Sum over the positions, where the mean is asked.
    """
    here = [at[(at >= start) & (at < stop)] - start for at in positions]
    return Wanted(row, slot, here, [1.0] * len(asks) if summed else shares(asks, positions))


def shares(asks: Sequence[Ask], positions: list[np.ndarray]) -> list[float]:
    """For each ask, the weight of one position in an example's result."""
    return [
        1.0 if ask.reduce == "max" else 1.0 / max(1, len(at))
        for ask, at in zip(asks, positions, strict=True)
    ]


def _union(wanted: list[Wanted]) -> np.ndarray:
    found = [at for want in wanted for at in want.positions]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, int)


def _padded(union: np.ndarray, length: int) -> np.ndarray:
    last = union[-1:] if len(union) else np.zeros(1, int)
    return np.concatenate([union, np.repeat(last, length - len(union))])
