"""Scopes: which tokens an edit acts on. Each is a value; `find_scope` looks one up by name."""

from collections.abc import Sequence
from numbers import Integral

import torch
from jaxtyping import Bool
from torch import Tensor

from hlens import lookup
from hlens.checks import check_whole
from hlens.errors import HlensError
from hlens.model import ALL, Scope, TokenBatch

PROMPT = Scope("prompt", lambda batch: batch.generated < 0)
GENERATED = Scope("generated", lambda batch: batch.generated >= 0)
ANSWER = Scope("answer", lambda batch: batch.in_answer)

SCOPES = {scope.name: scope for scope in (ALL, PROMPT, GENERATED, ANSWER)}


def first_generated(k: int) -> Scope:
    """The first `k` generated tokens.

    Raises:
        HlensError: `k` is below 1.

    >>> first_generated(3).name
    'first_3'
    """
    k = check_whole("k", k, least=1)

    def mask(batch: TokenBatch) -> Bool[Tensor, "row pos"]:
        return (batch.generated >= 0) & (batch.generated < k)

    return Scope(f"first_{k}", mask)


def at_positions(positions: Sequence[int] | Sequence[Sequence[int]]) -> Scope:
    """The tokens at `positions`, counted from 0 without padding; one list for all rows or each.

    Raises:
        HlensError: No position, or a negative one.
    """
    rows = [positions] if not positions or isinstance(positions[0], Integral) else positions
    flat = [int(p) for row in rows for p in row]  # type: ignore[union-attr]
    if not flat or min(flat) < 0:
        raise HlensError(f"positions {positions}: expected one or more tokens, counted from 0")

    def mask(batch: TokenBatch) -> Bool[Tensor, "row pos"]:
        if len(rows) not in (1, batch.rows):
            raise HlensError(
                f"positions for {len(rows)} rows, the model reads {batch.rows}; give one list "
                "for all or one for each row"
            )
        wanted = [torch.tensor(list(row), device=batch.device) for row in rows]  # type: ignore[arg-type]
        if len(wanted) == 1:
            return torch.isin(batch.position, wanted[0])
        return torch.stack([torch.isin(a, b) for a, b in zip(batch.position, wanted, strict=True)])

    return Scope("chosen", mask)


def find_scope(name: str) -> Scope:
    """The scope of a name: all, prompt, generated, answer or first_K.

    >>> find_scope("prompt").name, find_scope("first_5").name
    ('prompt', 'first_5')

    Raises:
        HlensError: No such scope.
    """
    if name.startswith("first_") and name[6:].isdigit():
        return first_generated(int(name[6:]))
    if name not in SCOPES:
        raise lookup.unknown("scope", name, [*SCOPES, "first_K"])
    return SCOPES[name]
