"""From the chunks that the batches leave to `Contributions`, neuron-major."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from hlens import store
from hlens.contributions.regions import Ask
from hlens.metrics import Metric
from hlens.model import Model
from hlens.types import Contributions, Example

# Indices of examples, and [ask, example, layer, neuron].
Chunk = tuple[tuple[int, ...], Tensor]

# Of one piece of the transposition from example-major chunks.
_PIECE_BYTES = 1 << 26


class InMemory:
    """Takes chunks as they come and holds every value once.

    Columns are filled in the order in which examples are run, and put in order at the end, rows at
    a time: both write along rows, and neither needs a second copy.
    """

    def __init__(self, model: Model, examples: Sequence[Example], asks: Sequence[Ask]) -> None:
        self._model = model
        self._examples = examples
        self._asks = asks
        self._order: list[int] = []
        self._values: list[Tensor] = []

    def take(self, chunk: Chunk) -> None:
        """Keep a chunk's values."""
        members, values = chunk
        if not self._values:
            shape = (self._model.n_layers, self._model.d_mlp, len(self._examples))
            self._values = [torch.empty(shape, dtype=values.dtype) for _ in self._asks]
        start = len(self._order)
        for kept, found in zip(self._values, values, strict=True):
            kept[:, :, start : start + len(members)] = found.permute(1, 2, 0)
        self._order += members

    def contributions(self, number: int, kept: Sequence[int]) -> Contributions:
        """One ask's contributions for the kept examples."""
        values, ask = self._values[number], self._asks[number]
        place = torch.argsort(torch.tensor(self._order))[torch.tensor(kept)]
        if len(kept) < len(self._examples):
            values = values[:, :, place]
        else:
            for rows in values:
                rows[:] = rows[:, place]
        examples = [self._examples[index] for index in kept]
        return contributions_of(values.permute(2, 0, 1), examples, ask, self._model)


@dataclass(frozen=True, eq=False)
class Measured:
    """All chunks of a measurement, memory-mapped.

    Attributes:
        model: What was measured.
        examples: All examples; an ask may keep fewer.
        chunks: Their values, in the order in which they were run.
    """

    model: Model
    examples: Sequence[Example]
    chunks: Sequence[Chunk]

    def layers(self, number: int, kept: Sequence[int]) -> Iterator[Tensor]:
        """Pieces ``[neuron, example]`` of one ask, layer after layer, for the kept examples."""
        order = torch.tensor([index for members, _ in self.chunks for index in members])
        place = torch.argsort(order)[torch.tensor(kept)]
        width = max(1, _PIECE_BYTES // (4 * len(order)))
        for layer in range(self.model.n_layers):
            for start in range(0, self.model.d_mlp, width):
                block = slice(start, start + width)
                rows = [values[number, :, layer, block] for _, values in self.chunks]
                yield torch.cat(rows)[place].T

    def sealed(self, number: int, ask: Ask, kept: Sequence[int], path: Path, identity: str) -> None:
        """Write one ask's contributions; at no time are they in memory as a whole."""
        shape = (len(kept), self.model.n_layers, self.model.d_mlp)
        without_values = torch.empty(shape, device="meta")
        data = contributions_of(without_values, self.chosen(kept), ask, self.model)
        dtype = self.chunks[0][1].dtype
        store.write_contributions(
            data,
            path,
            dtype=dtype,
            layers=lambda: self.layers(number, kept),
            identity=identity,
        )

    def chosen(self, kept: Sequence[int]) -> list[Example]:
        return [self.examples[index] for index in kept]


def contributions_of(
    values: Tensor, examples: Sequence[Example], ask: Ask, model: Model
) -> Contributions:
    """The values with what is known of the examples."""
    return Contributions(
        values=values,
        labels=torch.tensor([example.hallucinated for example in examples]),
        groups=tuple(example.group for example in examples),
        domains=tuple(example.domain for example in examples),
        question_ids=tuple(example.question_id for example in examples),
        n_tokens=torch.tensor([example.stop - example.start for example in examples]),
        region=ask.described,
        metric=ask.name,
        provenance=model.provenance,
    )


def identity_of(
    model: Model,
    examples: Sequence[Example],
    asks: Sequence[Ask],
    dtype: torch.dtype,
    batch_size: int | None,
) -> str:
    """Hash of all that the values depend on: what two runs must share to share their shards."""
    formulas = [[_formula(ask.metric), ask.described] for ask in asks]
    settings = formulas, str(dtype), batch_size
    digest = hashlib.sha256(json.dumps([model.fingerprint, str(model.dtype), settings]).encode())
    for example in examples:
        span = (example.n_prompt, example.start, example.stop, example.hallucinated)
        about = (example.question_id, example.group, example.domain, example.sample, *span)
        digest.update(json.dumps([*about, example.token_ids.tolist()]).encode())
    return digest.hexdigest()


def _formula(metric: Metric) -> str:
    """Name of a metric; of one that is not of hlens, with a hash of what it does."""
    name = getattr(metric, "__name__", type(metric).__name__)
    if (getattr(metric, "__module__", "") or "").startswith("hlens."):
        return name
    return f"{name} {hashlib.sha256(repr(_does(metric)).encode()).hexdigest()}"


def _does(thing: Any, depth: int = 4) -> Any:
    """What a function computes, as far as it can be told: its code, constants and closure."""
    if isinstance(thing, partial):
        return _does(thing.func), [_does(v) for v in (*thing.args, *thing.keywords.items())]
    code = thing if isinstance(thing, CodeType) else getattr(thing, "__code__", None)
    if code is None or depth == 0:  # a function may stand in its own closure
        plain = isinstance(thing, str | int | float | bool | None | tuple)
        return thing if plain else type(thing).__qualname__
    inner = [*code.co_consts, *(getattr(thing, "__defaults__", None) or ())]
    inner += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
    return code.co_code, code.co_names, [_does(each, depth - 1) for each in inner]
