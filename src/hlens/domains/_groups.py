"""Draw and split questions by whole groups.

Questions of one group share a fact, a page or a commit. One in training and its sibling in the test
part would let a probe score by memory, so neither a draw nor a split ever divides a group.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence

from hlens.errors import HlensError
from hlens.types import Question

SPLITS = ("all", "train", "test")
BLOCK = 10  # neighbours in a set are alike (one topic, one table), so each block gives its share


def draw_groups(questions: Sequence[Question], n: int, *, seed: int = 0) -> list[Question]:
    """At most `n` questions, whole groups only, spread evenly over the set, in the set's order.

    Groups are ranked at random within blocks of ten neighbours, so a tenth of the set holds about
    one group of each block, and a larger draw with the same seed begins with the groups of the
    smaller one. A group that no longer fits is skipped; the result is shorter than `n` only where
    no remaining group is small enough.

    Raises:
        HlensError: `n` is below the size of every group.
    """
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.group, []).append(question)
    if len(questions) <= n:
        return list(questions)
    drawn: set[str] = set()
    remaining = n
    for group in _ranked(list(groups), seed):
        if len(groups[group]) <= remaining:
            drawn.add(group)
            remaining -= len(groups[group])
    if not drawn:
        smallest = min(map(len, groups.values()))
        raise HlensError(
            f"n={n} questions, but the smallest group holds {smallest}; "
            f"ask for at least {smallest}: a group is never divided"
        )
    return [question for question in questions if question.group in drawn]


def _ranked(groups: Sequence[str], seed: int) -> list[str]:
    rng = random.Random(seed)
    order: list[tuple[int, float, str]] = []
    for begin in range(0, len(groups), BLOCK):
        block = list(groups[begin : begin + BLOCK])
        rng.shuffle(block)
        order += [(rank, rng.random(), group) for rank, group in enumerate(block)]
    return [group for *_, group in sorted(order)]


def select_split(questions: Iterable[Question], split: str) -> Iterator[Question]:
    """The questions of a split: ``"all"``, ``"train"`` or ``"test"`` (a fifth of the groups).

    Raises:
        HlensError: `split` is none of these.
    """
    if split not in SPLITS:
        raise HlensError(f"unknown split {split!r}; expected 'all', 'train' or 'test'")
    return (q for q in questions if split == "all" or is_test(q.group) == (split == "test"))


def is_test(group: str) -> bool:
    """Whether a group belongs to the test split: a fifth of all groups, by a hash of the name.

    The hash makes the split the same on every machine, and a row added to a set moves no other row
    across the split.
    """
    return hashlib.sha256(group.encode()).digest()[0] < 51


def by_split(read: Callable[[], Iterable[Question]]) -> Callable[..., Iterator[Question]]:
    """A domain's ``questions(split="all")``, from a function that reads all of its questions."""

    def questions(split: str = "all") -> Iterator[Question]:
        """The questions of a split, in a fixed order; see `select_split`."""
        return select_split(read(), split)

    return questions
