"""From the words of a command line to a study, and to what edits and patches did in it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from hlens.errors import HlensError
from hlens.lookup import unknown
from hlens.recipe import Recipe
from hlens.study import Study

if TYPE_CHECKING:
    import pandas as pd


def open_study(
    source: str, out: Path | None, model: str | None, progress: Callable[[str, int, int], None]
) -> Study:
    """The study of a folder, a recipe file, or a recipe that ships with hlens.

    Raises:
        HlensError: It is none of these.
    """
    path = Path(source)
    if path.is_dir():
        if out is not None:
            raise HlensError(f"--out goes with a recipe; {source} is a study already")
        return Study(path, None, progress=progress)
    if path.suffix == ".toml" or path.exists():
        recipe, name = Recipe.read(path), path.stem
    else:
        recipe, name = _shipped(source), source
    if model:
        recipe = replace(recipe, model=model)
        name = f"{name}-{Path(model).name}"
    return Study(out or Path("runs") / name, recipe, progress=progress)


def shipped_recipes() -> list[str]:
    """Names of the recipes that ship with hlens."""
    return sorted(
        p.name.removesuffix(".toml")
        for p in files("hlens.recipes").iterdir()
        if p.name.endswith(".toml")
    )


def _shipped(name: str) -> Recipe:
    if name not in shipped_recipes():
        raise unknown("study folder, recipe file or shipped recipe", name, shipped_recipes())
    with_text = files("hlens.recipes").joinpath(f"{name}.toml")
    return Recipe.read(Path(str(with_text)))


def choose_intervention(
    study: Study,
    behaviours: Sequence[str] | None,
    alphas: Sequence[float] | None,
    items: int | None,
    matched: int | None,
) -> None:
    """Put what the command line says of an intervention into the study's recipe.

    Raises:
        HlensError: An unknown behaviour or one that this model cannot be asked for, or a value that
            no recipe takes.
    """
    from hlens.behaviours import load

    asked = {"behaviours": tuple(behaviours or ()) or None, "alphas": tuple(alphas or ()) or None}
    asked |= {"items": items, "matched_sets": matched}
    chosen = {key: value for key, value in asked.items() if value is not None}
    if not chosen:
        return
    recipe = study.recipe
    recipe = replace(recipe, intervene=replace(recipe.intervene, **chosen))
    for name in behaviours or ():
        load(name).check(study.model)  # a mistake shall not be written down
    study.revise(recipe)


def slopes(study: Study) -> tuple["pd.DataFrame", "pd.DataFrame", list[str]]:
    """Slope of each outcome over the dose: of every set, as people read them, and in words."""
    from hlens.effects import describe_slopes, labels, slope_table
    from hlens.effects import slopes as of_outcomes

    steepness, words = of_outcomes(study.outcomes()), labels()
    return steepness, slope_table(steepness, words), describe_slopes(steepness, words)


def patching(study: Study) -> tuple["pd.DataFrame", "pd.DataFrame", list[str]]:
    """Mean effect of patches over the pairs: of each, as people read them, and in words.

    The map of one pair, which the report draws, is made too.
    """
    from hlens.effects import describe_patches, patch_table, summarise_patching

    study.patching_map()
    summed = summarise_patching(study.patching())
    return summed, patch_table(summed), describe_patches(summed)
