"""TransformerLens' own sparse probe on the contributions.

``transformer_lens.tools.analysis.sparse_probing`` (after Gurnee et al. 2023, arXiv 2305.01610): the
k features whose class means differ most, standardised, and L2 logistic regression on these. k is
chosen on groups that the tool holds out of the training part. No further reading. It misleads about
which neurons matter: picking features one by one by their raw difference favours large
contributions, and k neurons may all say the same. The joint choice of an L1 probe is compared with
that.
"""

from torch import Tensor

from hlens.baselines._rival import NotAvailableError, Rival
from hlens.errors import HlensError
from hlens.model.k_sparse_probe import fit_k_sparse_probe
from hlens.types import Evidence

DISPLAY = "TransformerLens' sparse probe"


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    inside, outside = train.contributions, test.contributions
    try:
        fitted = fit_k_sparse_probe(inside.neuron_major.T, inside.labels, inside.groups, seed=seed)
    except HlensError as error:
        raise NotAvailableError(str(error)) from error
    return fitted(outside.neuron_major.T).float()


rival = Rival(
    "sparse_probing",
    frozenset({"contributions"}),
    _score,
    learns=True,
    says="TransformerLens' k-sparse probe on contributions",
)
