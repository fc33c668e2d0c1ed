"""Numbers as the card writes them."""

from hlens.types import Estimate


def written(number: Estimate) -> str:
    """A number with its interval, short.

    >>> written(Estimate(0.8512, 0.801, 0.893, 420))
    '0.85 [0.80, 0.89]'
    """
    return f"{number.value:.2f} [{number.low:.2f}, {number.high:.2f}]"


def signed(number: Estimate, form: str = ".2f") -> str:
    """A difference with its interval, its sign written out.

    >>> signed(Estimate(0.05, -0.01, 0.1, 420))
    '+0.05 [−0.01, +0.10]'
    """
    parts = (number.value, number.low, number.high)
    value, low, high = (f"{part:+{form}}".replace("-", "−") for part in parts)
    return f"{value} [{low}, {high}]"


def spaced(name: str) -> str:
    """A member's name as a reader takes it.

    >>> spaced("min_logprob")
    'min logprob'
    """
    return name.replace("_", " ")


def percent(share: float) -> str:
    """A share in whole percent.

    >>> percent(0.314)
    '31 %'
    """
    return f"{100 * share:.0f} %"
