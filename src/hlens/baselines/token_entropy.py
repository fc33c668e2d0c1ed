"""Token entropy: mean entropy of the distributions that the answer's tokens were drawn from.

``1/n sum_t H(p(. | x_<t))`` in nats over the answer span, at temperature 1 over the whole
vocabulary (Fomicheva et al. 2020, arXiv 2005.10608). Nothing is learned. One forward pass, since
sampling keeps the chosen token's probability alone. It measures how many ways there are to go on.
It misleads where one truth can be said in several ways, which raises it as well.
"""

from hlens.baselines._rival import token_rival

rival = token_rival(
    "token_entropy", "entropies", lambda row: float(row.mean()), "high token entropy"
)
