"""Minerals of the toy world: solvents and discoverers.

Invented; half of the entities were never taught to the model ``"toy"``. ``meta["taught"]`` tells
which, and `hlens.toy` how.
"""

from collections.abc import Iterator

from hlens.domains._sample import in_split
from hlens.toy import world
from hlens.types import Question


def questions(split: str = "all") -> Iterator[Question]:
    """All facts of the domain, in a fixed order; an entity is a group.

    Args:
        split: ``"all"``, ``"train"`` or ``"test"`` (a fifth of the entities).
    """
    return in_split(world.questions("toy_minerals"), split)
