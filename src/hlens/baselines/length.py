"""Length: the number of tokens of the answer span, alone.

Its direction is learned in training. Needs nothing beside the text. A detector that reads means
over tokens can follow length more than truth (in one replication of arXiv 2512.01797 the mean over
the whole response followed length 3.7 times more), so this is the first rival to beat. It misleads
where the sampling limit cuts answers: then length shows which answers were cut off.
"""

from torch import Tensor

from hlens.baselines._learning import direction
from hlens.baselines._rival import Rival
from hlens.types import Evidence

DISPLAY = "answer length"


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    return test.n_tokens.float() * direction(train.n_tokens.float(), train.labels)


rival = Rival(
    "length", frozenset({"text"}), _score, learns=True, says="length of the answer in tokens"
)
