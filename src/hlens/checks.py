"""Numbers that a caller gives, checked in one way: a plain Python number within its limits.

Numpy's and torch's scalars are taken as the numbers that they are. True is no number, NaN is none,
and what is out of its limits would end deep inside torch, or not at all.

>>> check_whole("n", 3, least=1), check_real("top_p", 1, above=0, most=1)
(3, 1.0)
"""

import math
from typing import Any

from hlens.errors import HlensError

MOST = 10**9  # more of anything is a slip of the hand
LARGEST_SEED = 2**32 - 1  # of numpy and scikit-learn


def check_whole(name: str, value: Any, *, least: int = 0, most: int = MOST) -> int:
    """The value as an int; raises `HlensError` unless it is a whole number within the limits.

    >>> check_whole("n", 0, least=1, most=100)
    Traceback (most recent call last):
    hlens.errors.HlensError: n=0; expected a whole number from 1 to 100
    """
    plain = _plain(value)
    if not isinstance(plain, int) or isinstance(plain, bool) or not least <= plain <= most:
        raise HlensError(
            f"{name}={show_value(plain)}; expected a whole number from {least} to {most}"
        )
    return plain


def check_real(
    name: str,
    value: Any,
    *,
    least: int | float = 0,
    above: int | float | None = None,
    most: int | float = MOST,
) -> float:
    """The value as a float; raises `HlensError` unless it is a number within the limits.

    With `above`, it must be larger than that, and `least` is not asked.

    >>> check_real("top_p", 0, above=0, most=1)
    Traceback (most recent call last):
    hlens.errors.HlensError: top_p=0; expected a number above 0, at most 1
    """
    plain = _plain(value)
    number = isinstance(plain, int | float) and not isinstance(plain, bool)
    if not number or not (plain > above if above is not None else plain >= least) or plain > most:
        limits = f"from {least:g} to" if above is None else f"above {above:g}, at most"
        raise HlensError(f"{name}={show_value(plain)}; expected a number {limits} {most:g}")
    return float(plain)


def check_seed(value: Any) -> int:
    """The value as an int; raises `HlensError` unless all libraries take it as a seed."""
    return check_whole("seed", value, most=LARGEST_SEED)


def _plain(value: Any) -> Any:
    """A scalar of numpy or torch as Python's own; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def show_value(value: Any) -> str:
    """A value as it is written, cut short; an integer of thousands of digits as its magnitude.

    Python refuses to write such an integer.
    """
    if isinstance(value, int) and abs(value) > 10**30:
        return f"about {'-' if value < 0 else ''}1e{math.log10(abs(value)):.0f}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
