"""Sequence probability: the negative log-probability of the answer, all tokens together.

``-sum_t log p(x_t | x_<t)`` over the answer span; the maximum sequence probability of LM-Polygraph
(Fadeeva et al. 2023, arXiv 2311.07383). Nothing is learned, and it costs nothing. It misleads where
lengths differ: every token adds to it, so it is length as much as confidence.
"""

from hlens.baselines._rival import token_rival

rival = token_rival(
    "sequence_probability", "logprobs", lambda row: float(-row.sum()), "low sequence probability"
)
