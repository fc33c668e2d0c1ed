"""Where a forward pass is read, and with which weight each position counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.contributions.rows import Piece


@dataclass(frozen=True, eq=False)
class Readout:
    """The positions read in a forward pass, as tensors on the model's device.

    A sequence has one member for each piece that is read from it: a prompt that is run once for
    five answers has five.

    Attributes:
        index: Positions to gather from each sequence, padded by repeating; None takes all.
        weights: Weight of each gathered position in each member's result.
        slots: Index of the piece behind each member, -1 where a sequence has fewer.
    """

    index: Int[Tensor, "sequence taken"] | None
    weights: Float[Tensor, "ask sequence member taken"]
    slots: Int[Tensor, "sequence member"]

    def gather(self, hidden: Tensor) -> Tensor:
        """The read positions of ``[sequence, pos, ...]``."""
        if hidden.dim() == 2 and hidden.is_floating_point():
            # Some architectures (OPT) flatten sequences and positions for their MLP.
            hidden = hidden.view(self.weights.shape[1], -1, hidden.shape[-1])
        if self.index is None:
            return hidden
        sequences = torch.arange(len(self.index), device=hidden.device)[:, None]
        return hidden[sequences, self.index.to(hidden.device)]


def lay_out(
    pieces: Sequence[Piece], ids: Int[Tensor, "sequence pos"], *, summed: bool = False
) -> Readout | None:
    """The readout of a pass over `ids`; None when no piece has a position to be read.

    Args:
        pieces: What is read; the result of each goes to its place in this list.
        ids: The sequences that are run.
        summed: Sum over positions where the mean is asked.
    """
    n_sequences, n_pos = ids.shape
    # Which pieces read from each sequence, and which positions any of them reads.
    positions = [piece.positions for piece in pieces]
    members: list[list[int]] = [[] for _ in range(n_sequences)]
    for slot, piece in enumerate(pieces):
        members[piece.sequence].append(slot)
    unions = [_union([at for slot in slots for at in positions[slot]]) for slots in members]
    n_taken = max((len(union) for union in unions), default=0)
    if n_taken == 0:
        return None
    # Gather only these positions, all sequences padded to the same number.
    index = None
    if 2 * n_taken > n_pos:  # a copy of most positions costs more than reading the few others
        unions = [np.arange(n_pos)] * n_sequences
        n_taken = n_pos
    else:
        index = torch.from_numpy(np.stack([_padded(union, n_taken) for union in unions]))
        index = index.to(ids.device)
    # One weight for each ask, piece and gathered position: zero wherever it is not read.
    shape = (len(positions[0]), n_sequences, max(map(len, members)), n_taken)
    weights = np.zeros(shape, np.float32)
    slots = np.full(shape[1:3], -1)
    for sequence, (own, union) in enumerate(zip(members, unions, strict=True)):
        for member, slot in enumerate(own):
            slots[sequence, member] = slot
            weight_of = pieces[slot].row.weights
            for ask, at in enumerate(positions[slot]):
                weight = 1.0 if summed else weight_of[ask]
                weights[ask, sequence, member, np.searchsorted(union, at)] = weight
    return Readout(index, torch.from_numpy(weights).to(ids.device), torch.from_numpy(slots))


def _union(positions: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(positions)) if positions else np.zeros(0, int)


def _padded(union: np.ndarray, length: int) -> np.ndarray:
    last = union[-1:] if len(union) else np.zeros(1, int)
    return np.concatenate([union, np.repeat(last, length - len(union))])
