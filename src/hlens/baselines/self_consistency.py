"""Self-consistency: how few of the model's other answers say the same.

One minus the share of other samples of the question that have the meaning of the answer (the idea
of Wang et al. 2022, arXiv 2203.11171, and of SelfCheckGPT, Manakul et al. 2023, arXiv 2303.08896).
Meanings are compared by words (`hlens.baselines._meaning`), or by a local entailment model through
`by`. Nothing is learned. It needs further samples, of which the study's own serve first. It
misleads where the model repeats a misconception, which looks true, and where a truth can be put in
many ways, which looks false. Where the study kept only questions that were always right or always
wrong, agreement among the samples was part of the labelling.
"""

import torch
from torch import Tensor

from hlens.baselines._meaning import Alike, by_words
from hlens.baselines._rival import Rival
from hlens.types import Evidence

DISPLAY = "self-consistency"


def by(alike: Alike) -> Rival:
    """The rival with another comparison of meanings."""

    def score(train: Evidence, test: Evidence, seed: int) -> Tensor:
        assert test.samples is not None
        found = []
        rows = zip(test.questions, test.answers, test.samples, strict=True)
        for question, answer, samples in rows:
            meanings = alike(question, [answer, *samples])
            found.append(1 - meanings[1:].count(meanings[0]) / len(samples))
        return torch.tensor(found)

    return Rival(
        "self_consistency", frozenset({"samples"}), score, learns=False, says="other answers differ"
    )


rival = by(by_words())
