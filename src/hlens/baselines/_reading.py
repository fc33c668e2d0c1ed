"""The forward pass that all rivals share: examples run in full, samples to the middle layer.

A prompt that examples and samples share is run once. Examples then go through the whole model, read
at their answer spans (`Reader`) and measured (`Reducer`); samples stop behind the middle layer,
where the state of their last token is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hlens import metrics
from hlens.baselines._reader import Reader
from hlens.contributions.gathering import InMemory
from hlens.contributions.passes import collect, or_empty, right_padded
from hlens.contributions.plan import Batch
from hlens.contributions.readout import lay_out
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.rows import Piece, Row, row_of
from hlens.contributions.schedule import Schedule, auto_tokens
from hlens.metrics import needs_of
from hlens.model import Model, ending_behind, stretches
from hlens.types import Contributions, Example

Progress = Callable[[int, int], None]
ACTIVATION = Ask(metrics.activation, "answer")
_LOGITS = 1 << 28  # entries of the logits of one pass


@dataclass(frozen=True, eq=False)
class Readings:
    """What the pass gives; see `Evidence` for the fields."""

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
    *,
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
    rows = [
        *(_row(example, asks) for example in examples),
        *(_row(sample, []) for sample in samples),
    ]
    runner = _Runner(model, rows, len(examples), asks, lookback)
    collected = _Collected(model, examples, len(samples), asks)
    # Logits are as large as the vocabulary, so that they may bound a batch.
    vocabulary = int(model.hf.get_output_embeddings().weight.shape[0])
    batches = runner.schedule.batches(max(1, min(auto_tokens(model), _LOGITS // vocabulary)))
    for _, part in runner.schedule.run(batches, runner.run_batch):
        collected.take(part)
        if progress:
            progress(collected.done, len(rows))
    return collected.readings()


def in_one_pass(ask: Ask, examples: Sequence[Example]) -> bool:
    """Whether the pass can serve an ask: no look at logits, and no token before the answers'."""
    if needs_of(ask.metric):
        return False
    places = [(ask.positions(example), example) for example in examples]
    return all(len(at) and at[0] >= _n_prefix(example) for at, example in places)


def middle_layer(model: Model) -> int:
    """The layer whose residual stream represents a sample (Chen et al. 2024: half the depth)."""
    return max(0, model.n_layers // 2 - 1)


def _n_prefix(example: Example) -> int:
    """Tokens that answers to one prompt share; its last one is run with each answer.

    The answer's first token is drawn from the distribution there.
    """
    return max(0, example.n_prompt - 1)


def _row(example: Example, asks: Sequence[Ask]) -> Row:
    return row_of(example, asks, stop=example.stop, n_prefix=_n_prefix(example))


@dataclass(frozen=True, eq=False)
class _Part:
    """A batch that was run: its examples as they were read, and the states of its samples."""

    examples: tuple[int, ...]
    reader: Reader | None
    logits: Tensor
    values: Float[Tensor, "ask example layer neuron"]
    samples: tuple[int, ...]
    states: Float[Tensor, "sample d_model"]


class _Runner:
    """Runs one batch; the first `n_examples` rows are examples, the others samples."""

    def __init__(
        self,
        model: Model,
        rows: Sequence[Row],
        n_examples: int,
        asks: Sequence[Ask],
        lookback: bool,
    ) -> None:
        self.model, self.rows, self.n_examples, self.lookback = model, rows, n_examples, lookback
        self.reducer = Reducer(model, asks)
        self.schedule = Schedule(model, rows, n_own=1)
        self.trunk: list[stretches.Stretch] = []
        if self.schedule.common:
            with torch.inference_mode():
                self.trunk = [self._prefix([rows[0].token_ids[: self.schedule.common]])]

    @torch.inference_mode()
    def run_batch(self, batch: Batch) -> _Part:
        """The prompts where they are shared, then the examples, then the samples."""
        common, shared = self.schedule.common, None
        if batch.shared:
            first = [self.rows[group[0]] for group in batch.groups]
            shared = self._prefix([row.token_ids[common : row.n_prefix] for row in first])
        group_of = {index: g for g, group in enumerate(batch.groups) for index in group}

        def before(members: Sequence[int]) -> list[stretches.Stretch]:
            if shared is None:
                return self.trunk
            picked = torch.tensor([group_of[index] for index in members], dtype=torch.long)
            return [*self.trunk, shared.pick(picked)]

        def pieces(members: Sequence[int]) -> list[Piece]:
            rows = [self.rows[index] for index in members]
            starts = [row.n_prefix if batch.shared else common for row in rows]
            return [
                Piece(row, number, start, len(row))
                for number, (row, start) in enumerate(zip(rows, starts, strict=True))
            ]

        examples = tuple(index for index in batch.members if index < self.n_examples)
        samples = tuple(index for index in batch.members if index >= self.n_examples)
        own = self._examples(pieces(examples), before(examples))
        return _Part(examples, *own, samples, self._samples(pieces(samples), before(samples)))

    def _examples(
        self, pieces: Sequence[Piece], before: list[stretches.Stretch]
    ) -> tuple[Reader | None, Tensor, Tensor]:
        if not pieces:
            return None, torch.empty(0), torch.empty(0, 0, 0, 0)
        ids, lengths = self._padded([piece.token_ids for piece in pieces])
        cached = sum(stretch.width for stretch in before)
        reader = Reader(self.model, pieces, columns=ids.shape[1], cached=cached)
        self.reducer.begin(lay_out(pieces, ids))
        with reader.reading(self.reducer, attention=self.lookback):
            out, _ = stretches.read(self.model, ids, lengths, before, run=self.model.hf)
        values = or_empty(collect(self.reducer, len(pieces)), self.reducer, len(pieces))
        return reader, out.logits, values

    def _samples(
        self, pieces: Sequence[Piece], before: list[stretches.Stretch]
    ) -> Float[Tensor, "sample d_model"]:
        states = torch.empty(len(pieces), self.model.d_model)
        if not pieces:
            return states
        ids, lengths = self._padded([piece.token_ids for piece in pieces])

        def keep(layer: int, hidden: Tensor) -> None:
            last = (lengths - 1).to(hidden.device)
            states.copy_(hidden[torch.arange(len(pieces), device=hidden.device), last])

        with ending_behind(self.model, middle_layer(self.model), keep):
            stretches.read(self.model, ids, lengths, before)
        return states

    def _prefix(self, sequences: Sequence[Tensor]) -> stretches.Stretch:
        """Keys and values of what several rows begin with, run once for them."""
        return stretches.read(self.model, *self._padded(sequences), self.trunk, keep=True)[1]

    def _padded(self, sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([len(tokens) for tokens in sequences])
        return right_padded(sequences, self.model), lengths


class _Collected:
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

    def take(self, part: _Part) -> None:
        examples = list(part.examples)
        if part.reader is not None:
            self.measured.take((part.examples, part.values))
            self.states[:, examples] = part.reader.states.permute(2, 1, 0, 3)
            distributions = part.reader.distributions(part.logits)
            self.tokens.update(zip(examples, distributions, strict=True))
            self._take_lookback(part.reader, examples)
        self.sample_states[[index - self.n for index in part.samples]] = part.states
        self.done += len(part.examples) + len(part.samples)

    def _take_lookback(self, reader: Reader, examples: list[int]) -> None:
        if len(reader.lookback) < self.model.n_layers:
            return
        ratios = torch.stack([reader.lookback[layer] for layer in range(self.model.n_layers)])
        if self.lookback is None:
            self.lookback = torch.empty(self.n, ratios.shape[0], ratios.shape[2])
        self.lookback[examples] = ratios.transpose(0, 1)

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
