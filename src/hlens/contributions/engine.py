"""A measurement: the examples, what is asked of them, and the passes that answer it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from hlens.contributions.attribution import any_needs, run_attributed
from hlens.contributions.passes import Trunk, run_groups, run_rows, run_trunk
from hlens.contributions.plan import Batch
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.rows import Row, row_of
from hlens.contributions.schedule import Schedule
from hlens.errors import HlensError
from hlens.model import Model
from hlens.types import Example

Progress = Callable[[int, int], None]
# What a batch gives: indices of examples, and their values [ask, example, layer, neuron].
Chunk = tuple[tuple[int, ...], Tensor]


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be measured, and how.

    Attributes:
        model: The model.
        examples: All examples.
        asks: What is asked of each.
        dtype: Of the values that are kept.
        batch_size: Examples at a time; None leaves it to the memory.
        progress: Called with the number of examples done and of all.
    """

    model: Model
    examples: Sequence[Example]
    asks: Sequence[Ask]
    dtype: torch.dtype = torch.float32
    batch_size: int | None = None
    progress: Progress | None = None

    @cached_property
    def rows(self) -> list[Row]:
        """The examples as they are run."""
        return [row_of(example, self.asks) for example in self.examples]

    @cached_property
    def with_gradient(self) -> bool:
        """Whether a metric needs gradients."""
        return any_needs(self.asks, "gradient")

    @cached_property
    def attributed(self) -> bool:
        """Whether a metric depends on the answer's logits."""
        return self.with_gradient or any_needs(self.asks, "direction")

    @cached_property
    def schedule(self) -> Schedule:
        """In which order the rows are run."""
        return Schedule(self.model, self.rows, self.batch_size, may_share=not self.attributed)

    @cached_property
    def trunk(self) -> Trunk:
        """What all rows begin with, run when first needed."""
        reducer = Reducer(self.model, self.asks)
        with torch.inference_mode(), reducer.hooked():
            return run_trunk(reducer, self.rows, self.schedule.common)

    def batches(self, tokens: int) -> list[Batch]:
        """All examples in batches of about so many tokens."""
        # A gradient's graph keeps every layer.
        return self.schedule.batches(max(128, tokens // 8) if self.with_gradient else tokens)

    def kept(self, ask: Ask) -> list[int]:
        """Examples in which an ask has a token."""
        number = self.asks.index(ask)
        return [index for index, row in enumerate(self.rows) if len(row.positions[number])]

    def run(self, batches: Sequence[Batch], done: int = 0) -> Iterator[Chunk]:
        """Run batches, and yield the values of each that was run.

        Args:
            batches: What to run.
            done: How many examples were done before, for `progress`.
        """
        reducer = Reducer(self.model, self.asks)
        with reducer.hooked():
            for batch, results in self.schedule.run(batches, partial(self._run_batch, reducer)):
                values = results.to(self.dtype)
                self._check_finite(batch, results, values)
                yield batch.members, values
                done += len(batch.members)
                if self.progress is not None:
                    self.progress(done, len(self.examples))

    def _run_batch(self, reducer: Reducer, batch: Batch) -> Tensor:
        groups = [[self.rows[index] for index in group] for group in batch.groups]
        rows = [row for group in groups for row in group]
        with torch.no_grad() if self.with_gradient else torch.inference_mode():
            if batch.shared:
                return run_groups(reducer, groups, self.trunk)
            if self.attributed:
                return run_attributed(reducer, rows)
            return run_rows(reducer, rows, self.trunk)

    def _check_finite(self, batch: Batch, results: Tensor, values: Tensor) -> None:
        """Raise `HlensError` for values that are not finite: one of them would spoil every probe.

        The whole is looked over first, since that costs little; an example without a token of a
        region may have anything there, for it is left out.
        """
        least, most = torch.aminmax(values)
        if -torch.inf < float(least) and float(most) < torch.inf:  # false for NaN, too
            return
        bad = [
            place
            for place, index in enumerate(batch.members)
            if any(
                len(positions) and not values[number, place].isfinite().all()
                for number, positions in enumerate(self.rows[index].positions)
            )
        ]
        if not bad:
            return
        mend = f"in {self.model.dtype} the model overflows: load it in bfloat16 or float32"
        if bool(results[:, bad].isfinite().all()):
            mend = f"they do not fit {self.dtype}: measure with dtype=torch.float32"
        name = self.examples[batch.members[bad[0]]].question_id
        raise HlensError(
            f"contributions to example {name!r} and {len(bad) - 1} more are not finite; {mend}"
        )
