"""Options that would do nothing where they were given: refused, never passed over in silence."""

from collections.abc import Mapping
from typing import Any

from hlens.errors import HlensError


def refuse(given: Mapping[str, Any], goes_with: str) -> None:
    """Raise `HlensError` where any of these options was given.

    >>> refuse({"batch_size": None, "model": None}, "a file")
    >>> refuse({"batch_size": 2, "model": None}, "a file of answers; there is none")
    Traceback (most recent call last):
    hlens.errors.HlensError: --batch-size goes with a file of answers; there is none
    """
    for name, value in given.items():
        if value not in (None, "", [], {}):
            raise HlensError(f"--{name.replace('_', '-')} goes with {goes_with}")
