"""The loop over batches: as large as memory allows, halved when it does not."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import torch

from hlens.contributions.plan import Batch, padded_tokens, plan
from hlens.contributions.rows import Row, common_length
from hlens.model import Model
from hlens.model.prefix import can_share_prefixes

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Schedule:
    """Rows, what they share, and the order in which they are run."""

    model: Model
    rows: Sequence[Row]
    batch_size: int | None = None  # rows at a time; None leaves it to the memory
    may_share: bool = True  # what several rows begin with may be run once for them
    n_own: int = 0  # tokens of each prompt that are kept out of what all rows share

    @cached_property
    def overhead(self) -> int:
        """What a forward pass costs besides its tokens, in tokens."""
        # A GPU launches a layer's kernels in the time that a CPU computes a token or two.
        return 1024 if self.model.device.type == "cuda" else 32

    @cached_property
    def shares(self) -> bool:
        """Whether rows may read what was run for others; tried out once a model and length."""
        # The longest row that a batch may have, the padding of its prompt included.
        longest = max(row.n_prefix for row in self.rows)
        longest += max(len(row) - row.n_prefix for row in self.rows)
        return self.may_share and can_share_prefixes(self.model, longest)

    @cached_property
    def common(self) -> int:
        """How many tokens are run once for all; 0 where that does not pay."""
        length = common_length(self.rows)
        prompts = {bytes(row.token_ids[: row.n_prefix].cpu().numpy()) for row in self.rows}
        if length * (len(prompts) - 1) <= self.overhead or not self.shares:
            return 0
        return max(0, min(length, min(row.n_prefix for row in self.rows) - self.n_own))

    def batches(self, tokens: int) -> list[Batch]:
        """All rows in batches of about so many tokens."""
        size, overhead = self.batch_size, self.overhead
        planned = partial(plan, self.rows, tokens, batch_size=size, overhead=overhead)
        batches = planned(common=self.common)
        if any(batch.shared for batch in batches) and not self.shares:
            return planned(share=False)
        return batches

    def run(
        self, batches: Sequence[Batch], run_batch: Callable[[Batch], Result]
    ) -> Iterator[tuple[Batch, Result]]:
        """Run batch after batch; one that does not fit in memory is run as its halves.

        After the first that did not fit, larger ones are halved before they are tried.
        """
        waiting = list(reversed(batches))
        limit = None
        while waiting:
            batch = waiting.pop()
            tokens = padded_tokens(batch, self.rows, self.common)
            if limit is not None and tokens > limit and len(batch.members) > 1:
                waiting += reversed(batch.halves())
                continue
            result = _try(run_batch, batch)
            if result is None:  # and here the error, whose traceback held the tensors, is gone
                limit = tokens // 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                warnings.warn(
                    f"out of memory with {tokens} tokens in a batch; going on with at most {limit}",
                    ResourceWarning,
                    stacklevel=2,
                )
                waiting.append(batch)
                continue
            yield batch, result


def _try(run_batch: Callable[[Batch], Result], batch: Batch) -> Result | None:
    """The result of a batch; None when it did not fit in memory and can be halved."""
    try:
        return run_batch(batch)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error) or len(batch.members) == 1:
            raise
        return None


def _is_out_of_memory(error: BaseException) -> bool:
    """True for what CUDA, MPS and the CPU's allocator raise when memory is short."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def auto_tokens(model: Model) -> int:
    """Tokens of a batch that should fit, from the memory that is free on the fullest device."""
    devices = {model.device, *(mlp.device for mlp in model.mlps)}
    gpus = [device for device in devices if device.type == "cuda"]
    if not gpus:
        return 1024  # larger batches leave a CPU's cache without gaining speed
    free = min(torch.cuda.mem_get_info(device)[0] for device in gpus)
    # A layer holds a few copies of the neurons and of the residual stream at a time.
    per_token = (6 * model.d_mlp + 24 * model.d_model) * model.dtype.itemsize
    # More would not keep a GPU busier, and its results would wait in pinned memory.
    return int(min(16384, max(1024, 0.4 * free // per_token)))
