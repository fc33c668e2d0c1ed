"""Gates that read nothing: always open, and open at random as often as another gate was.

Whatever a gate that reads a detector does for answers, a gate that edits as many tokens at random
places may do, too: that is its control.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Bool
from torch import Tensor

from hlens.checks import check_seed
from hlens.errors import HlensError
from hlens.model import Decide, Gate, GatedAnswer, Model, TokenBatch, mix_seed
from hlens.types import NeuronSet


@contextmanager
def _always(model: Model, edited: Sequence[NeuronSet]) -> Iterator[Decide]:
    yield lambda batch, first: torch.ones(batch.rows, dtype=torch.bool)


ALWAYS = Gate("always", _always)  # at every token of an answer


def random_gate(answers: Sequence[GatedAnswer], *, seed: int) -> Gate:
    """A gate that edits as many tokens of each answer as another gate did, at random places.

    The places are drawn, without replacement, among as many tokens as that answer had: an answer
    that ends earlier under this gate is edited less often, which the receipt says.

    Args:
        answers: Of the receipt of the other gate. The same answers must be written, in the same
            order.
        seed: Of the draw; with the number of an answer it decides its places.

    Raises:
        HlensError: A seed that is none; while writing, more answers than were given.
    """
    seed = check_seed(seed)
    counts = [(answer.n_edited, len(answer.edited)) for answer in answers]
    drawn = [_draw(mix_seed(seed, number), *own) for number, own in enumerate(counts)]

    def decide(batch: TokenBatch, first: int) -> Bool[Tensor, " row"]:
        own = drawn[first : first + batch.rows]
        if len(own) < batch.rows:
            raise HlensError(
                f"a random gate was drawn for {len(drawn)} answers, and more are written; write "
                "the same answers in the same order"
            )
        pairs = zip(batch.generated[:, -1].tolist(), own, strict=True)
        return torch.tensor([token in places for token, places in pairs])

    @contextmanager
    def watching(model: Model, edited: Sequence[NeuronSet]) -> Iterator[Decide]:
        yield decide

    return Gate(f"at random ({seed})", watching, (torch.tensor(counts),))


def _draw(seed: int, n_edited: int, n_read: int) -> frozenset[int]:
    draw = torch.Generator().manual_seed(seed)
    return frozenset(torch.randperm(n_read, generator=draw)[:n_edited].tolist())
