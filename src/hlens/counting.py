"""A number with its noun, in the singular where there is one."""

from operator import index
from typing import SupportsIndex


def count(n: SupportsIndex, noun: str, plural: str = "") -> str:
    """A number with its noun; `plural` is given where it is not the noun with an s.

    >>> count(1, "neuron"), count(2041, "neuron"), count(2, "pass", "passes")
    ('1 neuron', '2,041 neurons', '2 passes')
    """
    n = index(n)  # a cell of a table is a number of numpy
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"
