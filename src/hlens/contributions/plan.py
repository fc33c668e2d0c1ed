"""Which examples are run together: by length, and by the prompt that they share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hlens.contributions.tasks import Task


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
    common: int = 0,
) -> list[Batch]:
    """Cut examples into batches, the longest first, so that too large a batch fails early.

    Args:
        tasks: All examples, as they are run.
        tokens: How many tokens, padding included, a forward pass may have.
        batch_size: How many examples at most; None leaves it to `tokens`.
        share: Run the prompt that several examples share only once, where that costs less.
        overhead: What a pass costs besides its tokens, in tokens; padding is weighed against it.
        common: Tokens that all examples begin with, and that are run before.
    """
    most = batch_size or len(tasks)
    everyone = [(index,) for index in range(len(tasks))]
    cost, rows = _pack(tasks, everyone, False, tokens, most, overhead, common)
    if not share:
        return rows
    families = _families(tasks, common)
    alone = [family for family in families if len(family) == 1]
    together = [part for family in families if len(family) > 1 for part in _cut(family, most)]
    cost_together, shared = _pack(tasks, together, True, tokens, most, overhead, common)
    cost_alone, rest = _pack(tasks, alone, False, tokens, most, overhead, common)
    return [*shared, *rest] if cost_together + cost_alone < cost else rows


def padded_tokens(batch: Batch, tasks: Sequence[Task], common: int = 0) -> int:
    """Tokens of the longest forward pass of a batch, padding included."""
    sizes = [_size(tasks, family, batch.shared, common) for family in batch.groups]
    prompts, answers = zip(*sizes, strict=True)
    return max(len(batch.groups) * max(prompts), len(batch.members) * max(answers))


def _size(
    tasks: Sequence[Task], family: tuple[int, ...], shared: bool, common: int
) -> tuple[int, int]:
    """Tokens of the prompt that a family shares, and of its longest rest."""
    start = tasks[family[0]].n_prefix if shared else common
    return start - common, max(len(tasks[index]) for index in family) - start


def _families(tasks: Sequence[Task], common: int) -> list[tuple[int, ...]]:
    """Examples by their prompt; one that shares no more than all do stands alone."""
    found: dict[object, list[int]] = {}
    for index, task in enumerate(tasks):
        prompt = task.token_ids[common : task.n_prefix]
        key = prompt.cpu().numpy().tobytes() if len(prompt) else index
        found.setdefault(key, []).append(index)
    return [tuple(family) for family in found.values()]


def _cut(family: tuple[int, ...], most: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(family), most):
        yield family[start : start + most]


def _pack(
    tasks: Sequence[Task],
    families: Sequence[tuple[int, ...]],
    shared: bool,
    tokens: int,
    most: int,
    overhead: int,
    common: int,
) -> tuple[int, list[Batch]]:
    """Cut the families, sorted by size, where padding and passes together cost least."""
    size = {family: _size(tasks, family, shared, common) for family in families}
    order = sorted(families, key=size.__getitem__, reverse=True)
    passes = 2 * overhead if shared else overhead

    def costs(stop: int) -> Iterator[tuple[int, int]]:
        """For each first family of a batch that ends before `stop`: it, and what that costs."""
        members = answer = 0
        for first in range(stop - 1, -1, -1):
            members += len(order[first])
            answer = max(answer, size[order[first]][1])
            prompts, answers = (stop - first) * size[order[first]][0], members * answer
            if first < stop - 1 and (members > most or max(prompts, answers) > tokens):
                return
            yield first, prompts + answers + passes

    cost, cuts = _cheapest(len(order), costs)
    return cost, [Batch(tuple(order[a:b]), shared) for a, b in pairwise(cuts)]


def _cheapest(n: int, costs: Callable[[int], Iterator[tuple[int, int]]]) -> tuple[int, list[int]]:
    """The cheapest way to cut a row of `n` things, by dynamic programming: its cost, its cuts."""
    cost, start = [0], [0]
    for stop in range(1, n + 1):
        best = min((cost[first] + here, first) for first, here in costs(stop))
        cost.append(best[0])
        start.append(best[1])
    cuts = [n]
    while cuts[-1] > 0:
        cuts.append(start[cuts[-1]])
    return cost[-1], cuts[::-1]
