"""What a detector read of many answers: what drift compares, at home and live."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from hlens.counting import count
from hlens.errors import HlensError
from hlens.types.scored import ScoredAnswer


@dataclass(frozen=True, eq=False)
class ReadAnswers:
    """The score of each of many whole answers, and perhaps what its neurons contributed.

    No text and no label is kept.

    Attributes:
        scores: Log-odds of each answer.
        groups: Group of each answer's question; answers of one group are no independent answers.
        domains: Domain of each answer.
        neurons: Mean contribution of each neuron of the detector (in the order of its weights) over
            the tokens of each answer, or None where they were not read.

    Raises:
        HlensError: Scores or contributions that are not finite, or of another number than groups
            and domains.
    """

    scores: Float[np.ndarray, " answer"]
    groups: tuple[str, ...]
    domains: tuple[str, ...]
    neurons: Float[np.ndarray, "answer neuron"] | None = None

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, dtype=np.float64)
        object.__setattr__(self, "scores", scores)
        for name in ("groups", "domains"):
            object.__setattr__(self, name, tuple(map(str, getattr(self, name))))
        if scores.ndim != 1 or not len(scores) == len(self.groups) == len(self.domains):
            raise HlensError(
                f"scores of shape {scores.shape}, {count(len(self.groups), 'group')} and "
                f"{count(len(self.domains), 'domain')}; expected one of each for every answer"
            )
        if not np.isfinite(scores).all():
            raise HlensError("a score that is not finite; leave out what holds no token")
        if self.neurons is not None:
            neurons = np.asarray(self.neurons, dtype=np.float32)
            object.__setattr__(self, "neurons", neurons)
            if neurons.ndim != 2 or len(neurons) != len(scores) or not np.isfinite(neurons).all():
                raise HlensError(
                    f"contributions of shape {neurons.shape} of {len(scores)} answers; expected a "
                    "row of finite numbers for every answer"
                )

    @classmethod
    def of(cls, answers: Sequence[ScoredAnswer], neurons: Any = None) -> "ReadAnswers":
        """Those of answers that hold a token; `neurons` has a row for each of `answers`."""
        if neurons is not None and len(neurons) != len(answers):
            raise HlensError(
                f"contributions of {len(neurons)} answers for {len(answers)}; give a row for each"
            )
        kept = [i for i, one in enumerate(answers) if len(one)]
        return cls(
            np.array([answers[i].score for i in kept]),
            tuple(answers[i].group for i in kept),
            tuple(answers[i].domain for i in kept),
            None if neurons is None else np.asarray(neurons)[kept],
        )

    def __len__(self) -> int:
        return len(self.scores)

    def of_domain(self, domain: str) -> "ReadAnswers":
        """The answers of one domain; none where it is not there."""
        own = np.array([name == domain for name in self.domains], dtype=bool)
        return ReadAnswers(
            self.scores[own],
            tuple(np.array(self.groups, dtype=object)[own]),
            (domain,) * int(own.sum()),
            None if self.neurons is None else self.neurons[own],
        )
