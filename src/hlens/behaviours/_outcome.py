"""What one reply counts as, to one grader."""

from dataclasses import dataclass

from hlens.types import Question
from hlens.types.labels import Scale

RULES = "rules"  # the parser of a suite


@dataclass(frozen=True)
class Contrast:
    """What a second grader may look at beside the reply.

    Attributes:
        question: What was asked.
        prompt: Token ids that the reply answered.
        target: What a reply would say that shows the behaviour.
        neutral: What a reply would say that does not.
    """

    question: Question
    prompt: tuple[int, ...]
    target: str
    neutral: str


@dataclass(frozen=True)
class Outcome:
    """What one reply counts as.

    Attributes:
        measure: What is counted; a suite may count more than one thing.
        hit: Whether the behaviour was shown; None where the reply could not be parsed or the
            question does not apply.
        reason: Why, in words.
        capped: It was cut at the token limit.
        refused: It declines to answer.
        applies: False where the measure does not apply (a right answer that was never given cannot
            be given up); such a reply is not a parse failure.
        grader: Who says so.
        scale: Whether the grader says yes or no, or how far.
        degree: How far the behaviour was shown, 0 to 1, on the scale of degrees.
        contrast: What a second grader may look at; it is in no table.
    """

    measure: str
    question_id: str
    group: str
    hit: bool | None
    reason: str
    text: str
    n_tokens: int
    capped: bool
    refused: bool = False
    applies: bool = True
    grader: str = RULES
    scale: Scale = Scale.SHARE
    degree: float | None = None
    contrast: Contrast | None = None

    @property
    def value(self) -> float | None:
        """The degree, or 1 for a hit and 0 for none; None where neither is known."""
        if self.scale == Scale.DEGREE or self.hit is None:
            return self.degree
        return float(self.hit)
