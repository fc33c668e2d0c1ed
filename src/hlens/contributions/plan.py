"""Which rows are run together: by length, and by the prompt that they share.

A pass costs its tokens, padding included, and a constant beside. So rows are sorted by size and cut
into batches where that sum is least, by dynamic programming; and prompts are run once a group of
rows only where this saves more than the second pass costs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hlens.contributions.rows import Row

Group = tuple[int, ...]  # indices of rows


@dataclass(frozen=True)
class Batch:
    """Rows that are run together, in groups; each group has one row where nothing is shared."""

    groups: tuple[Group, ...]
    shared: bool  # the prompts are run once a group
    beginning: int = 0  # which of the beginnings that many rows share was run before

    @property
    def members(self) -> Group:
        """Indices of the rows, in the order of their results."""
        return tuple(index for group in self.groups for index in group)

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same rows in two batches; only for batches of two or more."""
        parts = self.groups
        if len(parts) == 1:  # one prompt's answers: each half runs the prompt again
            middle = len(self.members) // 2
            parts = (self.members[:middle], self.members[middle:])
        middle = len(parts) // 2
        return replace(self, groups=parts[:middle]), replace(self, groups=parts[middle:])

    def of(self, rows: Sequence[int], beginning: int) -> "Batch":
        """A batch that was planned over some rows alone, with their indices among all."""
        groups = tuple(tuple(rows[index] for index in group) for group in self.groups)
        return Batch(groups, self.shared, beginning)


def plan(
    rows: Sequence[Row],
    tokens: int,
    *,
    batch_size: int | None = None,
    share: bool = True,
    overhead: int = 32,
    common: int = 0,
) -> list[Batch]:
    """Cut rows into batches, the longest first, so that too large a batch fails early.

    A pass has `tokens` at most, padding included, and costs `overhead` tokens beside. The `common`
    tokens that all rows begin with are run before. With `share`, the prompt of several rows is run
    once where that costs less.
    """
    most = batch_size or len(rows)
    packing = _Packing(rows, tokens, most, overhead, common)
    cost, separate = packing.pack([(index,) for index in range(len(rows))], shared=False)
    if not share:
        return separate
    families = packing.families()
    lone = [family for family in families if len(family) == 1]
    larger = [family for family in families if len(family) > 1]
    fitting = [f[start : start + most] for f in larger for start in range(0, len(f), most)]
    cost_shared, shared = packing.pack(fitting, shared=True)
    cost_lone, rest = packing.pack(lone, shared=False)
    return [*shared, *rest] if cost_shared + cost_lone < cost else separate


def padded_tokens(batch: Batch, rows: Sequence[Row], common: int = 0) -> int:
    """Tokens of the longest forward pass of a batch, padding included."""
    sizes = [_size(rows, group, batch.shared, common) for group in batch.groups]
    prompts, answers = zip(*sizes, strict=True)
    return max(len(batch.groups) * max(prompts), len(batch.members) * max(answers))


def _size(rows: Sequence[Row], group: Group, shared: bool, common: int) -> tuple[int, int]:
    """Tokens of the prompt that a group shares, and of the longest rest."""
    start = rows[group[0]].n_prefix if shared else common
    return start - common, max(len(rows[index]) for index in group) - start


@dataclass(frozen=True, eq=False)
class _Packing:
    """What a batch may hold, and what it costs; `batch_size` is that of `plan`, never None."""

    rows: Sequence[Row]
    tokens: int
    batch_size: int
    overhead: int
    common: int

    def families(self) -> list[Group]:
        """Rows by their prompt; one whose prompt is only what all share is a family of its own."""
        members: dict[object, list[int]] = {}
        for index, row in enumerate(self.rows):
            prompt = row.token_ids[self.common : row.n_prefix]
            key = prompt.cpu().numpy().tobytes() if len(prompt) else index
            members.setdefault(key, []).append(index)
        return [tuple(family) for family in members.values()]

    def pack(self, groups: Sequence[Group], *, shared: bool) -> tuple[int, list[Batch]]:
        """Cut the groups, sorted by size, where padding and passes together cost least."""
        size = {group: _size(self.rows, group, shared, self.common) for group in groups}
        order = sorted(groups, key=size.__getitem__, reverse=True)
        passes = 2 * self.overhead if shared else self.overhead

        def costs(stop: int) -> Iterator[tuple[int, int]]:
            """For each first group of a batch that ends before `stop`: it, and the batch's cost."""
            members = answer = 0
            for first in range(stop - 1, -1, -1):
                members += len(order[first])
                answer = max(answer, size[order[first]][1])
                prompts, answers = (stop - first) * size[order[first]][0], members * answer
                too_large = members > self.batch_size or max(prompts, answers) > self.tokens
                if first < stop - 1 and too_large:
                    return
                yield first, prompts + answers + passes

        # The cheapest cost of the groups before each stop, and where its last batch starts.
        cost, start = [0], [0]
        for stop in range(1, len(order) + 1):
            best = min((cost[first] + here, first) for first, here in costs(stop))
            cost.append(best[0])
            start.append(best[1])
        cuts = [len(order)]
        while cuts[-1] > 0:
            cuts.append(start[cuts[-1]])
        return cost[-1], [Batch(tuple(order[a:b]), shared) for a, b in pairwise(cuts[::-1])]
