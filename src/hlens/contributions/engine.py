"""A measurement: the examples, what is asked of them, and the passes that answer it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, singledispatch

import torch
from torch import Tensor

from hlens.contributions.attribution import run_attributed
from hlens.contributions.passes import Trunk, run_groups, run_rows, run_trunk
from hlens.contributions.plan import Batch
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.rows import ResponseRows, Row, all_needs, by_response, row_of
from hlens.contributions.schedule import Beginning, Schedule
from hlens.errors import HlensError
from hlens.model import Model
from hlens.types import Example

Progress = Callable[[int, int], None]
# Examples that are read from one sequence at most: each takes memory for its results.
_MOST_SPANS = 64
# What a batch gives: indices of examples, and their values [ask, example, layer, neuron].
Chunk = tuple[tuple[int, ...], Tensor]


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be measured, and how."""

    model: Model
    examples: Sequence[Example]
    asks: Sequence[Ask]
    dtype: torch.dtype = torch.float32  # of the values that are kept
    batch_size: int | None = None  # examples at a time; None leaves it to the memory
    progress: Progress | None = None  # called with the number of examples done and of all
    beginnings: Sequence[Beginning] = ()  # what rows share, where it was found out before

    @cached_property
    def read(self) -> list[Ask]:
        """What is read in a pass: the asks, then the counts by which those over tokens that are
        routed are divided.
        """
        counted = [ask for ask in self.asks if ask.reduce == "routed"]
        return [*self.asks, *(replace(ask, counts=True) for ask in counted)]

    @cached_property
    def rows(self) -> list[Row]:
        return [row_of(example, self.read) for example in self.examples]

    @cached_property
    def needs(self) -> frozenset[str]:
        """What the metrics need that depends on the answer's logits."""
        return all_needs(self.asks)

    @cached_property
    def responses(self) -> list[tuple[int, ...]]:
        """For each sequence to run, indices of the examples read from it, the longest first."""
        if self.needs:  # each example has a loss of its own
            return [(index,) for index in range(len(self.rows))]
        return by_response(self.rows, most=min(_MOST_SPANS, self.batch_size or _MOST_SPANS))

    @cached_property
    def schedule(self) -> Schedule:
        """The longest row of each response, which stands for all of them, in batches."""
        longest = [self.rows[own[0]] for own in self.responses]
        size = self.batch_size and max(1, self.batch_size // max(map(len, self.responses)))
        return Schedule(
            self.model,
            longest,
            size,
            may_share=not self.needs,
            split=True,
            given=self.beginnings,
        )

    @cached_property
    def trunks(self) -> list[Trunk]:
        """What the rows of each beginning share, run when first needed."""
        reducer = Reducer(self.model, self.read)
        with torch.inference_mode(), reducer.hooked():
            return [
                run_trunk(reducer, self._rows_behind(beginning), beginning.length)
                for beginning in self.schedule.beginnings
            ]

    def _rows_behind(self, beginning: Beginning) -> list[Row]:
        return [row for number in beginning.rows for row in self._rows_of(number)]

    def batches(self, tokens: int) -> list[Batch]:
        """All responses in batches of about this many tokens."""
        # A gradient's graph keeps every layer.
        return self.schedule.batches(max(128, tokens // 8) if "gradient" in self.needs else tokens)

    def begun(self) -> Sequence[Beginning]:
        """What the rows of these batches share, which is run before."""
        return self.schedule.beginnings

    def members(self, batch: Batch) -> tuple[int, ...]:
        """Indices of a batch's examples, in the order of their results."""
        return tuple(index for number in batch.members for index in self.responses[number])

    def kept(self, ask: Ask) -> list[int]:
        """Examples in which an ask has a token."""
        number = self.asks.index(ask)
        return [index for index, row in enumerate(self.rows) if len(row.positions[number])]

    def run(self, batches: Sequence[Batch]) -> Iterator[Chunk]:
        """Yield the values of each batch that was run."""
        done = 0
        for batch, results in self.results(batches):
            results = self._divided(results)
            values = results.to(self.dtype)
            self._check_finite(batch, results, values)
            yield self.members(batch), values
            done += len(self.members(batch))
            if self.progress is not None:
                self.progress(done, len(self.examples))

    def results(self, batches: Sequence[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Run the batches: ``[what is read, example, layer, neuron]`` of each."""
        reducer = Reducer(self.model, self.read)
        with reducer.hooked():
            yield from self.schedule.run(batches, partial(self._run_batch, reducer))

    def _run_batch(self, reducer: Reducer, batch: Batch) -> Tensor:
        groups = [[self._rows_of(number) for number in group] for group in batch.groups]
        responses = [own for group in groups for own in group]
        with torch.no_grad() if "gradient" in self.needs else torch.inference_mode():
            if batch.shared:
                return run_groups(reducer, groups, self.trunks[batch.beginning])
            if self.needs:
                return run_attributed(reducer, [own[0] for own in responses])
            return run_rows(reducer, responses, self.trunks[batch.beginning])

    def _rows_of(self, number: int) -> ResponseRows:
        return tuple(self.rows[index] for index in self.responses[number])

    def _divided(self, results: Tensor) -> Tensor:
        """The asks alone, those over tokens that are routed divided by how many there are."""
        n = len(self.asks)
        if len(self.read) == n:
            return results
        counts = iter(results[n:].clamp_min(1.0))
        values = zip(self.asks, results[:n], strict=True)
        return torch.stack([v / next(counts) if a.reduce == "routed" else v for a, v in values])

    def _check_finite(self, batch: Batch, results: Tensor, values: Tensor) -> None:
        """Raise `HlensError` for values that are not finite: one of them would spoil every probe.

        All values are looked at together first, which costs little. An example without a token of
        a region may have anything there: it is left out of that region's data.
        """
        least, most = torch.aminmax(values)
        if -torch.inf < float(least) and float(most) < torch.inf:  # false for NaN, too
            return
        bad = [
            place
            for place, index in enumerate(self.members(batch))
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
        name = self.examples[self.members(batch)[bad[0]]].question_id
        raise HlensError(
            f"contributions to example {name!r} and {len(bad) - 1} more are not finite; {mend}"
        )


@singledispatch
def job_of(
    model: Model,
    examples: Sequence[Example],
    asks: Sequence[Ask],
    *,
    dtype: torch.dtype = torch.float32,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Job:
    """The measurement, run by what runs the model.

    An engine (`hlens.engines`) registers a job of its own for its kind of model.
    """
    return Job(model, examples, asks, dtype, batch_size, progress)
