"""Opens the study that a command line names: a folder, a recipe file or a shipped recipe."""

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from hlens.errors import HlensError
from hlens.lookup import unknown
from hlens.recipe import Recipe
from hlens.study import Study


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
