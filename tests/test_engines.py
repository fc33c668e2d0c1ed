"""Engines: what a recipe says of them, and what it makes again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hlens
from hlens import engines
from hlens.cli.studies import open_study
from hlens.errors import HlensError
from hlens.recipe import EngineRecipe, Recipe
from hlens.steps import sources
from hlens.steps.runner import Runner
from hlens.steps.sources import model, model_options

TOY = Recipe(model="toy")


def quiet(*_: Any) -> None:
    pass


def test_the_local_engine_is_what_load_does() -> None:
    local = hlens.load("toy", device="cpu", engine="local")
    assert local.fingerprint == hlens.load("toy", device="cpu").fingerprint


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"name": "locl"}, "unknown member of engines 'locl'; did you mean 'local'"),
        ({"options": {"workers": 2}}, "the local engine has no option 'workers'"),
        ({"name": ""}, "unknown member of engines ''"),
    ],
)
def test_a_recipe_refuses_what_an_engine_does_not_know(section: Any, said: str) -> None:
    with pytest.raises(HlensError, match=said) as refused:
        Recipe.from_dict({"engine": section})
    assert "\n" not in str(refused.value)


def test_the_section_goes_round_through_toml(tmp_path: Path) -> None:
    recipe = replace(TOY, engine=EngineRecipe("local"))
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert Recipe.read(tmp_path / "r.toml") == recipe == TOY


def test_only_another_rounding_makes_a_study_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study from before there were engines stays current under the local one."""
    before = [Runner(tmp_path, TOY).key(source) for source in (model, model_options)]
    assert "engine.rounding" not in Runner(tmp_path, TOY)._plain_options(model)
    monkeypatch.setattr(EngineRecipe, "rounding", "other")
    now = Runner(tmp_path, TOY)
    assert now._plain_options(model)["engine.rounding"] == "other"
    assert all(now.key(s) != key for s, key in zip((model, model_options), before, strict=True))


def test_the_engine_is_asked_for_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text('model = "toy"')
    study = open_study("r.toml", None, None, quiet, (), {"engine": "local"})
    assert study.recipe.engine == EngineRecipe()
    asked: dict[str, Any] = {}

    def load(name: str, **options: Any) -> Any:
        asked.update(options)
        return engines.load(name)

    monkeypatch.setattr(sources, "load", load)
    _ = study.model
    assert (asked["engine"], asked["engine_options"]) == ("local", {})
    with pytest.raises(HlensError, match="--engine goes with a recipe"):
        open_study(str(study.folder), None, None, quiet, (), {"engine": "local"})
