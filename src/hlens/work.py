"""Long work in numbered blocks, and who does them: this process, some others, or a cluster.

Problem: sampling and measuring take hours on one machine, and with several the results must not
depend on how many there were, on which came first, or on which were lost.

Idea: how the work is cut is settled before anyone begins, from the work alone. A block's result
depends on its number and on nothing else, so that anyone who has the model may do it. `Workers` are
told which blocks are not there yet, and give results in any order; what was done is kept by the
step that asked.

Worked example, of work that squares its numbers:

    >>> class Squares:
    ...     model = None
    ...     def run(self, number):
    ...         return number**2
    >>> class OnlyEven:
    ...     continues = True
    ...     def own(self, numbers):
    ...         return [number for number in numbers if number % 2 == 0]
    ...     def results(self, work, numbers, folder):
    ...         yield from ((number, work.run(number)) for number in self.own(numbers))
    >>> dict(OnlyEven().results(Squares(), [1, 2, 4], None))
    {2: 4, 4: 16}
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Work(Protocol):
    """Work in numbered blocks."""

    @property
    def model(self) -> Any:
        """The model that does it."""
        ...

    def maker(self) -> "Callable[[Any], Work]":
        """What makes the same work of another copy of the model; it can be sent to machines."""
        ...

    def run(self, number: int) -> Any:
        """The result of one block."""
        ...


@runtime_checkable
class Workers(Protocol):
    """Who does blocks of work.

    Attributes:
        continues: Whether blocks of other work are left alone, because others may be at it.
    """

    continues: bool

    def own(self, numbers: Sequence[int]) -> list[int]:
        """Those of these blocks that are theirs to do."""
        ...

    def results(
        self, work: Work, numbers: Sequence[int], folder: Path | None
    ) -> Iterator[tuple[int, Any]]:
        """Number and result of each of their own blocks among these, in any order.

        Args:
            work: The work.
            numbers: Its blocks that are not done yet, also those of others.
            folder: Where done blocks are kept; None in memory.

        Raises:
            HlensError: Not all of the blocks were theirs, or they cannot be had.
        """
        ...


class Here:
    """This process, which does one block after another."""

    continues = False

    def own(self, numbers: Sequence[int]) -> list[int]:
        return list(numbers)

    def results(
        self, work: Work, numbers: Sequence[int], folder: Path | None
    ) -> Iterator[tuple[int, Any]]:
        for number in numbers:
            yield number, work.run(number)


HERE = Here()
