"""P(True): the model is asked whether its own answer is true.

Kadavath et al. 2022, arXiv 2207.05221. The score is ``-P(True)``, with ``P(True) = p("True") /
(p("True") + p("False"))`` for the first token of the reply to "Is the proposed answer true or
false? Respond with one word", asked before question and answer (see `hlens.baselines._asking`; in
the model's own chat format, or as text to be continued). Nothing is learned. One more forward pass,
over a prompt of its own. Small models do not know what they know, and say "True" or "False" by
habit: then the score follows the form of question and answer.
"""

import torch
from torch import Tensor

from hlens.baselines._rival import Rival
from hlens.types import Evidence


def _score(train: Evidence, test: Evidence, seed: int) -> Tensor:
    return -torch.as_tensor(test.p_true)


rival = Rival("p_true", frozenset({"p_true"}), _score, False, "the model doubts its answer")
