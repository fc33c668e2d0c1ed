"""What the toy model truly does not know, example by example."""

from functools import cache

import torch
from jaxtyping import Bool
from torch import Tensor

from hlens.errors import HlensError
from hlens.toy.world import domain_names, questions
from hlens.types import Contributions


def ignorance(data: Contributions) -> Bool[Tensor, " example"]:
    """Whether each example is of an entity that the toy model was never taught.

    Unlike ``data.labels`` it does not ask whether the answer was right: a lucky guess is ignorant,
    a slip on a taught fact is not.

    Raises:
        HlensError: An example that is not of the toy world.
    """
    known = _taught()
    at = list(zip(data.domains, data.question_ids, strict=True))
    strange = [f"{domain}/{id}" for domain, id in at if (domain, id) not in known]
    if strange:
        raise HlensError(
            f"{strange[0]!r} is no question of the toy world; expected examples of "
            f"{', '.join(domain_names())}"
        )
    return torch.tensor([not known[key] for key in at])


@cache
def _taught() -> dict[tuple[str, str], bool]:
    every = (question for name in domain_names() for question in questions(name))
    return {(q.domain, q.id): bool(q.meta["taught"]) for q in every}
