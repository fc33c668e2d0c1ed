"""Numbers as the card writes them."""

from hlens.types import Estimate


def written(number: Estimate) -> str:
    """A number with its interval, short.

    >>> written(Estimate(0.8512, 0.801, 0.893, 420))
    '0.85 [0.80, 0.89]'
    """
    return f"{number.value:.2f} [{number.low:.2f}, {number.high:.2f}]"


def signed(number: Estimate, sign: int = 1, form: str = ".2f") -> str:
    """A difference with its interval, its sign written out.

    >>> signed(Estimate(0.05, -0.01, 0.1, 420), -1)
    '−0.05 [−0.10, +0.01]'
    """
    ends = sorted((sign * number.low, sign * number.high))
    value, low, high = (
        f"{part:+{form}}".replace("-", "−") for part in (sign * number.value, *ends)
    )
    return f"{value} [{low}, {high}]"


def percent(share: float) -> str:
    """A share in whole percent.

    >>> percent(0.314)
    '31 %'
    """
    return f"{100 * share:.0f} %"
