"""Opens the study that a command line names: a folder, a recipe file or a shipped recipe."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.lookup import unknown
from hlens.recipe import EngineRecipe, Recipe
from hlens.study import Study


def open_study(
    source: str,
    out: Path | None,
    model: str | None,
    progress: Callable[[str, int, int], None],
    template: Sequence[str] = (),
    loading: Mapping[str, str | None] | None = None,
) -> Study:
    """The study of a folder, a recipe file, or a recipe that ships with hlens.

    `template` are options of the chat template, each ``KEY=VALUE``, added to the recipe's;
    `loading` are options of the recipe that say how the model's weights are loaded.

    Raises:
        HlensError: It is none of these.
    """
    path = Path(source)
    given = {name: value for name, value in (loading or {}).items() if value}
    if path.is_dir():
        if out is not None:
            raise HlensError(f"--out goes with a recipe; {source} is a study already")
        if model:
            raise HlensError(
                f"--model goes with a recipe; {source} is a study already, of the model in its "
                "recipe.toml"
            )
        if template:
            raise HlensError(
                f"--template goes with a recipe; {source} is a study already: write the options "
                "into its recipe.toml, as [sampling] template"
            )
        if given:
            option = next(iter(given)).replace("_", "-")
            raise HlensError(
                f"--{option} goes with a recipe; {source} is a study already: write it into its "
                "recipe.toml"
            )
        return Study(path, None, progress=progress)
    if path.suffix == ".toml" or path.exists():
        recipe, name = Recipe.read(path), path.stem
    else:
        recipe, name = _shipped(source), source
    if model:
        recipe = replace(recipe, model=model)
        name = f"{name}-{Path(model).name}"
    if given:
        named = given.pop("engine", None)
        engine = _engine(recipe, named, given.pop("address", None))
        recipe = replace(recipe, **given, engine=engine)
        parts = [given.get(option) for option in ("adapter", "quantization", "dtype")]
        # What Ray makes is what this process makes: the same study.
        parts += [named] if engine.rounding else []
        name = "-".join([name, *(Path(part).name for part in parts if part)])
    if template:
        options = {**recipe.sampling.template, **dict(map(template_option, template))}
        recipe = replace(recipe, sampling=replace(recipe.sampling, template=options))
    return Study(out or Path("runs") / name, recipe, progress=progress)


def _engine(recipe: Recipe, name: str | None, address: str | None) -> EngineRecipe:
    """The section of an engine that was named, with the recipe's options of that engine."""
    same = name in (None, recipe.engine.name)
    engine = recipe.engine if same else EngineRecipe(name or "")
    if address is None:
        return engine
    return replace(engine, options={**engine.options, "address": address})


def labelled_recipe(
    file: Path,
    *,
    model: str | None,
    recipe: Path | None,
    judge: str | None,
    labels: Sequence[str],
    columns: Mapping[str, str],
    options: Mapping[str, Any],
    loading: Mapping[str, str],
) -> Recipe:
    """The recipe of a study of labelled answers.

    Args:
        file: The answers.
        model: What is measured; the recipe's where there is one.
        recipe: Further options.
        judge: The judge of answers without a label.
        labels: Meanings of label words, each ``WORD=VERDICT``.
        columns: Our names of columns with the file's.
        options: Of the section ``[labelled]``.
        loading: How the model's weights are loaded, as in the recipe.

    Raises:
        HlensError: No model, or an option that is not one.
    """
    if model is None and recipe is None:
        raise HlensError("which model gave these answers? Name it: --model NAME")
    own = Recipe.read(recipe) if recipe else Recipe()
    table = own.to_dict()
    table |= {**loading, **({"model": model} if model else {})}
    table["labels"] |= {"judge": judge} if judge else {}
    table["labelled"] |= {
        **options,
        "file": str(file),
        "content": "",
        "columns": {**own.labelled.columns, **columns},
        "labels": {**own.labelled.labels, **dict(map(label_option, labels))},
    }
    return Recipe.from_dict(table)


def label_option(given: str) -> tuple[str, str]:
    """Word and verdict of ``WORD=VERDICT``.

    >>> label_option("a=b=hallucinated")
    ('a=b', 'hallucinated')
    """
    word, is_pair, verdict = given.rpartition("=")
    if not is_pair or not word:
        raise HlensError(f"--label {given!r}; expected WORD=VERDICT, as in wrong=hallucinated")
    return word, verdict


def template_option(given: str) -> tuple[str, Any]:
    """Name and value of ``KEY=VALUE``; the value is JSON where it is JSON, else text.

    >>> template_option("enable_thinking=False"), template_option("effort=low")
    (('enable_thinking', False), ('effort', 'low'))
    """
    key, is_pair, value = given.partition("=")
    if not is_pair or not key.strip():
        raise HlensError(f"--template {given!r}; expected KEY=VALUE, as in enable_thinking=false")
    written = value.lower() if value in ("True", "False") else value  # as text, both would be true
    try:
        return key.strip(), json.loads(written)
    except json.JSONDecodeError:
        return key.strip(), value


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
