"""Policies: what to do about a risk. A policy is a function from `Risk` to ``go | flag | stop``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hlens.checks import check_real, check_whole
from hlens.errors import HlensError

Action = Literal["go", "flag", "stop"]


@dataclass(frozen=True)
class Risk:
    """What the detector makes of one generated token, the moment the model has read it.

    Attributes:
        row: Index of the prompt.
        index: Index of the token in the answer.
        token_id: The token.
        text: Its text, or empty without a tokenizer.
        token_score: Log-odds from this token alone.
        score: Log-odds from the answer up to here: the detector's own score, were it to end here.
        probability: Probability of hallucination from `score`: calibrated where the detector is,
            else logistic.
        n_thought: How many tokens of the reply are thought, as far as it is written. Within the
            thought `score` is of the thought; behind it, of the answer alone.
    """

    row: int
    index: int
    token_id: int
    text: str
    token_score: float
    score: float
    probability: float
    n_thought: int = 0

    @property
    def in_thought(self) -> bool:
        """Whether the token belongs to a thought, which is no part of the answer."""
        return self.index < self.n_thought


Policy = Callable[[Risk], Action]


def watch_only(risk: Risk) -> Action:
    """Let the model write."""
    return "go"


def at_probability(limit: float, action: Action = "flag", after: int = 1) -> Policy:
    """Act once the probability of the answer, not of a thought, reaches `limit`.

    Args:
        limit: Between 0 and 1.
        action: ``"flag"`` marks the answer, ``"stop"`` ends it.
        after: Tokens to wait for first: a mean over one token is a poor mean.

    Raises:
        HlensError: A limit that is no probability, `after` below 1, or another action.

    >>> policy = at_probability(0.8, "stop", after=2)
    >>> [policy(Risk(0, i, 5, "", 2.0, 2.0, 0.9)) for i in (0, 1)]
    ['go', 'stop']
    """
    limit, after = check_real("limit", limit, most=1), check_whole("after", after, least=1)
    if action not in ("flag", "stop"):
        raise HlensError(f"action={action!r}; expected 'flag' or 'stop'")

    def policy(risk: Risk) -> Action:
        n_answer = risk.index + 1 - risk.n_thought  # none within a thought, which is not calibrated
        return action if n_answer >= after and risk.probability >= limit else "go"

    return policy
