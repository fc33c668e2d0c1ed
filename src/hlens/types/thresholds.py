"""A score from which an answer is flagged, and what that is worth on answers not used for it."""

from dataclasses import dataclass

from hlens.checks import check_real
from hlens.types.estimate import Estimate


@dataclass(frozen=True)
class Threshold:
    """Where to flag, so that at most a given share of the true answers is.

    Attributes:
        false_alarms: Share of true answers that may be flagged, as it was asked for.
        score: Flag an answer from this score on.
        alarm_rate: Share of true answers to come that will be flagged, with its 95 % interval; its
            n counts true answers.
        recall: Share of the hallucinated ones that is flagged; its n counts these.
        precision: Share of hallucinated ones among those flagged, where they are as frequent as
            here; its n counts flagged answers.
        domain: Domain of these answers; empty for all together.
    """

    false_alarms: float
    score: float
    alarm_rate: Estimate
    recall: Estimate
    precision: Estimate
    domain: str = ""

    def __post_init__(self) -> None:
        check_real("false_alarms of a threshold", self.false_alarms, above=0, below=1)
        check_real("score of a threshold", self.score, least=-1e30, most=1e30)
