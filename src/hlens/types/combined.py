"""Neurons and output numbers together: a frozen finding that says what the neurons add."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from hlens.errors import HlensError
from hlens.types.detector import Calibration, Detector
from hlens.types.evidence import Evidence
from hlens.types.output_numbers import output_numbers

NEURONS = "neurons"  # the column of a detector's score among output numbers


@dataclass(frozen=True)
class LinearScore:
    """A weighted sum of named numbers: log-odds of hallucination, as if both kinds were as common.

    Attributes:
        weights: Weight of each number, in log-odds for each of its units.
        bias: Intercept.
    """

    weights: Mapping[str, float]
    bias: float

    def __call__(
        self, numbers: Mapping[str, Float[np.ndarray, " example"]]
    ) -> Float[np.ndarray, " example"]:
        """Log-odds of each example."""
        if missing := [name for name in self.weights if name not in numbers]:
            raise HlensError(f"no {missing[0]} among {', '.join(numbers)}; read it, too")
        return self.bias + sum(
            (weight * np.asarray(numbers[name]) for name, weight in self.weights.items()),
            start=np.zeros(()),
        )


@dataclass(frozen=True, eq=False)
class Combined:
    """A detector stacked with the model's own output numbers.

    Attributes:
        detector: What reads the neurons.
        alone: The output numbers without the neurons.
        both: The output numbers with the neurons' score among them, under the name ``neurons``.
        calibration: Map from the log-odds of both to a probability, on folds that no fit has seen.
    """

    detector: Detector
    alone: LinearScore
    both: LinearScore
    calibration: Calibration | None = None

    def __call__(self, evidence: Evidence) -> Float[np.ndarray, " example"]:
        """Log-odds of hallucination by neurons and output numbers together."""
        own = self.detector(evidence.contributions).double().numpy()
        return self.both(output_numbers(evidence) | {NEURONS: own})

    def probability(self, evidence: Evidence) -> Float[np.ndarray, " example"]:
        """Probability of hallucination: calibrated where that was fitted, else logistic."""
        score = torch.from_numpy(self(evidence))
        known = torch.sigmoid(score) if self.calibration is None else self.calibration(score)
        return known.double().numpy()

    def without_neurons(self, evidence: Evidence) -> Float[np.ndarray, " example"]:
        """Log-odds by the output numbers alone."""
        return self.alone(output_numbers(evidence))
