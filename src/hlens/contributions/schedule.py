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
_PART = 16  # passes that a part of the rows must save to be run apart


@dataclass(frozen=True)
class Beginning:
    """Rows that begin with the same tokens, which are run once for them."""

    rows: tuple[int, ...]
    length: int  # of these tokens; 0 where nothing is run before


@dataclass(frozen=True, eq=False)
class Schedule:
    """Rows, what they share, and the order in which they are run."""

    model: Model
    rows: Sequence[Row]
    batch_size: int | None = None  # rows at a time; None leaves it to the memory
    may_share: bool = True  # what several rows begin with may be run once for them
    n_own: int = 0  # tokens of each prompt that are kept out of what all rows share
    split: bool = False  # into rows that begin alike, such as those of one domain
    given: Sequence[Beginning] = ()  # what rows share, where it was found out before

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
    def beginnings(self) -> list[Beginning]:
        """All rows by what they begin with; a group apart where that saves more than a pass."""
        if self.given:
            return list(self.given)
        found: list[Beginning] = []
        waiting = [tuple(range(len(self.rows)))]
        while waiting:
            rows = waiting.pop()
            parts = self._parts(rows) if self.split else []
            if parts:
                waiting += reversed(parts)
            else:
                found.append(Beginning(rows, self._common_of(rows)))
        return found

    def _common_of(self, rows: Sequence[int]) -> int:
        """How many tokens of these rows are run once for all; 0 where that does not pay."""
        some = [self.rows[index] for index in rows]
        length = common_length(some)
        if length * (self._n_prompts(rows) - 1) <= self.overhead or not self.shares:
            return 0
        return max(0, min(length, min(row.n_prefix for row in some) - self.n_own))

    def _parts(self, rows: Sequence[int]) -> list[tuple[int, ...]]:
        """Rows by the first token in which they differ; empty where to part them does not pay.

        Worked examples of several domains part into a few groups, and each of these shares hundreds
        of tokens; questions part into as many groups as there are first words.
        """
        length = common_length([self.rows[index] for index in rows])
        by_token: dict[int, list[int]] = {}
        for index in rows:
            row = self.rows[index]
            token = int(row.token_ids[length]) if length < row.n_prefix else -1
            by_token.setdefault(token, []).append(index)
        saved = sum(
            (self._common_of(part) - length) * (self._n_prompts(part) - 1)
            for part in by_token.values()
        )
        # Each part has batches of its own, of which the last is not full.
        pays = len(by_token) > 1 and saved > _PART * self.overhead * len(by_token)
        return [tuple(part) for part in by_token.values()] if pays else []

    def _n_prompts(self, rows: Sequence[int]) -> int:
        some = (self.rows[index] for index in rows)
        return len({bytes(row.token_ids[: row.n_prefix].cpu().numpy()) for row in some})

    def batches(self, tokens: int) -> list[Batch]:
        """All rows in batches of about so many tokens."""
        size, overhead = self.batch_size, self.overhead
        out: list[Batch] = []
        for number, beginning in enumerate(self.beginnings):
            rows = [self.rows[index] for index in beginning.rows]
            planned = partial(plan, rows, tokens, batch_size=size, overhead=overhead)
            batches = planned(common=beginning.length)
            if any(batch.shared for batch in batches) and not self.shares:
                batches = planned(share=False)
            out += [batch.of(beginning.rows, number) for batch in batches]
        return out

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
            begun = self.beginnings[batch.beginning].length
            tokens = padded_tokens(batch, self.rows, begun)
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
