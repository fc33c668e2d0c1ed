"""The model that a command line, a study or a detector names."""

from collections.abc import Mapping, Sequence
from typing import Any

from hlens import engines
from hlens.cli.loading import LOADING
from hlens.errors import HlensError
from hlens.model import Model
from hlens.recipe import Recipe
from hlens.types import Detector


def open_model(
    given: str | None,
    recipe: Recipe | None,
    detectors: Sequence[Detector],
    loading: Mapping[str, str],
    **engine: Any,
) -> Model:
    """The model that is named, else that of the study, else the one that a detector names.

    Args:
        given: Its name on the command line.
        recipe: Of the study, whose ways of loading hold where `loading` says nothing.
        detectors: Those that read it.
        loading: How its weights are loaded, by the names of `hlens.load`.
        engine: ``engine`` and ``engine_options`` of `hlens.load`; nothing for this process.

    Raises:
        HlensError: Nothing names a model, or it cannot be opened.
    """
    of_detector = next((one.provenance.model for one in detectors), None)
    name = given or (recipe.model if recipe else of_detector)
    if not name:
        raise HlensError("nothing says which model; name it: --model")
    own: dict[str, Any] = {}
    if recipe is not None:
        own = {option: getattr(recipe, option) for option in LOADING}
        own["template_options"] = recipe.sampling.template
    options = {**own, **loading}
    options = {option: value or None for option, value in options.items()}
    try:
        return engines.load(name, **options, **engine)
    except HlensError as error:
        if given or recipe:
            raise
        # A detector knows the name of a model in a folder, but not where the folder is.
        raise HlensError(
            f"the detector's model cannot be opened ({error}); name it: --model"
        ) from None
