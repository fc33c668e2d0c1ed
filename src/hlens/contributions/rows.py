"""What is run for an example: its tokens up to the last one that matters, whole or in pieces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor

from hlens.contributions.regions import Ask
from hlens.metrics import needs_of
from hlens.types import Example


@dataclass(frozen=True, eq=False)
class Row:
    """An example as it is run: tokens, and for each ask where the neurons are read.

    Attention is causal, so tokens behind the last asked position cannot change the result and are
    cut off. The prefix that several rows may share ends before the last token, so that each row
    has a token of its own.

    Attributes:
        example: The example.
        token_ids: Its tokens up to the last one that matters.
        n_prefix: How many of them other answers to the same prompt may share.
        positions: For each ask, the indices of the tokens at which the neurons are read.
        weights: For each ask, the weight of one position in the example's result.
    """

    example: Example
    token_ids: Int[Tensor, " pos"]
    n_prefix: int
    positions: list[np.ndarray]
    weights: list[float]

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, eq=False)
class Piece:
    """The stretch ``[start, stop)`` of a row, run as one sequence of a forward pass.

    Attributes:
        row: The row.
        sequence: Which sequence of the pass; rows that share a prompt are read from one.
        start: First token.
        stop: One past the last.
    """

    row: Row
    sequence: int
    start: int
    stop: int

    @property
    def token_ids(self) -> Int[Tensor, " pos"]:
        """The tokens of the stretch."""
        return self.row.token_ids[self.start : self.stop]

    @property
    def positions(self) -> list[np.ndarray]:
        """For each ask, its positions within the stretch, counted from its start."""
        inside = [(at >= self.start) & (at < self.stop) for at in self.row.positions]
        return [at[kept] - self.start for at, kept in zip(self.row.positions, inside, strict=True)]


def row_of(
    example: Example, asks: Sequence[Ask], *, stop: int = 0, n_prefix: int | None = None
) -> Row:
    """Cut an example to what the asks need.

    Args:
        example: The example.
        asks: What is asked of it.
        stop: How many tokens are run at least.
        n_prefix: How many tokens may be shared; by default the prompt, or all but the last token.
    """
    positions = [ask.positions(example) for ask in asks]
    needed = 1 + max((int(at[-1]) for at in positions if len(at)), default=0)
    needs = {need for ask in asks for need in needs_of(ask.metric)}
    if "direction" in needs:  # the token that the last position predicts
        needed += 1
    if "gradient" in needs:  # the answer, whose log-probability is differentiated
        needed = max(needed, example.stop)
    tokens = example.token_ids[: max(needed, stop)]
    if n_prefix is None:
        n_prefix = min(example.n_prompt, len(tokens) - 1)
    weights = [
        1.0 if ask.reduce == "max" else 1.0 / max(1, len(at))
        for ask, at in zip(asks, positions, strict=True)
    ]
    return Row(example, tokens, n_prefix, positions, weights)


def common_length(rows: Sequence[Row]) -> int:
    """How many tokens all rows begin with, within their prompts."""
    length = min(row.n_prefix for row in rows)
    first = rows[0].token_ids[:length]
    for row in rows:
        differs = (row.token_ids[:length] != first[:length]).nonzero()
        length = int(differs[0]) if len(differs) else length
    return length


def longest_row(rows: Sequence[Row]) -> int:
    """Tokens of the longest row that a batch may have, the padding of its prompt included."""
    rest = max(len(row) - row.n_prefix for row in rows)
    return max(row.n_prefix for row in rows) + rest
