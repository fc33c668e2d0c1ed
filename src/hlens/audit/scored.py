"""Scored: what a detector said of some examples, beside all that could explain it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from hlens.errors import HlensError


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of one detector on one part of the data, one row an example.

    Scores of a training part must be out of fold: each by a fit that did not see its group.

    Attributes:
        scores: Higher means hallucination.
        labels: True where the example is a hallucination.
        groups: Group of each example.
        covariates: What could stand in for truth, one column each; numbers or categories.
    """

    scores: Float[np.ndarray, " example"]
    labels: Bool[np.ndarray, " example"]
    groups: Sequence[str]
    covariates: pd.DataFrame

    def __post_init__(self) -> None:
        lengths = {len(self.labels), len(self.groups), len(self.covariates)}
        if lengths != {len(self.scores)}:
            raise HlensError(
                f"{len(self.scores)} scores with labels, groups or covariates of another length "
                f"({sorted(lengths)}); give one of each for every example"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, mask: Bool[np.ndarray, " example"]) -> "Scored":
        """The chosen examples."""
        return Scored(
            self.scores[mask],
            self.labels[mask],
            list(np.asarray(self.groups)[mask]),
            self.covariates.loc[mask].reset_index(drop=True),
        )
