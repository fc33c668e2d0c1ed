"""Perplexity of the answer: exp of the negative mean log-probability of its tokens.

``exp(-1/n sum_t log p(x_t | x_<t))`` over the answer span, under the model itself at temperature 1
(Fomicheva et al. 2020, arXiv 2005.10608, use the mean log-probability, which ranks alike). Nothing
is learned: a surprised model is taken to be a wrong one. It costs nothing, since sampling knows
these numbers. It misleads where wrong answers are fluent and right ones rare names.
"""

import numpy as np

from hlens.baselines._rival import token_rival

rival = token_rival(
    "perplexity", "logprobs", lambda row: float(np.exp(-row.mean())), "high perplexity"
)
