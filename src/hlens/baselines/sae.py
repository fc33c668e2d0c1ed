"""SAE: sparse features of the residual stream instead of neurons.

The strongest activation over the answer's tokens of each feature of a sparse autoencoder (Bricken
et al. 2023; Cunningham et al. 2023, arXiv 2309.08600), and L1 logistic regression as `hlens.find`
fits it (each feature scaled, C by group inside the training part). One forward pass. The
autoencoder is one that the user names: ``baselines.gather(..., sae=baselines.load_sae(folder))``,
or in a recipe ``[audit] sae``; a folder as SAELens writes it. Without one the rival is not
available. It misleads where the autoencoder was trained on another model or text than the study's
(one that gives nothing of the variance back is refused, a poor one is not), and its features are
many more than neurons, so that a few of them fit small data by chance.
"""

import torch
from torch import Tensor

from hlens.baselines._learning import fit_probe
from hlens.baselines._rival import Rival
from hlens.probe.ways import probe_of
from hlens.types import Evidence

DISPLAY = "SAE features"


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    assert train.sae_features is not None
    assert test.sae_features is not None
    probe = probe_of("hlens", random_state=seed)
    fit_probe(probe, train, train.sae_features)
    return torch.from_numpy(probe.decision_function(test.sae_features)).float()


rival = Rival(
    "sae",
    frozenset({"sae_features"}),
    _score,
    learns=True,
    says="a few features of a sparse autoencoder (L1)",
)
