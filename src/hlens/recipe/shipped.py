"""Recipes by name: those that ship with hlens, and files."""

from importlib.resources import files
from pathlib import Path

from hlens.lookup import unknown
from hlens.recipe import Recipe


def shipped_recipes() -> list[str]:
    """Names of the recipes that ship with hlens."""
    return sorted(
        p.name.removesuffix(".toml")
        for p in files("hlens.recipes").iterdir()
        if p.name.endswith(".toml")
    )


def find_recipe(named: str) -> Recipe:
    """The recipe in a file, or one that ships with hlens.

    Raises:
        HlensError: There is none.
    """
    path = Path(named)
    if path.suffix == ".toml" or path.exists():
        return Recipe.read(path)
    if named not in shipped_recipes():
        raise unknown("study folder, recipe file or shipped recipe", named, shipped_recipes())
    return Recipe.read(Path(str(files("hlens.recipes").joinpath(f"{named}.toml"))))
