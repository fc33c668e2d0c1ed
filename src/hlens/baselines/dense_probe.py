"""Dense probe: all contributions, none left out.

L2 logistic regression on the contributions that the H-neuron detector reads, each standardised by
the training part, C by group inside it. No further reading. It is the ceiling for any set of
neurons (the paper's own code notes 1 to 3 % more than L1), and a sparse detector that stays far
below it has left out part of the signal. It misleads if it is read as a finding: it says nothing
about which neurons carry the signal.
"""

from torch import Tensor

from hlens.baselines._learning import dense_scores
from hlens.baselines._rival import Rival
from hlens.probe import SparseProbe
from hlens.types import Evidence


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    probe = SparseProbe(
        C="cv", penalty="l2", class_weight="balanced", n_points=12, random_state=seed
    )
    return dense_scores(probe, train, train.contributions, test.contributions)


rival = Rival(
    "dense_probe",
    frozenset({"contributions"}),
    _score,
    learns=True,
    says="all contributions at once (L2)",
)
