"""What a section may read of a study: the artefacts that it declares, without running the model."""

from collections.abc import Mapping
from typing import Any, TypeVar

from hlens.recipe import Recipe
from hlens.steps import Runner, Step

T = TypeVar("T")


class Tables:
    """The artefacts of a study, by their steps: ``tables[transfer]``.

    Args:
        run: The study.
        needs: The steps that may be read.
        instead: Steps that are read in the place of others, such as a quick audit's.

    Attributes:
        recipe: The options of the study.
    """

    def __init__(
        self,
        run: Runner,
        needs: tuple[Step[Any], ...],
        instead: Mapping[Step[Any], Step[Any]] | None = None,
    ) -> None:
        self.recipe: Recipe = run.recipe
        self._run, self._needs, self._instead = run, needs, instead or {}

    def __getitem__(self, step: Step[T]) -> T:
        """The artefact of a step.

        Raises:
            NotMadeError: It is not current, and the model would have to be run to make it.
            KeyError: The section does not declare that it needs it.
        """
        if step not in self._needs:
            raise KeyError(f"{step.name} is read and is not among the section's NEEDS")
        return self._run.value_without_model(self._instead.get(step, step))
