"""From the values of batches to `Contributions`, neuron-major."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hlens.contributions.regions import Ask
from hlens.model import Model
from hlens.types import Contributions, Example

# What a batch gives: indices of examples, and their values [ask, example, layer, neuron].
Chunk = tuple[tuple[int, ...], Tensor]


class InMemory:
    """Takes chunks as they come and holds every value once.

    Columns are filled in the order in which examples are run, and put in order at the end, neurons
    at a time: both write along contiguous memory, and neither needs a second copy.
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
        for whole, part in zip(self._values, values, strict=True):
            whole[:, :, start : start + len(members)] = part.permute(1, 2, 0)
        self._order += members

    def contributions(self, number: int, kept: Sequence[int]) -> Contributions:
        """One ask's contributions for the kept examples; once for each ask."""
        values, ask = self._values[number], self._asks[number]
        columns = torch.argsort(torch.tensor(self._order))[torch.tensor(kept)]
        if len(kept) < len(self._examples):
            values = values[:, :, columns]
        else:
            for layer in values:
                layer[:] = layer[:, columns]
        examples = [self._examples[index] for index in kept]
        return contributions_of(values.permute(2, 0, 1), examples, ask, self._model)


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
        region=ask.label,
        metric=ask.name,
        provenance=model.provenance,
    )
