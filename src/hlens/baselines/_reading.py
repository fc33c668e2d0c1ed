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
from hlens.baselines._lens import SIGNALS, layers_to_read
from hlens.baselines._reader import Reader, TokenNumbers
from hlens.baselines._sae import Sae
from hlens.contributions.passes import collect, or_empty, right_padded
from hlens.contributions.plan import Batch
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.results import InMemory
from hlens.contributions.rows import Piece, lay_out, row_of
from hlens.contributions.schedule import Schedule, auto_tokens
from hlens.metrics import needs_of
from hlens.model import Model, Prefix, run_with_prefixes, stopping_after
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
    lens: Float[Tensor, "example signal"] | None
    sae_features: Float[Tensor, "example feature"] | None
    sample_states: Float[Tensor, "sample d_model"]


def read(
    model: Model,
    examples: Sequence[Example],
    samples: Sequence[Example],
    *,
    lookback: bool,
    lens: bool = False,
    sae: Sae | None = None,
    also: Sequence[Ask] = (),
    progress: Progress | None = None,
) -> Readings:
    """Run all examples and samples once; the prompt that several share is run once for them.

    `also` is measured on the examples besides, where `in_one_pass` holds; attention is read only
    for `lookback`, layers are unembedded for `lens`. `progress` counts sequences.
    """
    asks = [ACTIVATION, *also]
    shared = _SharedPass(model, examples, samples, asks, lookback=lookback, lens=lens, sae=sae)
    # Logits are as large as the vocabulary, so that they may bound a batch.
    most = _LOGITS // model.unembedding_size
    batches = shared.schedule.batches(max(1, min(auto_tokens(model), most)))
    done = 0
    for batch, part in shared.schedule.run(batches, shared.run_batch):
        shared.take(part)
        done += len(batch.members)
        if progress:
            progress(done, len(shared.rows))
    return shared.readings()


def in_one_pass(ask: Ask, examples: Sequence[Example]) -> bool:
    """Whether the pass can serve an ask: no look at logits, and no token before the answers'."""
    if needs_of(ask.metric):
        return False
    places = [(ask.positions(example), example) for example in examples]
    return all(len(read) and read[0] >= _n_prefix(example) for read, example in places)


def middle_layer(model: Model) -> int:
    """The layer whose residual stream represents a sample (Chen et al. 2024: half the depth)."""
    return max(0, model.n_layers // 2 - 1)


def _n_prefix(example: Example) -> int:
    """Tokens that answers to one prompt share; its last one is run with each answer.

    The answer's first token is drawn from the distribution there.
    """
    return max(0, example.n_prompt - 1)


@dataclass(frozen=True, eq=False)
class _Part:
    """A batch that was run: its examples as they were read, and the states of its samples."""

    examples: list[int]
    reader: Reader | None
    tokens: list[TokenNumbers]
    values: Float[Tensor, "ask example layer neuron"]
    samples: list[int]
    states: Float[Tensor, "sample d_model"]


class _SharedPass:
    """Runs batches of examples and samples, and keeps what is read of them in its place.

    Rows are the examples, then the samples, as they are run.
    """

    def __init__(
        self,
        model: Model,
        examples: Sequence[Example],
        samples: Sequence[Example],
        asks: Sequence[Ask],
        *,
        lookback: bool,
        lens: bool,
        sae: Sae | None,
    ) -> None:
        self.model, self.n, self.reads_attention = model, len(examples), lookback
        self.lens_layers = layers_to_read(model.n_layers) if lens else []
        self.sae = sae
        asked = [(example, asks) for example in examples] + [(sample, []) for sample in samples]
        self.rows = [
            row_of(example, own, stop=example.stop, n_prefix=_n_prefix(example))
            for example, own in asked
        ]
        self.reducer = Reducer(model, asks)
        self.schedule = Schedule(model, self.rows, n_own=1)
        self.trunk: list[Prefix] = []
        self.common = self.schedule.beginnings[0].length  # the only one: rows are not split
        if self.common:
            with torch.inference_mode():
                self.trunk = [self._prefix([self.rows[0].token_ids[: self.common]])]
        self.measured = InMemory(model, examples, asks)
        self.tokens: dict[int, TokenNumbers] = {}
        self.states = torch.empty(2, self.n, model.n_layers, model.d_model)
        self.sample_states = torch.empty(len(samples), model.d_model)
        self.lookback: Tensor | None = None
        self.lens = torch.empty(self.n, len(SIGNALS)) if lens else None
        self.sae_features = torch.empty(self.n, len(sae.b_enc)) if sae else None

    @torch.inference_mode()
    def run_batch(self, batch: Batch) -> _Part:
        """The prompts where they are shared, then the examples, then the samples."""
        common, shared = self.common, None
        if batch.shared:
            first = [self.rows[group[0]] for group in batch.groups]
            shared = self._prefix([row.token_ids[common : row.n_prefix] for row in first])
        group_of = {index: g for g, group in enumerate(batch.groups) for index in group}

        def before(members: Sequence[int]) -> list[Prefix]:
            if shared is None:
                return self.trunk
            picked = torch.tensor([group_of[index] for index in members], dtype=torch.long)
            return [*self.trunk, shared.pick(picked)]

        def pieces(members: Sequence[int]) -> list[Piece]:
            rows = enumerate(self.rows[index] for index in members)
            return [
                Piece(row, number, row.n_prefix if batch.shared else common, len(row))
                for number, row in rows
            ]

        examples = [index for index in batch.members if index < self.n]
        samples = [index for index in batch.members if index >= self.n]
        own = self._examples(pieces(examples), before(examples))
        return _Part(examples, *own, samples, self._samples(pieces(samples), before(samples)))

    def _examples(
        self, pieces: Sequence[Piece], before: list[Prefix]
    ) -> tuple[Reader | None, list[TokenNumbers], Tensor]:
        if not pieces:
            return None, [], torch.empty(0, 0, 0, 0)
        ids, lengths = self._padded([piece.token_ids for piece in pieces])
        cached = sum(prefix.width for prefix in before)
        reader = Reader(
            self.model,
            pieces,
            columns=ids.shape[1],
            cached=cached,
            lens_layers=self.lens_layers,
            sae=self.sae,
        )
        self.reducer.begin(lay_out(pieces, ids))
        with reader.reading(self.reducer, attention=self.reads_attention):
            out, _ = run_with_prefixes(self.model, ids, lengths, before, run=self.model.hf)
        values = or_empty(collect(self.reducer, len(pieces)), self.reducer, len(pieces))
        tokens = reader.distributions(out.logits)
        del out  # before more logits are made
        if self.lens_layers:
            reader.read_lens()
        return reader, tokens, values

    def _samples(
        self, pieces: Sequence[Piece], before: list[Prefix]
    ) -> Float[Tensor, "sample d_model"]:
        states = torch.empty(len(pieces), self.model.d_model)
        if not pieces:
            return states
        ids, lengths = self._padded([piece.token_ids for piece in pieces])

        def keep(layer: int, hidden: Tensor) -> None:
            last = (lengths - 1).to(hidden.device)
            states.copy_(hidden[torch.arange(len(pieces), device=hidden.device), last])

        with stopping_after(self.model, middle_layer(self.model), keep):
            run_with_prefixes(self.model, ids, lengths, before)
        return states

    def _prefix(self, sequences: Sequence[Tensor]) -> Prefix:
        """Keys and values of what several rows begin with, run once for them."""
        return run_with_prefixes(self.model, *self._padded(sequences), self.trunk, keep=True)[1]

    def _padded(self, sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([len(tokens) for tokens in sequences])
        return right_padded(sequences, self.model), lengths

    def take(self, part: _Part) -> None:
        """Keep what was read of a batch."""
        examples, reader = part.examples, part.reader
        self.sample_states[[index - self.n for index in part.samples]] = part.states
        if reader is None:
            return
        self.measured.take(examples, part.values)
        self.states[:, examples] = reader.states.permute(2, 1, 0, 3)
        self.tokens.update(zip(examples, part.tokens, strict=True))
        if self.lens is not None:
            self.lens[examples] = reader.lens
        if self.sae_features is not None:
            self.sae_features[examples] = reader.sae_features
        if len(reader.lookback) == self.model.n_layers:  # else it returns no attention weights
            ratios = torch.stack([reader.lookback[layer] for layer in range(self.model.n_layers)])
            if self.lookback is None:
                self.lookback = torch.empty(self.n, ratios.shape[0], ratios.shape[2])
            self.lookback[examples] = ratios.transpose(0, 1)

    def readings(self) -> Readings:
        examples, asks = range(self.n), range(len(self.reducer.asks))
        logprobs, entropies = zip(*(self.tokens[index] for index in examples), strict=True)
        activations, *measured = [self.measured.contributions(k, examples) for k in asks]
        return Readings(
            logprobs=logprobs,
            entropies=entropies,
            activations=activations,
            measured=tuple(measured),
            residual=self.states[0],
            residual_last=self.states[1],
            lookback=self.lookback,
            lens=self.lens,
            sae_features=self.sae_features,
            sample_states=self.sample_states,
        )
