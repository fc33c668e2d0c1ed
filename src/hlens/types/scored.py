"""What a detector makes of one answer: a score for each token, beside the labelled spans."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from hlens.counting import count
from hlens.errors import HlensError


@dataclass(frozen=True, order=True)
class MarkedSpan:
    """A labelled stretch of an answer: tokens ``[start, stop)``, counted from the answer's first.

    Attributes:
        start: First token.
        stop: One past the last.
        hallucinated: The label.
    """

    start: int
    stop: int
    hallucinated: bool

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class ScoredAnswer:
    """One answer, without its prompt and its thought, and the detector's score of each token.

    A detector is linear in a mean over tokens, so its score of a span, or of the whole, is the mean
    of the scores of its tokens.

    Attributes:
        question_id: Id of its question.
        domain: Domain of its question.
        group: Group of its question (never split over train and test).
        tokens: Text of each token.
        scores: Log-odds of each token alone.
        spans: Labelled stretches, in order.
        hallucinated: Label of the whole answer; None where it has none.
        sample: Index among the samples of its question.
        question: The question's text.

    Raises:
        HlensError: A number of scores other than that of tokens, or a span beyond the tokens.
    """

    question_id: str
    domain: str
    group: str
    tokens: tuple[str, ...]
    scores: Float[np.ndarray, " token"]
    spans: tuple[MarkedSpan, ...] = ()
    hallucinated: bool | None = None
    sample: int = 0
    question: str = ""

    def __post_init__(self) -> None:
        n = len(self.tokens)
        if len(self.scores) != n:
            raise HlensError(
                f"answer to {self.question_id!r}: {len(self.scores)} scores for {n} tokens; give "
                "one score for each token"
            )
        for span in self.spans:
            if not 0 <= span.start < span.stop <= n:
                raise HlensError(
                    f"answer to {self.question_id!r}: span [{span.start}, {span.stop}) does not "
                    f"fit {count(n, 'token')}; a span needs at least one token"
                )

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def score(self) -> float:
        """Log-odds of the whole answer; NaN of an empty one."""
        return float(self.scores.mean()) if len(self) else float("nan")

    @property
    def span_scores(self) -> Float[np.ndarray, " span"]:
        """Log-odds of each span."""
        means = [self.scores[span.start : span.stop].mean() for span in self.spans]
        return np.array(means, dtype=np.float64)

    def marked(self, hallucinated: bool) -> Bool[np.ndarray, " token"]:
        """Which tokens a span of this label covers."""
        covered = np.zeros(len(self), dtype=bool)
        for span in self.spans:
            if span.hallucinated == hallucinated:
                covered[span.start : span.stop] = True
        return covered
