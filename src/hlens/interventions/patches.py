"""Patching: put the activations of another run into this one."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hlens.errors import HlensError
from hlens.interventions.activations import Activations
from hlens.model import Columns, Edit, Scope, Site, TokenBatch

Positions = Mapping[int, int]


def patch(
    source: Activations | Sequence[Activations],
    positions: Positions | Sequence[Positions] | None = None,
) -> Edit:
    """Give the neurons the activations that they had in another run.

    Args:
        source: From `capture`: one run for all rows of the batch, or one for each row.
        positions: Token of this run -> token of the source, both counted from 0 without padding;
            one mapping for all rows, or one for each. None patches each token with the source's
            token of the same index, as far as the source goes. `align` makes such a mapping.

    Raises:
        HlensError: No source, no position, or a position that the source does not have.
    """
    sources = [source] if isinstance(source, Activations) else list(source)
    if not sources:
        raise HlensError("patch without a source; capture a run of the other prompt first")
    maps = _check_maps(sources, positions)
    # Row, token of this run -> token of the source; -1 where nothing is patched.
    table = torch.full((len(maps), 1 + max(token for tokens in maps for token in tokens)), -1)
    for row, tokens in enumerate(maps):
        for token, other in tokens.items():
            table[row, token] = other

    def change(old: Columns, site: Site) -> Columns:
        rows = torch.arange(site.batch.rows)
        token = _source_tokens(table, site.batch).clamp_min(0)
        layers = [source.values[site.layer] for source in sources]
        if len(sources) not in (1, len(rows)):
            raise HlensError(
                f"patch from {len(sources)} sources, the model reads {len(rows)} rows; give one "
                "source for all rows or one for each"
            )
        stacked = pad_sequence(layers, batch_first=True).to(old)[:, :, site.neurons]
        return stacked[(rows % len(sources))[:, None].to(old.device), token.to(old.device)]

    def mask(batch: TokenBatch) -> Bool[Tensor, "row pos"]:
        return _source_tokens(table, batch) >= 0

    layers, _, d_mlp = sources[0].values.shape
    values = (table, *(source.values for source in sources))
    by_row = len(sources) > 1 or len(maps) > 1
    scope, shape = Scope("patched", mask), (layers, d_mlp)
    return Edit("patch", change, scope, shape=shape, values=values, by_row=by_row)


def align(here: Sequence[int], there: Sequence[int]) -> dict[int, int]:
    """Token of `here` -> token of `there`, by their common beginning and their common end.

    The tokens in between are mapped one to one where they are as many, else left out.

    >>> align([1, 2, 3, 9], [1, 5, 6, 7, 9])
    {0: 0, 3: 4}
    >>> align([1, 2, 9], [1, 5, 9])
    {0: 0, 1: 1, 2: 2}
    """
    if len(here) == len(there):
        return {token: token for token in range(len(here))}
    short = min(len(here), len(there))
    head = next((i for i in range(short) if here[i] != there[i]), short)
    rest, shift = short - head, len(there) - len(here)
    tail = next((i for i in range(rest) if here[-1 - i] != there[-1 - i]), rest)
    mapped = {token: token for token in range(head)}
    return mapped | {token: token + shift for token in range(len(here) - tail, len(here))}


def _check_maps(
    sources: Sequence[Activations], positions: Positions | Sequence[Positions] | None
) -> list[dict[int, int]]:
    if positions is None:
        maps = [{t: t for t in range(len(source.token_ids))} for source in sources]
    elif isinstance(positions, Mapping):
        maps = [dict(positions)]
    else:
        maps = [dict(tokens) for tokens in positions]
    shortest = min(len(source.token_ids) for source in sources)
    for row, tokens in enumerate(maps):
        length = len(sources[row].token_ids) if len(sources) == len(maps) else shortest
        wrong = [f"{a}: {b}" for a, b in tokens.items() if a < 0 or not 0 <= b < length]
        if wrong or not tokens:
            raise HlensError(
                f"patch positions {{{', '.join(wrong)}}} do not fit a source of {length} tokens; "
                "expected one or more pairs token: source token, counted from 0"
            )
    return maps


def _source_tokens(table: Tensor, batch: TokenBatch) -> Int[Tensor, "row pos"]:
    """For each token being read, the source token, or -1."""
    if len(table) not in (1, batch.rows):
        raise HlensError(
            f"patch for {len(table)} rows, the model reads {batch.rows}; give one source for all "
            "rows or one for each"
        )
    token = batch.position
    within = token.clamp(0, table.shape[1] - 1)
    rows = table.to(token.device).expand(batch.rows, -1)
    return rows.gather(1, within).masked_fill(token != within, -1)
