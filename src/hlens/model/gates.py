"""Gates: an edit that acts at some tokens of an answer only, decided while the answer is written.

Problem: a scope is known beforehand ("the first three tokens"); "while the risk is high" is not, it
depends on what the model has written so far, and differs from row to row.

Idea: a gate is asked once a pass which rows it lets the edit act on, before any layer is edited. It
knows the tokens of the passes before, and not the one that is being read. Here only this is known
of it; what it decides by is its own affair (`hlens.monitor.risk_above`, `hlens.interventions`).

Example: the risk passes the limit with the third token of an answer. Its fourth token is the first
that is read under the edit, so that the fifth is the first word that the edit can change.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from hlens.errors import HlensError
from hlens.model.token_batch import TokenBatch
from hlens.types import NeuronSet

# (The pass, number of the answer in its first row) -> True at the rows that are edited.
Decide = Callable[[TokenBatch, int], Bool[Tensor, " row"]]


# (Model, neurons that are edited) -> a block in which it is followed; Any, because the module of
# the model imports this one.
Watching = Callable[[Any, Sequence[NeuronSet]], AbstractContextManager[Decide]]


@dataclass(frozen=True, eq=False)
class Gate:
    """Says, row by row, whether the next token that is read is edited.

    Attributes:
        name: Name in receipts, such as ``"while risk is 0.4 or more"``.
        watching: Follows the model for the length of a block in which these neurons are edited.
        values: Tensors that it decides by. Name and values identify a gate where finished work is
            kept.
    """

    name: str
    watching: Watching
    values: tuple[Tensor, ...] = ()


@dataclass
class GatedAnswer:
    """What a gate did in one answer.

    Attributes:
        edited: For each token of the answer that the model read, whether it was edited.
    """

    edited: list[bool] = field(default_factory=list)

    @property
    def n_edited(self) -> int:
        """How many of its tokens were edited."""
        return sum(self.edited)

    @property
    def switches(self) -> int:
        """How often the gate opened or closed between two tokens.

        >>> GatedAnswer([False, True, True, False]).switches
        2
        """
        return sum(before != after for before, after in pairwise(self.edited))


class GateKeeper:
    """Asks a gate once a pass, and keeps what it said of every answer, in the order of writing.

    The prompt is never edited.
    """

    def __init__(self, decide: Decide) -> None:
        self.decide = decide
        self.answers: list[GatedAnswer] = []
        self._first = 0  # number of the running batch's first answer
        self._rows = 0  # of its prompts
        self._seen: tuple[TokenBatch, Tensor] | None = None

    def mask(self, batch: TokenBatch) -> Bool[Tensor, "row pos"]:
        """Where the gate is open in a pass; every edited layer asks, and is told the same."""
        if self._seen is None or self._seen[0] is not batch:
            self._seen = batch, self._ask(batch)
        return self._seen[1]

    def end_batch(self) -> None:
        """The running answers are over; those of which no token was read are counted, too."""
        if len(self.answers) == self._first:
            self.answers += [GatedAnswer() for _ in range(self._rows)]
        self._first, self._rows = len(self.answers), 0

    def _ask(self, batch: TokenBatch) -> Bool[Tensor, "row pos"]:
        written = batch.generated >= 0
        if not bool(written.any()):
            if batch.past == 0:  # prompts are read, from their beginning
                self.end_batch()
            if len(self.answers) == self._first:
                self._rows = batch.rows
            return torch.zeros_like(written)
        if batch.width > 1 or not self._rows:
            raise HlensError(
                f"a gate decides token by token, and {batch.width} tokens of an answer were read "
                "at once, or without their prompt; let the model generate inside the block"
            )
        if len(self.answers) == self._first:
            self.answers += [GatedAnswer() for _ in range(batch.rows)]
        own, wrote = self.answers[self._first :], written[:, -1]
        is_open = self.decide(batch, self._first).to(wrote.device) & wrote
        for answer, read, edited in zip(own, wrote.tolist(), is_open.tolist(), strict=True):
            if read:
                answer.edited.append(edited)
        return is_open[:, None]
