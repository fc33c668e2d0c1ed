"""Numbers that a caller gives, checked in one way: a plain Python number within its limits.

Numpy's and torch's scalars are taken as the numbers that they are. True is no number, NaN is none,
and what is out of its limits would end deep inside torch, or not at all.

>>> check_whole("n", 3, least=1), check_real("top_p", 1, above=0, most=1)
(3, 1.0)
"""

import math
import sys
from typing import Any

from hlens.errors import HlensError

MOST = 10**9  # more of anything is a slip of the hand
LARGEST_SEED = 2**32 - 1  # of numpy and scikit-learn
FINITE: dict[str, Any] = {
    "least": -sys.float_info.max,
    "most": sys.float_info.max,
}  # limits of `check_real`


def check_whole(
    name: str, value: Any, *, least: int = 0, most: int = MOST, or_zero: str = ""
) -> int:
    """The value as an int; raises `HlensError` unless it is a whole number within the limits.

    With `or_zero`, which says what 0 stands for, 0 is taken, too.

    >>> check_whole("n", 0, least=1, most=100)
    Traceback (most recent call last):
    hlens.errors.HlensError: n=0; expected a whole number from 1 to 100
    """
    plain = _plain(value)
    fits = isinstance(plain, int) and not isinstance(plain, bool)
    if not fits or not (least <= plain <= most or (or_zero and plain == 0)):
        raise _refused(name, plain, f"a whole number from {least} to {most}", or_zero)
    return plain


def check_real(
    name: str,
    value: Any,
    *,
    least: int | float = 0,
    above: int | float | None = None,
    most: int | float = MOST,
    below: int | float | None = None,
    or_zero: str = "",
) -> float:
    """The value as a float; raises `HlensError` unless it is a number within the limits.

    With `above`, it must be larger than that, and `least` is not asked; with `below` besides, it
    must be smaller than that. With `or_zero`, which says what 0 stands for, 0 is taken, too.

    >>> check_real("top_p", 0, above=0, most=1)
    Traceback (most recent call last):
    hlens.errors.HlensError: top_p=0; expected a number above 0, at most 1
    """
    plain = _plain(value)
    fits = isinstance(plain, int | float) and not isinstance(plain, bool)
    if fits and not (or_zero and plain == 0):
        fits = plain > above if above is not None else plain >= least
        fits &= plain <= most if below is None else plain < below
    if not fits:
        low = f"from {least:g} to" if above is None else f"above {above:g}, at most"
        limits = f"{low} {most:g}" if below is None else f"between {above:g} and {below:g}"
        expected = "a finite number" if most == FINITE["most"] else f"a number {limits}"
        raise _refused(name, plain, expected, or_zero)
    return float(plain)


def check_seed(value: Any) -> int:
    """The value as an int; raises `HlensError` unless all libraries take it as a seed."""
    return check_whole("seed", value, most=LARGEST_SEED)


def _refused(name: str, value: Any, expected: str, zero: str) -> HlensError:
    besides = f", or 0 ({zero})" if zero else ""
    return HlensError(f"{name}={show_value(value)}; expected {expected}{besides}")


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
