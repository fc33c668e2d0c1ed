"""Opens the study that a command line names: a folder, a recipe file or a shipped recipe."""

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hlens.cli.columns import label_option
from hlens.errors import HlensError
from hlens.recipe import EngineRecipe, Recipe
from hlens.recipe.shipped import find_recipe
from hlens.study import Study


def open_study(
    source: str,
    out: Path | None,
    model: str | None,
    progress: Callable[[str, int, int], None],
    template: Sequence[str] = (),
    loading: Mapping[str, str | None] | None = None,
    settings: Sequence[str] = (),
    stand_in: bool = False,
) -> Study:
    """The study of a folder, a recipe file, or a recipe that ships with hlens.

    `template` are options of the chat template, each ``KEY=VALUE``, added to the recipe's;
    `loading` are options of the recipe that say how the model's weights are loaded; `settings` are
    any options of the recipe, each ``KEY=VALUE``; with `stand_in`, its stand-ins are asked in place
    of published sets.

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
        if given or settings or stand_in:
            option = next(iter(given), "set" if settings else "stand-in").replace("_", "-")
            raise HlensError(
                f"--{option} goes with a recipe; {source} is a study already: write it into its "
                "recipe.toml"
            )
        return Study(path, None, progress=progress)
    recipe, name = find_recipe(source), path.stem
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
    if settings:
        recipe = with_settings(recipe, settings)
    if stand_in:
        recipe, name = recipe.with_stand_ins(), f"{name}-stand-in"
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
    labelled = {
        **options,
        "file": str(file),
        "content": "",
        "columns": {**own.labelled.columns, **columns},
        "labels": {**own.labelled.labels, **dict(map(label_option, labels))},
    }
    given = {**loading, **({"model": model} if model else {})}
    judged = {"judge": judge} if judge else {}
    return own.with_options({**given, "labels": judged, "labelled": labelled})


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with options of it replaced, each given as ``KEY=VALUE``.

    A value is what TOML holds, and a text where it is not.

    Raises:
        HlensError: Something that is no ``KEY=VALUE``, or an option that the recipe does not know.

    >>> with_settings(Recipe(), ["sampling.n=3", "probe.way=paper"]).sampling.n
    3
    """
    known, options = recipe.to_dict(), dict[str, Any]()
    for one in settings:
        key, is_pair, value = one.partition("=")
        section, _, option = key.strip().rpartition(".")
        if not is_pair or not option:
            raise HlensError(f"--set {one!r:.60}; expected KEY=VALUE, as in sampling.n=3")
        try:
            plain = tomllib.loads(f"value = {value}")["value"]
        except ValueError:
            plain = value
        if section and not isinstance(known.get(section, {}), dict):
            raise HlensError(f"--set {one!r:.60}: {section} is no section of a recipe")
        (options.setdefault(section, {}) if section else options)[option] = plain
    return recipe.with_options(options)


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
