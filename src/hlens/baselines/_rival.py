"""A rival detector as a value: what it reads, how it scores, and what it costs."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.types import READINGS, Evidence

Score = Callable[[Evidence, Evidence, int], Float[Tensor, " example"]]

# Read in one forward pass over prompt and answer, however many of them are asked for.
ONE_PASS = frozenset(
    {
        "contributions", "activations", "residual", "residual_last", "entropies", "lookback",
        "lens", "sae_features",
    }
)  # fmt: skip
# A forward pass of its own, over another prompt.
OWN_PASS = frozenset({"p_true"})
# One sample's generation each; `sample_states` also a forward pass over each sample.
PER_SAMPLE = frozenset({"samples", "sample_logprobs", "sample_states"})
ALWAYS = frozenset({"contributions", "text"})
KNOWN = ALWAYS | {*READINGS}


class NotAvailableError(HlensError):
    """A rival cannot be tested on this evidence; the message says why."""


@dataclass(frozen=True)
class Cost:
    """What a detector takes to score one new answer, beside having sampled it.

    The log-probabilities of an answer's tokens are known from sampling it. Readings of the one
    forward pass (neurons, residual stream, entropies, attention) could also be taken while the
    answer is sampled; they are counted as a pass, for the H-neuron detector as for its rivals.

    Attributes:
        passes: Forward passes.
        samples: Further answers to be sampled.
    """

    passes: int
    samples: int

    def __str__(self) -> str:
        return f"{self.passes} passes, {self.samples} samples"


@dataclass(frozen=True)
class Rival:
    """A rival detector.

    Attributes:
        name: What tables call it.
        needs: What it reads: names of `READINGS`, ``"contributions"`` or ``"text"``.
        also: What it reads too where it is there.
        score: Training evidence, test evidence, seed -> score of each test row. It is given the
            test rows without their labels.
        learns: Whether it learns from training labels; else its direction is fixed by definition.
        says: What it takes for a sign of hallucination, in a few words.
    """

    name: str
    needs: frozenset[str]
    score: Score
    _: KW_ONLY
    learns: bool
    says: str
    also: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.needs | self.also <= KNOWN:
            unknown = ", ".join(sorted((self.needs | self.also) - KNOWN))
            raise HlensError(
                f"rival {self.name!r} needs {unknown}; known: {', '.join(sorted(KNOWN))}"
            )

    def __call__(self, train: Evidence, test: Evidence, seed: int = 0) -> Float[Tensor, " example"]:
        """Score of each test row; higher means hallucination.

        Args:
            train: Evidence on the training part; the only labels that are read.
            test: Evidence on the test part.
            seed: Seed of whatever is drawn (folds, starts).

        Raises:
            NotAvailableError: The evidence lacks what this rival reads, or what it learns from.
        """
        self.check(train)
        self.check(test)
        if self.learns and len(train.labels.unique()) < 2:
            raise NotAvailableError(
                f"{self.name} learns from both labels, the training part has one"
            )
        scores = self.score(train, test.blind(), seed)
        if scores.shape != (len(test),) or not bool(torch.isfinite(scores).all()):
            raise HlensError(
                f"rival {self.name!r} gave scores of shape {tuple(scores.shape)} for {len(test)} "
                "rows, or some that are not finite; it must give one number for each"
            )
        return scores

    def check(self, evidence: Evidence) -> None:
        """Raise `NotAvailableError` unless the evidence holds what this rival reads."""
        for need in sorted(self.needs - ALWAYS):
            if not evidence.has(need):
                raise NotAvailableError(evidence.why_not.get(need, f"no {need} were read"))

    def cost(self, evidence: Evidence) -> Cost:
        """What it takes to score one new answer as here."""
        samples = 0
        reads = self.needs | {name for name in self.also if evidence.has(name)}
        if self.needs & PER_SAMPLE and evidence.samples is not None:
            samples = max(map(len, evidence.samples), default=0)
        passes = bool(reads & ONE_PASS) + len(self.needs & OWN_PASS)
        if "sample_states" in self.needs:
            passes += samples
        return Cost(passes, samples)


def token_rival(name: str, reading: str, number: Callable[[np.ndarray], float], says: str) -> Rival:
    """A rival that learns nothing: one number of an answer's `logprobs` or `entropies`."""

    def score(train: Evidence, test: Evidence, seed: int) -> Tensor:
        numbers = [number(np.asarray(row)) for row in getattr(test, reading)]
        return torch.tensor(numbers, dtype=torch.float64).float()

    return Rival(name, frozenset({reading}), score, learns=False, says=says)
