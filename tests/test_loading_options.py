"""How weights are loaded, from recipe and command line to the model, and in the keys of steps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hlens.cli.studies import open_study
from hlens.errors import HlensError
from hlens.model import load
from hlens.recipe import Recipe
from hlens.steps import sources
from hlens.steps.runner import Runner
from hlens.steps.sources import model

GIVEN = {"quantization": "bnb-4bit", "adapter": "tuned/a", "device_map": "auto"}


def test_options_go_from_the_command_line_to_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text('model = "toy"')
    study = open_study("r.toml", None, None, lambda *_: None, (), GIVEN)
    assert study.folder == Path("runs/r-a-bnb-4bit")  # not the folder of the plain model
    assert {name: getattr(study.recipe, name) for name in GIVEN} == GIVEN
    assert Recipe.from_dict(study.recipe.to_dict()) == study.recipe
    study.folder.mkdir(parents=True, exist_ok=True)
    (study.folder / "recipe.toml").write_text(study.recipe.to_toml())
    given = {"device_map": "auto"}
    with pytest.raises(HlensError, match="--device-map goes with a recipe"):
        open_study(str(study.folder), None, None, lambda *_: None, (), given)


def test_options_reach_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        sources, "load", lambda name, **options: asked.update(options) or load("toy")
    )
    Runner(tmp_path, replace(Recipe(model="toy"), **GIVEN)).value(model)
    assert asked.items() >= GIVEN.items()


def test_they_decide_what_is_made_again_but_not_where_it_is_computed(tmp_path: Path) -> None:
    plain = Recipe(model="toy")
    key = Runner(tmp_path, plain).key(model)
    assert Runner(tmp_path, replace(plain, device_map="auto")).key(model) == key
    assert Runner(tmp_path, replace(plain, adapter="tuned/a")).key(model) != key
    assert Runner(tmp_path, replace(plain, quantization="bnb-4bit")).key(model) != key
    # What was made before there were such options stays as it is.
    assert "adapter" not in Runner(tmp_path, plain)._plain_options(model)
