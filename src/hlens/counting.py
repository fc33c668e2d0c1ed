"""A number with its noun, in the singular where there is one."""


def count(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun; `plural` is given where it is not the noun with an s.

    >>> count(1, "neuron"), count(2041, "neuron"), count(2, "pass", "passes")
    ('1 neuron', '2,041 neurons', '2 passes')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"
