"""Which examples are run together: by length, and by the prompt that they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hlens.contributions.tasks import Task

# Prompts of one batch differ by no more than this; their answers are short beside them.
_BUCKET = 16


@dataclass(frozen=True)
class Batch:
    """Examples that are run together.

    Attributes:
        groups: Indices of the examples, in groups that share their prompt's prefill; each group
            is of one where nothing is shared.
        shared: True where the prompts are run once a group.
    """

    groups: tuple[tuple[int, ...], ...]
    shared: bool

    @property
    def members(self) -> tuple[int, ...]:
        """Indices of the examples, in the order of their results."""
        return tuple(index for group in self.groups for index in group)

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same examples in two batches; only for batches of two or more."""
        parts = self.groups
        if len(parts) == 1:  # one prompt's answers: each half runs the prompt again
            middle = len(self.members) // 2
            parts = (self.members[:middle], self.members[middle:])
        middle = len(parts) // 2
        return Batch(parts[:middle], self.shared), Batch(parts[middle:], self.shared)


def plan(
    tasks: Sequence[Task],
    tokens: int,
    batch_size: int | None = None,
    share: bool = True,
    overhead: int = 32,
) -> list[Batch]:
    """Cut examples into batches, the longest first, so that too large a batch fails early.

    Args:
        tasks: All examples, as they are run.
        tokens: How many tokens, padding included, a forward pass may have.
        batch_size: How many examples at most; None leaves it to `tokens`.
        share: Run the prompt that several examples share only once.
        overhead: What a batch costs besides its tokens, in tokens; padding is weighed against it.
    """
    most = batch_size or len(tasks)
    families = _families(tasks) if share else [(index,) for index in range(len(tasks))]
    alone = [family[0] for family in families if len(family) == 1]
    together = [part for family in families if len(family) > 1 for part in _cut(family, most)]
    shared = _pack_shared(tasks, together, tokens, most)
    return [*shared, *_pack_alone(tasks, alone, tokens, most, overhead)]


def padded_tokens(batch: Batch, tasks: Sequence[Task]) -> int:
    """Tokens of the longest forward pass of a batch, padding included."""
    members = [tasks[index] for index in batch.members]
    if not batch.shared:
        return len(members) * max(map(len, members))
    answers = max(len(task) - task.n_prefix for task in members)
    prompts = max(task.n_prefix for task in members)
    return max(len(members) * answers, len(batch.groups) * prompts)


def _families(tasks: Sequence[Task]) -> list[tuple[int, ...]]:
    """Examples by their prompt; one that has no prompt or nothing after it stands alone."""
    found: dict[object, list[int]] = {}
    for index, task in enumerate(tasks):
        n = task.n_prefix
        key = task.token_ids[:n].cpu().numpy().tobytes() if n > 0 else index
        found.setdefault(key, []).append(index)
    return [tuple(family) for family in found.values()]


def _cut(family: tuple[int, ...], most: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(family), most):
        yield family[start : start + most]


def _pack_alone(
    tasks: Sequence[Task], alone: list[int], tokens: int, most: int, overhead: int
) -> list[Batch]:
    """Cut the examples, sorted by length, where padding and batches together cost least."""
    order = sorted(alone, key=lambda index: len(tasks[index]), reverse=True)
    cost = [0]
    start = [0]
    for stop in range(1, len(order) + 1):
        options = []
        for first in range(stop - 1, max(-1, stop - 1 - most), -1):
            padded = (stop - first) * len(tasks[order[first]])
            if padded > tokens and first < stop - 1:
                break
            options.append((cost[first] + padded + overhead, first))
        best = min(options)
        cost.append(best[0])
        start.append(best[1])
    batches = []
    stop = len(order)
    while stop > 0:
        batches.append(Batch(tuple((i,) for i in order[start[stop] : stop]), shared=False))
        stop = start[stop]
    return batches[::-1]


def _pack_shared(
    tasks: Sequence[Task], families: list[tuple[int, ...]], tokens: int, most: int
) -> list[Batch]:
    def size(family: tuple[int, ...]) -> tuple[int, int]:
        answer = max(len(tasks[i]) - tasks[i].n_prefix for i in family)
        return tasks[family[0]].n_prefix, answer

    batches: list[Batch] = []
    current: list[tuple[int, ...]] = []
    for family in sorted(families, key=size, reverse=True):
        grown = Batch((*current, family), shared=True)
        far = current and size(current[0])[0] - size(family)[0] > _BUCKET
        full = len(grown.members) > most or padded_tokens(grown, tasks) > tokens
        if current and (far or full):
            batches.append(Batch(tuple(current), shared=True))
            current = []
        current.append(family)
    if current:
        batches.append(Batch(tuple(current), shared=True))
    return batches
