"""A world small enough that what its model knows is known: the ground truth real models lack.

Four domains of invented facts (``hlens.domains.load("toy_towns")``), of which half of the entities
were never taught to the model ``hlens.load("toy")``. Its hallucinations have two truths: right or
wrong, as with any model, and taught or not (``question.meta["taught"]``). Some of its neurons are
planted (`planted`): what they signal, and whether they move the model, is known by construction.
``"toy-base"`` is the same model before its instruct stage; `train` makes both anew.
"""

from typing import TYPE_CHECKING, Any

from hlens.toy.mechanism import Mechanism, mechanisms, planted
from hlens.toy.truth import ignorance
from hlens.toy.world import EXPOSURES, domain_names, facts, questions

if TYPE_CHECKING:
    from hlens.toy.training import Schedule, Trained, train

__all__ = [
    "EXPOSURES",
    "Mechanism",
    "Schedule",
    "Trained",
    "domain_names",
    "facts",
    "ignorance",
    "mechanisms",
    "planted",
    "questions",
    "train",
]


def __getattr__(name: str) -> Any:
    # Training needs the whole of transformers; looking at the world does not.
    if name in ("Schedule", "Trained", "train"):
        from hlens.toy import training

        return getattr(training, name)
    raise AttributeError(f"module 'hlens.toy' has no attribute {name!r}")
