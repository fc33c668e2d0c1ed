"""Which tokens of an example are run, and at which of them the neurons are read.

Problem: examples overlap. Several spans lie in one response, and several responses answer one
prompt; to run each example by itself would run most tokens many times.

Idea: a `Row` is an example cut to what is asked of it, a `Piece` the stretch of a row that is run
in one pass, and a `Readout` the positions of a pass over several pieces, with their weights. Pieces
may be read from one sequence, which then has a member for each.

Example: two spans of one response, a prompt of three tokens and three of the answer::

    tokens       0 1 2 3 4 5     run once, as long as its longest row
    first span         ^         row of 4 tokens, read at 3
    second span          ^ ^     row of 6 tokens, read at 4 and 5
    taken              3 4 5     weights [1, 0, 0] and [0, 1/2, 1/2]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.contributions.regions import Ask
from hlens.metrics import needs_of
from hlens.types import Example


@dataclass(frozen=True, eq=False)
class Row:
    """An example as it is run: tokens, and for each ask where the neurons are read.

    Attention is causal, so tokens after the last asked position cannot change the result and are
    cut off. The prefix that several rows may share ends before the last token, so that each row
    has a token of its own.
    """

    example: Example
    token_ids: Int[Tensor, " pos"]  # up to the last one that matters
    n_prefix: int  # how many of them other answers to the same prompt may share
    positions: list[np.ndarray]  # for each ask, indices of the tokens where neurons are read
    weights: list[float]  # for each ask, the weight of one position in the example's result

    def __len__(self) -> int:
        return len(self.token_ids)


ResponseRows = tuple[Row, ...]  # of one response, the longest first, which is run for all of them


@dataclass(frozen=True, eq=False)
class Piece:
    """The stretch ``[start, stop)`` of a row, run as one sequence of a forward pass."""

    row: Row
    sequence: int  # index in the pass; rows that share a prompt or a response share a sequence
    start: int
    stop: int

    @property
    def token_ids(self) -> Int[Tensor, " pos"]:
        return self.row.token_ids[self.start : self.stop]

    @property
    def positions(self) -> list[np.ndarray]:
        """For each ask, its positions within the stretch, counted from its start."""
        return [
            positions[(positions >= self.start) & (positions < self.stop)] - self.start
            for positions in self.row.positions
        ]


def row_of(
    example: Example, asks: Sequence[Ask], *, stop: int = 0, n_prefix: int | None = None
) -> Row:
    """Cut an example to what the asks need, but to no fewer than `stop` tokens.

    `n_prefix` tokens may be shared; by default the prompt, or all but the last token.
    """
    positions = [ask.positions(example) for ask in asks]
    needed = 1 + max((int(of_ask[-1]) for of_ask in positions if len(of_ask)), default=0)
    needs = all_needs(asks)
    if "direction" in needs:  # the token that the last position predicts
        needed += 1
    if "gradient" in needs:  # the answer, whose log-probability is differentiated
        needed = max(needed, example.stop)
    tokens = example.token_ids[: max(needed, stop)]
    if n_prefix is None:
        n_prefix = min(example.n_prompt, len(tokens) - 1)
    weights = [
        1.0 if ask.reduce in ("max", "routed") else 1.0 / max(1, len(of_ask))
        for ask, of_ask in zip(asks, positions, strict=True)
    ]
    return Row(example, tokens, n_prefix, positions, weights)


def by_response(rows: Sequence[Row], *, most: int) -> list[tuple[int, ...]]:
    """Indices of rows, together where one sequence serves them: at most `most`, the longest first.

    One sequence serves the rows of examples that have the same prompt and response.
    """
    responses: dict[object, list[int]] = {}
    for index, row in enumerate(rows):
        example = row.example
        key = example.n_prompt, example.token_ids.cpu().numpy().tobytes()
        responses.setdefault(key, []).append(index)
    found: list[tuple[int, ...]] = []
    for members in responses.values():
        members.sort(key=lambda index: len(rows[index]), reverse=True)
        found += [tuple(members[at : at + most]) for at in range(0, len(members), most)]
    return found


def all_needs(asks: Sequence[Ask]) -> frozenset[str]:
    """What the metrics need beside the neurons."""
    return frozenset().union(*(needs_of(ask.metric) for ask in asks))


def common_length(rows: Sequence[Row]) -> int:
    """How many tokens all rows begin with, within their prompts."""
    length = min(row.n_prefix for row in rows)
    first = rows[0].token_ids[:length]
    for row in rows:
        differs = (row.token_ids[:length] != first[:length]).nonzero()
        length = int(differs[0]) if len(differs) else length
    return length


@dataclass(frozen=True, eq=False)
class Readout:
    """The positions read in a forward pass, as tensors on the model's device.

    A sequence has one member for each piece that is read from it: a prompt that is run once for
    five answers has five.
    """

    # Positions to gather from each sequence, padded by repeating; None takes all.
    index: Int[Tensor, "sequence taken"] | None
    # Weight of each gathered position in each member's result.
    weights: Float[Tensor, "ask sequence member taken"]
    # Index of each member's piece, -1 where a sequence has fewer members.
    slots: Int[Tensor, "sequence member"]
    shape: tuple[int, int]  # sequences and positions of the pass

    def gather(self, hidden: Tensor) -> Tensor:
        """The read positions of ``[sequence, pos, ...]``."""
        if tuple(hidden.shape[:2]) != self.shape:
            # OPT and mixtures flatten sequences and positions for their MLP.
            hidden = hidden.reshape(*self.shape, *hidden.shape[1:])
        if self.index is None:
            return hidden
        sequences = torch.arange(len(self.index), device=hidden.device)[:, None]
        return hidden[sequences, self.index.to(hidden.device)]


def lay_out(
    pieces: Sequence[Piece], ids: Int[Tensor, "sequence pos"], *, summed: bool = False
) -> Readout | None:
    """The readout of a pass over `ids`; None when no piece has a position to be read.

    A piece is known by its index in `pieces`, its slot. With `summed`, positions are summed, not
    averaged.
    """
    n_sequences, n_pos = ids.shape
    # Which pieces read from each sequence, and which positions any of them reads.
    positions = [piece.positions for piece in pieces]
    members: list[list[int]] = [[] for _ in range(n_sequences)]
    for slot, piece in enumerate(pieces):
        members[piece.sequence].append(slot)
    none = np.zeros(0, int)
    unions = [
        np.unique(np.concatenate([none, *(of_ask for slot in own for of_ask in positions[slot])]))
        for own in members
    ]
    n_taken = max(map(len, unions), default=0)
    if n_taken == 0:
        return None
    # Gather only these positions, the same number from each sequence.
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
            for ask, of_ask in enumerate(positions[slot]):
                weight = 1.0 if summed else weight_of[ask]
                weights[ask, sequence, member, np.searchsorted(union, of_ask)] = weight
    on_device = torch.from_numpy(weights).to(ids.device)
    return Readout(index, on_device, torch.from_numpy(slots), (n_sequences, n_pos))


def _padded(union: np.ndarray, length: int) -> np.ndarray:
    """Positions repeated at the end up to a length; their weight there is zero."""
    last = union[-1:] if len(union) else np.zeros(1, int)
    return np.concatenate([union, np.repeat(last, length - len(union))])
