"""What the rivals share: examples run once, samples to the middle layer, a common prompt once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hlens import metrics
from hlens.baselines._reader import Reader
from hlens.baselines._running import Found, Runner
from hlens.contributions.gathering import InMemory
from hlens.contributions.regions import Ask
from hlens.contributions.tasks import Task
from hlens.model import Model
from hlens.types import Contributions, Example

Progress = Callable[[int, int], None]
ACTIVATION = Ask(metrics.activation, "answer")


@dataclass(frozen=True, eq=False)
class Readings:
    """What the pass tells; see `Evidence` for the fields."""

    logprobs: tuple[tuple[float, ...], ...]
    entropies: tuple[tuple[float, ...], ...]
    activations: Contributions
    measured: tuple[Contributions, ...]
    residual: Float[Tensor, "example layer d_model"]
    residual_last: Float[Tensor, "example layer d_model"]
    lookback: Float[Tensor, "example layer head"] | None
    sample_states: Float[Tensor, "sample d_model"]


def read(
    model: Model,
    examples: Sequence[Example],
    samples: Sequence[Example],
    lookback: bool,
    also: Sequence[Ask] = (),
    progress: Progress | None = None,
) -> Readings:
    """Run all examples and samples once; the prompt that several share is run once for them.

    Args:
        model: The model.
        examples: Read in full, at their answer spans.
        samples: Only the residual stream of the middle layer at their last token is read, and no
            later layer is run.
        lookback: Whether attention is read.
        also: What else is measured on the examples; see `in_one_pass`.
        progress: Called with (sequences done, sequences in all).
    """
    asks = [ACTIVATION, *also]
    tasks = [*(_task(e, asks) for e in examples), *(_task(sample, []) for sample in samples)]
    kept = _Kept(model, examples, len(samples), asks)
    for found in Runner(model, tasks, len(examples), asks, lookback).run():
        kept.take(found)
        if progress:
            progress(kept.done, len(tasks))
    return kept.readings()


def in_one_pass(ask: Ask, examples: Sequence[Example]) -> bool:
    """Whether the pass can serve an ask: no look at logits, and no token before the answers'."""
    if metrics.NEEDS.get(ask.metric) is not None:
        return False
    places = [(ask.positions(example), example) for example in examples]
    return all(len(at) and at[0] >= _n_prefix(example) for at, example in places)


class _Kept:
    """Readings as they come, each in its place."""

    def __init__(
        self, model: Model, examples: Sequence[Example], n_samples: int, asks: Sequence[Ask]
    ) -> None:
        self.model = model
        self.n = len(examples)
        self.n_asks = len(asks)
        self.done = 0
        self.states = torch.empty(2, self.n, model.n_layers, model.d_model)
        self.sample_states = torch.empty(n_samples, model.d_model)
        self.lookback: Tensor | None = None
        self.tokens: dict[int, tuple[list[float], list[float]]] = {}
        self.measured = InMemory(model, examples, asks)

    def take(self, found: Found) -> None:
        to = list(found.examples)
        if found.reader is not None:
            self.measured.take((found.examples, found.values))
            self.states[:, to] = found.reader.states.permute(2, 1, 0, 3)
            self.tokens.update(zip(to, found.reader.distributions(found.logits), strict=True))
            self._attend(found.reader, to)
        self.sample_states[[index - self.n for index in found.samples]] = found.states
        self.done += len(found.examples) + len(found.samples)

    def _attend(self, reader: Reader, to: list[int]) -> None:
        if len(reader.lookback) < self.model.n_layers:
            return
        found = torch.stack([reader.lookback[layer] for layer in range(self.model.n_layers)])
        if self.lookback is None:
            self.lookback = torch.empty(self.n, found.shape[0], found.shape[2])
        self.lookback[to] = found.transpose(0, 1)

    def readings(self) -> Readings:
        tokens = [self.tokens[index] for index in range(self.n)]
        measured = [self.measured.contributions(k, range(self.n)) for k in range(self.n_asks)]
        return Readings(
            logprobs=tuple(tuple(logprobs) for logprobs, _ in tokens),
            entropies=tuple(tuple(entropies) for _, entropies in tokens),
            activations=measured[0],
            measured=tuple(measured[1:]),
            residual=self.states[0],
            residual_last=self.states[1],
            lookback=self.lookback,
            sample_states=self.sample_states,
        )


def _n_prefix(example: Example) -> int:
    """Tokens that answers to one prompt share; its last one is run with each answer.

    The answer's first token is drawn from the distribution there.
    """
    return max(0, example.n_prompt - 1)


def _task(example: Example, asks: Sequence[Ask]) -> Task:
    """Run up to the end of the span, and to the last token that is asked about."""
    positions = [ask.positions(example) for ask in asks]
    stop = max([example.stop, *(int(at[-1]) + 1 for at in positions)])
    return Task(example, example.token_ids[:stop], _n_prefix(example), positions)
