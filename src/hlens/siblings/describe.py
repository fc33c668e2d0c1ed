"""What a comparison with a sibling says, in sentences that say no more than their intervals.

A loss or gain is named only where the interval of a paired difference leaves zero out. Where it
does not, the sentence says how much the interval still leaves room for, so that a difference that
few answers could not show is not taken for none.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from hlens.counting import count
from hlens.types import Estimate
from hlens.types.labels import SiblingReading

Row = Mapping[str, Any]


def describe(scores: pd.DataFrame, differences: pd.DataFrame, drift: pd.DataFrame) -> list[str]:
    """Sentences on the tables of a `hlens.siblings.SiblingComparison`."""
    by_name = {row["detector"]: row for row in scores.to_dict("records")}
    pairs = {(row["detector"], row["against"]): row for row in differences.to_dict("records")}
    home, as_is, realigned, refitted = (by_name[name] for name in SiblingReading)
    here, there = home["model"] or "the home model", as_is["model"] or "the sibling"
    there = (
        "the sibling" if there == here else there
    )  # the same model, quantised or in another dtype
    kind = SiblingReading
    return [
        f"At home ({here}) the detector reads an AUROC of {_auroc(home)}, on {there} as it is "
        f"{_auroc(as_is)}: {_compared(pairs[kind.AS_IS, kind.HOME])}.",
        f"Realigned without labels it reads {_auroc(realigned)}; against as is, "
        f"{_compared(pairs[kind.REALIGNED, kind.AS_IS])}; against home, "
        f"{_compared(pairs[kind.REALIGNED, kind.HOME])}.",
        f"At the threshold fixed in training, balanced accuracy is {_accuracy(home)} at home and "
        f"{_accuracy(as_is)} as is: {_compared(pairs[kind.AS_IS, kind.HOME], 'accuracy_')}; "
        f"realigned {_accuracy(realigned)}; against as is, "
        f"{_compared(pairs[kind.REALIGNED, kind.AS_IS], 'accuracy_')}.",
        f"A detector found afresh on {there} reads {_auroc(refitted)}; against realigned, "
        f"{_compared(pairs[kind.REFITTED, kind.REALIGNED])}. {_overlap(home, refitted)}.",
        _drift(drift),
        f"All answers are those of {here}, read by both models; what {there} would itself answer "
        "is not measured.",
    ]


def _auroc(row: Row) -> str:
    return f"{Estimate.from_row(row):.2f}"


def _accuracy(row: Row) -> str:
    return f"{Estimate.from_row(row, 'balanced_accuracy', ends='accuracy_'):.2f}"


def _compared(row: Row, of: str = "") -> str:
    """One paired difference: a gain or loss, or how much of one the interval leaves room for."""
    difference = Estimate.from_row(row, f"{of}difference", ends=f"{of}difference_")
    value, low, high = difference.value, difference.low, difference.high
    if not low <= high:  # NaN
        return f"{value:+.2f}, whose interval is not known".replace("-", "−")
    if low == high == 0:
        return "no change at all"
    if low > 0 or high < 0:
        return f"a {'gain' if low > 0 else 'loss'} of {_along(difference)}"
    return (
        f"no difference is shown ({difference.signed()}: room for a loss of up to {_up(-low)} and "
        f"a gain of up to {_up(high)})"
    )


def _up(room: float) -> str:
    """Rounded up, so that it says no less than the interval leaves open.

    >>> _up(0.0049), _up(-1e-12)
    ('0.01', '0.00')
    """
    return f"{max(0, math.ceil(100 * room - 1e-9)) / 100:.2f}"


def _along(difference: Estimate) -> str:
    """The size of a gain or a loss, with its interval."""
    least, most = sorted((abs(difference.low), abs(difference.high)))
    form = ".2f" if least >= 0.005 else ".4f"  # an end of 0.00 would seem to hold zero
    return f"{abs(difference.value):{form}} [{least:{form}}, {most:{form}}]"


def _overlap(home: Row, refitted: Row) -> str:
    own, other = int(home["neurons"]), int(refitted["neurons"])
    return (
        f"It selects {count(other, 'neuron')}, {int(refitted['shared'])} of them among the {own} "
        "found at "
        f"home (by chance, within layers: {refitted['shared_by_chance']:.1f})"
    )


def _drift(drift: pd.DataFrame) -> str:
    """The drift in medians; of the correlation, which realigning cannot mend, also the lowest."""
    known = drift["correlation"].dropna()
    n = len(drift)
    if known.empty:
        return f"None of the {count(n, 'selected neuron')} varies on both models."
    lowest = f"{known.min():.3f}".replace("-", "−")
    text = (
        f"Over the same answers the {count(n, 'selected neuron')} correlate with their "
        "counterparts at "
        f"{known.median():.3f} (median; lowest {lowest}; other neurons of their layers "
        f"{drift['layer_correlation'].median():.3f})"
    )
    text += (
        f", their means shift by {drift['shift'].abs().median():.2f} standard deviations, and "
        f"their spread is {drift['spread_ratio'].median():.2f} times that at home (medians)"
    )
    cosines = drift["cosine"].dropna()
    if len(cosines):
        text += f"; their rows of W_out have a cosine of {cosines.median():.5f} (median)"
    silent = n - len(known)
    return f"{text}{f'; {silent} do not vary on one of the models' if silent else ''}."
