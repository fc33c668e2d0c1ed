"""A number with its interval: read from a row, written to a row, and formatted, in one place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T", bound=Any)  # a number, or a column of numbers


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and the number of examples behind it.

    A format applies to the number and to both ends:

    >>> auroc = Estimate(0.8512, 0.801, 0.893, n=420)
    >>> print(auroc)
    0.851 [0.801, 0.893] (n=420)
    >>> f"{auroc:.2f}", f"{auroc:.1%}", auroc.interval()
    ('0.85 [0.80, 0.89]', '85.1% [80.1%, 89.3%]', '[0.801, 0.893]')

    In a table an estimate is four columns: the value, ``low``, ``high`` and ``n``. A second one in
    the same row has its own prefix for ``low`` and ``high``:

    >>> row = auroc.to_row("difference", ends="difference_")
    >>> row
    {'difference': 0.8512, 'difference_low': 0.801, 'difference_high': 0.893, 'n': 420}
    >>> Estimate.from_row(row, "difference", ends="difference_") == auroc
    True
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def missing(cls, n: int = 0) -> "Estimate":
        """What could not be estimated: NaN throughout."""
        return cls(float("nan"), float("nan"), float("nan"), n)

    @classmethod
    def from_row(
        cls, row: Mapping[str, Any], value: str = "auroc", *, ends: str = ""
    ) -> "Estimate":
        """Read an estimate from a table's row; an empty or absent end is NaN, an absent n 0."""
        cells = (row[value], row.get(f"{ends}low"), row.get(f"{ends}high"))
        number, low, high = (float("nan") if cell is None else float(cell) for cell in cells)
        n = row.get("n")
        return cls(number, low, high, 0 if n is None or n != n else int(n))

    def to_row(self, value: str = "auroc", *, ends: str = "") -> dict[str, float | int]:
        """The columns that `from_row` reads."""
        return {value: self.value, f"{ends}low": self.low, f"{ends}high": self.high, "n": self.n}

    @property
    def known(self) -> bool:
        """Whether there is a number (it is not NaN)."""
        return self.value == self.value

    def scaled(self, factor: float) -> "Estimate":
        """The same in another unit, such as points instead of shares; `factor` is positive."""
        return Estimate(factor * self.value, factor * self.low, factor * self.high, self.n)

    def interval(self, number: str | Callable[[float], str] = ".3f") -> str:
        """The interval in brackets; `number` is a format, or a function that writes a number."""
        if self.low != self.low or self.high != self.high:
            return "[interval not known]"
        write = number if callable(number) else lambda end: format(end, number)
        return f"[{write(self.low)}, {write(self.high)}]"

    def signed(self, form: str = ".2f") -> str:
        """A difference with its interval, every sign written out.

        >>> Estimate(0.05, -0.01, 0.1, 420).signed()
        '+0.05 [−0.01, +0.10]'
        """
        return format(self, f"+{form}").replace("-", "−")

    def change(self, up: str = "rises by", down: str = "falls by", form: str = ".2f") -> str:
        """A difference in words, and its interval in the direction that they say.

        >>> Estimate(-0.07, -0.16, 0.02, 90).change()
        'falls by 0.07 [−0.02, +0.16]'
        """
        along = self if self.value >= 0 else Estimate(-self.value, -self.high, -self.low, self.n)
        ends = along.interval(f"+{form}").replace("-", "−")
        return f"{up if along is self else down} {along.value:{form}} {ends}"

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} {self.interval(spec)}" if spec else str(self)

    def __str__(self) -> str:
        return f"{self:.3f} (n={self.n})"


def from_chance(auroc: T) -> T:
    """How far AUROCs are from chance, either way: what tells best may lie below it.

    >>> round(from_chance(0.23), 2), round(from_chance(0.6), 2)
    (0.27, 0.1)
    """
    return abs(auroc - 0.5)


def auroc_words(auroc: float) -> str:
    """An AUROC as it is written; below chance it tells the other way round.

    >>> auroc_words(0.82), auroc_words(0.23)
    ('0.82', '0.23 (inverse)')
    """
    return f"{auroc:.2f}{' (inverse)' if round(auroc, 2) < 0.5 else ''}"


def percent(share: float) -> str:
    """A share in whole percent.

    >>> percent(0.314)
    '31 %'
    """
    return f"{100 * share:.0f} %"


def p_words(p: float) -> str:
    """A p as it is written in a sentence.

    >>> p_words(0.0002), p_words(0.04)
    ('p < 0.001', 'p = 0.040')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
