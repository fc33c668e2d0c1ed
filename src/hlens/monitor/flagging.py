"""Flagging: from which score on an answer is flagged, as an operator or a user says it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from hlens.errors import HlensError
from hlens.monitor.recalibrating import find_threshold
from hlens.types import Detector

KINDS = ("false-alarms", "risk")


@dataclass(frozen=True)
class Flagging:
    """A rule by which answers are flagged; made by `flagging`.

    Attributes:
        kind: ``"false-alarms"``, a share of true answers that may be flagged, whose threshold the
            detector holds (`recalibrate`); or ``"risk"``, a probability of hallucination.
        at: The share, or the probability.
    """

    kind: str
    at: float

    def __str__(self) -> str:
        return f"{self.kind}={self.at:g}"

    def rule(self, detector: Detector, domain: str = "") -> Callable[[float], bool]:
        """Whether a score is flagged.

        Raises:
            HlensError: The detector has no threshold for such a rate.
        """
        if self.kind == "risk":
            return lambda score: (
                float(detector.probability_of(torch.tensor(score), domain)) >= self.at
            )
        limit = find_threshold(detector, self.at, domain).score
        return lambda score: score >= limit


def flagging(text: str) -> Flagging:
    """A rule from its text.

    Raises:
        HlensError: Another text, or a number that is not between 0 and 1.

    >>> flagging("false-alarms=0.05")
    Flagging(kind='false-alarms', at=0.05)
    >>> flagging("0.9")
    Traceback (most recent call last):
    hlens.errors.HlensError: threshold '0.9'; expected false-alarms=0.05, a share of true answers \
that may be flagged, or risk=0.8, a probability
    """
    kind, _, number = text.partition("=")
    try:
        at = float(number)
    except ValueError:
        at = float("nan")
    if kind not in KINDS or not 0 < at < 1:
        raise HlensError(
            f"threshold {text!r:.60}; expected false-alarms=0.05, a share of true answers that may "
            "be flagged, or risk=0.8, a probability"
        )
    return Flagging(kind, at)
