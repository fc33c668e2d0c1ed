"""A selector as a value: how it ranks neurons, and what it reads."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from hlens.checks import check_whole
from hlens.errors import HlensError
from hlens.evaluation.fitting import refit_detector
from hlens.evaluation.sparsity import Ranking
from hlens.probe.resources import blocks
from hlens.types import Contributions, Detector, NeuronSet


@dataclass(frozen=True)
class Selector:
    """A way to name k neurons.

    Attributes:
        name: What tables call it.
        rank: Ranks neurons on labelled contributions.
        says: What it takes for a sign, in a few words.
        metric: The formula of the contributions that it reads; empty for any.
    """

    name: str
    rank: Ranking
    _: KW_ONLY
    says: str
    metric: str = ""

    def __call__(self, data: Contributions, k: int, *, seed: int = 0) -> NeuronSet:
        """The k neurons that it ranks first, or as many as it ranks.

        Raises:
            HlensError: Contributions of another formula, of one label only, or a k above half of
                the model's neurons, beside which no others could be drawn.
        """
        k = check_whole("k", k, least=1, most=max(1, data.n_neurons // 2))
        if self.metric and data.metric != self.metric:
            raise HlensError(
                f"the selector {self.name!r} reads {self.metric}, the contributions are "
                f"{data.metric}; measure {self.metric}"
            )
        if len(data.labels.unique()) < 2:
            raise HlensError(f"all {len(data)} examples have one label; a selector compares two")
        chosen = self.rank(data, k, seed)[:k].tolist()
        return NeuronSet(
            frozenset(divmod(int(flat), data.d_mlp) for flat in chosen),
            data.n_layers,
            data.d_mlp,
            model=data.provenance.fingerprint or None,
            name=self.name,
            experts=data.provenance.experts,
        )


@dataclass(frozen=True)
class SelectedProbe:
    """A selector in the place of a probe: k neurons, refitted by L2 on the same examples.

    Transfer, halves and every control that takes a probe take it.

    Attributes:
        selector: Who names the neurons.
        k: How many.
        seed: Of what is drawn.
    """

    selector: Selector
    k: int
    _: KW_ONLY
    seed: int = 0

    def find_in(self, data: Contributions) -> Detector:
        """The detector of the k neurons that are selected in these contributions."""
        chosen = self.selector(data, self.k, seed=self.seed)
        return refit_detector(data, neurons=chosen.flat_indices)


def difference_of_means(data: Contributions) -> Float[np.ndarray, " neuron"]:
    """Mean contribution to hallucinated answers less that to true ones, of each neuron."""
    wrong = data.labels.cpu()
    parts = []
    for rows in blocks_of(data):
        block = data.rows(rows).float().cpu()
        parts.append(block[:, wrong].mean(dim=1) - block[:, ~wrong].mean(dim=1))
    return torch.cat(parts).numpy()


def blocks_of(data: Contributions) -> list[slice]:
    """Neurons a block at a time, so that a large store stays on disk."""
    return blocks(data.n_layers * data.d_mlp, 4096)


def largest(score: Float[np.ndarray, " neuron"]) -> Int[np.ndarray, " neuron"]:
    """Neurons by descending score; of equals the first."""
    return np.argsort(-score, kind="stable")
