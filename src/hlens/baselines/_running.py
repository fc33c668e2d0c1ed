"""Runs sequences batch by batch: examples through the whole model, samples to its middle layer."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.baselines._reader import Reader, Row
from hlens.contributions.engine import auto_tokens, is_out_of_memory, pass_overhead
from hlens.contributions.passes import collect, or_nothing, right_padded
from hlens.contributions.plan import Batch, plan
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.taking import taking, wants
from hlens.contributions.tasks import Task, longest_row, shared_length
from hlens.model import Model, Prefix, can_share_prefixes, run_with_prefixes, stopping_after

log = logging.getLogger("hlens")
_LOGITS = 1 << 28  # entries of the logits of one pass


def middle_layer(model: Model) -> int:
    """The layer whose residual stream stands for a sample (Chen et al. 2024: half the depth)."""
    return max(0, model.n_layers // 2 - 1)


@dataclass(frozen=True, eq=False)
class Found:
    """A batch that was run: its examples as they were read, and the states of its samples."""

    examples: tuple[int, ...]
    reader: Reader | None
    logits: Tensor
    values: Float[Tensor, "ask example layer neuron"]
    samples: tuple[int, ...]
    states: Float[Tensor, "sample d_model"]


class Runner:
    """Runs batch after batch; the first `n_examples` tasks are examples, the others samples."""

    def __init__(
        self,
        model: Model,
        tasks: Sequence[Task],
        n_examples: int,
        asks: Sequence[Ask],
        lookback: bool,
    ) -> None:
        self.model, self.tasks, self.n, self.lookback = model, tasks, n_examples, lookback
        self.asks = list(asks)
        self.reducer = Reducer(model, asks)
        self.overhead = pass_overhead(model)
        self.share = can_share_prefixes(model, longest_row(tasks))
        common = shared_length(tasks, self.overhead) if self.share else 0
        # Each prompt keeps a token of its own.
        self.common = max(0, min(common, min(task.n_prefix for task in tasks) - 1))
        self.trunk: list[Prefix] = []
        if self.common:
            with torch.inference_mode():
                self.trunk = [self._prefix([tasks[0].token_ids[: self.common]])]

    def run(self) -> Iterator[Found]:
        """All batches; one that does not fit in memory is run as its halves."""
        vocabulary = int(self.model.hf.get_output_embeddings().weight.shape[0])
        tokens = max(1, min(auto_tokens(self.model), _LOGITS // vocabulary))
        batches = plan(self.tasks, tokens, None, self.share, self.overhead, self.common)
        waiting = list(reversed(batches))
        while waiting:
            batch = waiting.pop()
            try:
                with torch.inference_mode():
                    found = self._batch(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(batch.members) == 1:
                    raise
                log.warning("out of memory: going on with %d sequences", len(batch.members) // 2)
                waiting += reversed(batch.halves())
                continue
            yield found

    def _batch(self, batch: Batch) -> Found:
        prompts = [self.tasks[group[0]] for group in batch.groups]
        shared = (
            self._prefix([task.token_ids[self.common : task.n_prefix] for task in prompts])
            if batch.shared
            else None
        )
        row = {index: at for at, group in enumerate(batch.groups) for index in group}

        def before(members: Sequence[int]) -> list[Prefix]:
            if shared is None:
                return self.trunk
            picked = torch.tensor([row[index] for index in members], dtype=torch.long)
            return [*self.trunk, shared.pick(picked)]

        examples = tuple(index for index in batch.members if index < self.n)
        samples = tuple(index for index in batch.members if index >= self.n)
        own = self._examples(self._rows(examples, batch.shared), before(examples))
        states = self._samples(self._rows(samples, batch.shared), before(samples))
        return Found(examples, *own, samples, states)

    def _rows(self, members: Sequence[int], shared: bool) -> list[Row]:
        tasks = [self.tasks[index] for index in members]
        return [Row(task, task.n_prefix if shared else self.common) for task in tasks]

    def _laid(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        ids = right_padded([row.task.token_ids[row.offset :] for row in rows], self.model)
        return ids, torch.tensor([len(row.task) - row.offset for row in rows])

    def _examples(
        self, rows: Sequence[Row], before: list[Prefix]
    ) -> tuple[Reader | None, Tensor, Tensor]:
        if not rows:
            return None, torch.empty(0), torch.empty(0, 0, 0, 0)
        ids, lengths = self._laid(rows)
        reader = Reader(self.model, rows, ids.shape[1], sum(each.width for each in before))
        wanted = [
            wants(self.asks, row.task.positions, at, at, row.offset, len(row.task))
            for at, row in enumerate(rows)
        ]
        self.reducer.begin(taking(wanted, len(rows), ids.shape[1], self.model.device))
        with reader.reading(self.reducer, self.lookback):
            out, _ = run_with_prefixes(self.model, ids, lengths, before, run=self.model.hf)
        found = collect(self.reducer, self.asks, len(rows), None)
        return reader, out.logits, or_nothing(found, self.reducer, self.asks, len(rows))

    def _samples(
        self, rows: Sequence[Row], before: list[Prefix]
    ) -> Float[Tensor, "sample d_model"]:
        found = torch.empty(len(rows), self.model.d_model)
        if not rows:
            return found
        ids, lengths = self._laid(rows)

        def keep(layer: int, hidden: Tensor) -> None:
            last = (lengths - 1).to(hidden.device)
            found.copy_(hidden[torch.arange(len(rows), device=hidden.device), last])

        with stopping_after(self.model, middle_layer(self.model), keep):
            run_with_prefixes(self.model, ids, lengths, before)
        return found

    def _prefix(self, rows: Sequence[Tensor]) -> Prefix:
        """Keys and values of what several sequences begin with, run once for them."""
        ids, lengths = right_padded(rows, self.model), torch.tensor([len(row) for row in rows])
        return run_with_prefixes(self.model, ids, lengths, self.trunk, keep=True)[1]
