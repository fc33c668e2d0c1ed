"""The least likely token of the answer: the negative minimum of its log-probabilities.

``-min_t log p(x_t | x_<t)`` over the answer span (Manakul et al. 2023, SelfCheckGPT, arXiv
2303.08896, call it Max(-log p)). Nothing is learned, and it costs nothing. It misleads where
lengths differ: a long answer has more chances of an unlikely token.
"""

from hlens.baselines._rival import token_rival

DISPLAY = "least likely token"

rival = token_rival(
    "min_logprob", "logprobs", lambda row: float(-row.min()), "one token of low probability"
)
