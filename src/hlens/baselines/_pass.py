"""The forward pass that the rivals share: examples and samples together, prompts run once."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hlens import metrics
from hlens.baselines._reader import Reader, Row
from hlens.contributions.engine import auto_tokens, is_out_of_memory
from hlens.contributions.gathering import InMemory
from hlens.contributions.passes import collect, or_nothing, right_padded
from hlens.contributions.plan import Batch, plan
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.taking import taking, wants
from hlens.contributions.tasks import Task, longest_row, shared_length
from hlens.model import Model, stretches
from hlens.types import Contributions, Example

log = logging.getLogger("hlens")
Progress = Callable[[int, int], None]
ACTIVATION = Ask(metrics.activation, "answer")
_LOGITS = 1 << 28  # entries of the logits of one pass


@dataclass(frozen=True, eq=False)
class Readings:
    """What one forward pass over examples and samples tells; see `Evidence` for the fields."""

    logprobs: tuple[tuple[float, ...], ...]
    entropies: tuple[tuple[float, ...], ...]
    activations: Contributions
    residual: Float[Tensor, "example layer d_model"]
    residual_last: Float[Tensor, "example layer d_model"]
    lookback: Float[Tensor, "example layer head"] | None
    sample_states: Float[Tensor, "sample d_model"]


def middle_layer(model: Model) -> int:
    """The layer whose residual stream stands for a sample (Chen et al. 2024: half the depth)."""
    return max(0, model.n_layers // 2 - 1)


def read(
    model: Model,
    examples: Sequence[Example],
    samples: Sequence[Example],
    lookback: bool,
    progress: Progress | None = None,
) -> Readings:
    """Run all examples and samples once; the prompt that several share is run once for them.

    Args:
        model: The model.
        examples: Read in full, at their answer spans.
        samples: Only the residual stream of the middle layer at their last token is read.
        lookback: Whether attention is read.
        progress: Called with (sequences done, sequences in all).
    """
    tasks = [_task(sequence) for sequence in (*examples, *samples)]
    kept = _Kept(model, examples, len(samples))
    for members, reader, logits, activations in _passes(model, tasks, len(examples), lookback):
        kept.take(members, reader, logits, activations)
        if progress:
            progress(kept.done, len(tasks))
    return kept.readings()


class _Kept:
    """Readings as they come, each in its place."""

    def __init__(self, model: Model, examples: Sequence[Example], n_samples: int) -> None:
        self.model = model
        self.n = len(examples)
        self.done = 0
        self.states = torch.empty(2, self.n, model.n_layers, model.d_model)
        self.sample_states = torch.empty(n_samples, model.d_model)
        self.lookback: Tensor | None = None
        self.tokens: dict[int, tuple[list[float], list[float]]] = {}
        self.activations = InMemory(model, examples, [ACTIVATION])

    def take(
        self, members: Sequence[int], reader: Reader, logits: Tensor, activations: Tensor
    ) -> None:
        own = [at for at, index in enumerate(members) if index < self.n]
        to = tuple(members[at] for at in own)
        if own:
            self.activations.take((to, activations))
            self.states[:, list(to)] = reader.states[:, own].permute(2, 1, 0, 3)
            self.tokens.update(zip(to, reader.distributions(logits), strict=True))
            self._attend(reader, own, to)
        rest = [at for at, index in enumerate(members) if index >= self.n]
        places = [members[at] - self.n for at in rest]
        self.sample_states[places] = reader.states[middle_layer(self.model), rest, 1]
        self.done += len(members)

    def _attend(self, reader: Reader, own: list[int], to: tuple[int, ...]) -> None:
        if len(reader.lookback) < self.model.n_layers:
            return
        found = torch.stack([reader.lookback[layer][own] for layer in range(self.model.n_layers)])
        if self.lookback is None:
            self.lookback = torch.empty(self.n, found.shape[0], found.shape[2])
        self.lookback[list(to)] = found.transpose(0, 1)

    def readings(self) -> Readings:
        tokens = [self.tokens[index] for index in range(self.n)]
        return Readings(
            logprobs=tuple(tuple(logprobs) for logprobs, _ in tokens),
            entropies=tuple(tuple(entropies) for _, entropies in tokens),
            activations=self.activations.contributions(0, range(self.n)),
            residual=self.states[0],
            residual_last=self.states[1],
            lookback=self.lookback,
            sample_states=self.sample_states,
        )


def _task(example: Example) -> Task:
    """Run up to the end of the span; the last token of the prompt is run with each answer.

    The answer's first token is drawn from the distribution there.
    """
    tokens = example.token_ids[: example.stop]
    return Task(example, tokens, max(0, example.n_prompt - 1), [ACTIVATION.positions(example)])


def _passes(
    model: Model, tasks: Sequence[Task], n_examples: int, lookback: bool
) -> Iterator[tuple[tuple[int, ...], Reader, Tensor, Tensor]]:
    """Batch after batch; one that does not fit in memory is run as its halves."""
    reducer = Reducer(model, [ACTIVATION])
    vocabulary = int(model.hf.get_output_embeddings().weight.shape[0])
    tokens = max(1, min(auto_tokens(model), _LOGITS // vocabulary))
    overhead = 1024 if model.device.type == "cuda" else 32
    share = stretches.serves(model, longest_row(tasks))
    common = shared_length(tasks, overhead) if share else 0
    # Each prompt keeps a token of its own.
    common = max(0, min(common, min(task.n_prefix for task in tasks) - 1))
    trunk = _trunk(model, tasks[0], common)
    waiting = list(reversed(plan(tasks, tokens, None, share, overhead, common)))
    while waiting:
        batch = waiting.pop()
        try:
            with torch.inference_mode():
                found = _run(model, reducer, batch, tasks, n_examples, lookback, trunk)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(batch.members) == 1:
                raise
            log.warning("out of memory: going on with %d sequences", len(batch.members) // 2)
            waiting += reversed(batch.halves())
            continue
        yield batch.members, *found


def _run(
    model: Model,
    reducer: Reducer,
    batch: Batch,
    tasks: Sequence[Task],
    n_examples: int,
    lookback: bool,
    trunk: list[stretches.Stretch],
) -> tuple[Reader, Tensor, Tensor]:
    common = trunk[0].width if trunk else 0
    rows = [
        Row(tasks[i], tasks[i].n_prefix if batch.shared else common, i < n_examples)
        for i in batch.members
    ]
    ids = right_padded([row.task.token_ids[row.offset :] for row in rows], model)
    lengths = torch.tensor([len(row.task) - row.offset for row in rows])
    before = [*trunk, _prefill(model, batch, tasks, trunk)] if batch.shared else trunk
    reader = Reader(model, rows, ids.shape[1], sum(each.width for each in before))
    own = [at for at, row in enumerate(rows) if row.logits]
    wanted = [
        wants([ACTIVATION], rows[at].task.positions, at, slot, rows[at].offset, len(rows[at].task))
        for slot, at in enumerate(own)
    ]
    reducer.begin(taking(wanted, len(rows), ids.shape[1], model.device) if wanted else None)
    with reader.reading(reducer, lookback):
        out, _ = stretches.read(model, ids, lengths, before, run=model.hf)
    found = collect(reducer, [ACTIVATION], len(own), None)
    return reader, out.logits, or_nothing(found, reducer, [ACTIVATION], len(own))


def _trunk(model: Model, first: Task, length: int) -> list[stretches.Stretch]:
    """What all begin with, run once; empty where that is nothing."""
    if length == 0:
        return []
    with torch.inference_mode():
        ids = right_padded([first.token_ids[:length]], model)
        return [stretches.read(model, ids, torch.tensor([length]), keep=True)[1]]


def _prefill(
    model: Model, batch: Batch, tasks: Sequence[Task], trunk: list[stretches.Stretch]
) -> stretches.Stretch:
    """Each group's prompt, run once and read by all of its members."""
    heads = [tasks[group[0]] for group in batch.groups]
    start = trunk[0].width if trunk else 0
    prompts = right_padded([head.token_ids[start : head.n_prefix] for head in heads], model)
    lengths = torch.tensor([head.n_prefix - start for head in heads])
    _, stretch = stretches.read(model, prompts, lengths, trunk, keep=True)
    rows = [row for row, group in enumerate(batch.groups) for _ in group]
    return stretch.pick(torch.tensor(rows))
