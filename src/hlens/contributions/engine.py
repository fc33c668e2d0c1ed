"""The loop over batches: as large as memory allows, halved when it does not."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hlens.contributions.attribution import needs, run_attributed
from hlens.contributions.gathering import Chunk
from hlens.contributions.passes import Trunk, run_groups, run_rows, run_trunk
from hlens.contributions.plan import Batch, padded_tokens, plan
from hlens.contributions.reducing import Reducer
from hlens.contributions.regions import Ask
from hlens.contributions.tasks import Task, longest_row, shared_length, task_of
from hlens.errors import HlensError
from hlens.model import Model
from hlens.model.prefix import can_share_prefixes
from hlens.types import Example

Progress = Callable[[int, int], None]


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
    dtype: torch.dtype
    batch_size: int | None
    progress: Progress | None

    @cached_property
    def tasks(self) -> list[Task]:
        """The examples as they are run."""
        return [task_of(example, self.asks) for example in self.examples]

    @cached_property
    def attributed(self) -> bool:
        """Whether a metric looks at the answer's logits."""
        return needs(self.asks, "gradient") or needs(self.asks, "direction")

    @cached_property
    def overhead(self) -> int:
        """What a forward pass costs besides its tokens, in tokens."""
        return pass_overhead(self.model)

    @cached_property
    def shares(self) -> bool:
        """Whether examples may read what was run for others."""
        return not self.attributed and can_share_prefixes(self.model, longest_row(self.tasks))

    @cached_property
    def common(self) -> int:
        """How many tokens are run once for all; 0 where that does not pay."""
        length = shared_length(self.tasks, self.overhead)
        return length if length and self.shares else 0  # tried out only where it would pay

    @cached_property
    def trunk(self) -> Trunk:
        """What all examples begin with, run when first asked for."""
        reducer = Reducer(self.model, self.asks)
        with torch.inference_mode(), reducer.hooked():
            return run_trunk(self.model, reducer, self.tasks, self.asks, self.common)

    def batches(self, tokens: int) -> list[Batch]:
        """All examples in batches of about so many tokens."""
        if needs(self.asks, "gradient"):  # its graph keeps every layer
            tokens = max(128, tokens // 8)
        how = (self.tasks, tokens, self.batch_size)
        shared = plan(*how, share=True, overhead=self.overhead, common=self.common)
        if any(batch.shared for batch in shared) and not self.shares:
            return plan(*how, share=False, overhead=self.overhead)
        return shared

    def kept(self, ask: Ask) -> list[int]:
        """Examples in which an ask finds a token."""
        number = self.asks.index(ask)
        return [index for index, task in enumerate(self.tasks) if len(task.positions[number])]

    def run(self, batches: Sequence[Batch], done: int = 0) -> Iterator[Chunk]:
        """Run batch after batch; one that does not fit in memory comes as its halves.

        Args:
            batches: What to run.
            done: How many examples were done before, for `progress`.
        """
        reducer = Reducer(self.model, self.asks)
        waiting = list(reversed(batches))
        limit = None
        with reducer.hooked():
            while waiting:
                batch = waiting.pop()
                tokens = padded_tokens(batch, self.tasks, self.common)
                if limit is not None and tokens > limit and len(batch.members) > 1:
                    waiting += reversed(batch.halves())
                    continue
                results = self._try(reducer, batch)
                if results is None:
                    limit = tokens // 2
                    _say(tokens, limit)
                    waiting.append(batch)  # and now it is above the limit
                    continue
                kept = results.to(self.dtype)
                self._check_finite(batch, results, kept)
                yield batch.members, kept
                done += len(batch.members)
                if self.progress is not None:
                    self.progress(done, len(self.examples))

    def _try(self, reducer: Reducer, batch: Batch) -> Tensor | None:
        """The results of a batch; None when it did not fit in memory and can be halved."""
        try:
            graded = needs(self.asks, "gradient")
            with torch.no_grad() if graded else torch.inference_mode():
                return self._pass(reducer, batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(batch.members) == 1:
                raise
            return None

    def _check_finite(self, batch: Batch, results: Tensor, kept: Tensor) -> None:
        """One value that is not finite would spoil every probe."""
        least, most = torch.aminmax(kept)
        if -torch.inf < float(least) and float(most) < torch.inf:  # false for NaN, too
            return
        bad = [
            place
            for place, index in enumerate(batch.members)
            if any(
                len(at) and not kept[number, place].isfinite().all()  # no token: nothing is kept
                for number, at in enumerate(self.tasks[index].positions)
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

    def _pass(self, reducer: Reducer, batch: Batch) -> Tensor:
        groups = [[self.tasks[index] for index in group] for group in batch.groups]
        if batch.shared:
            return run_groups(self.model, reducer, groups, self.asks, self.trunk)
        chosen = [task for group in groups for task in group]
        if self.attributed:
            return run_attributed(self.model, reducer, chosen, self.asks)
        return run_rows(self.model, reducer, chosen, self.asks, self.trunk)


def is_out_of_memory(error: BaseException) -> bool:
    """True for what CUDA, MPS and the CPU's allocator raise when memory is short."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def pass_overhead(model: Model) -> int:
    """What a forward pass costs besides its tokens, in tokens."""
    # A GPU launches a layer's kernels in the time that a CPU computes a token or two.
    return 1024 if model.device.type == "cuda" else 32


def auto_tokens(model: Model) -> int:
    """Tokens of a batch that should fit, from the memory that is free on the model's device."""
    if model.device.type != "cuda":
        return 1024  # larger batches leave a CPU's cache without gaining speed
    free, _ = torch.cuda.mem_get_info(model.device)
    # A layer holds a few copies of the neurons and of the residual stream at a time.
    per_token = (6 * model.d_mlp + 24 * model.d_model) * model.dtype.itemsize
    # More would not keep a GPU busier, and its results would wait in pinned memory.
    return int(min(16384, max(1024, 0.4 * free // per_token)))


def _say(tokens: int, limit: int) -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    warnings.warn(
        f"out of memory with {tokens} tokens in a batch; going on with at most {limit}",
        ResourceWarning,
        stacklevel=2,
    )
