"""The engine ray, as far as it goes without Ray: options, and what is said where Ray is missing."""

import sys
from pathlib import Path
from typing import Any

import pytest

import architectures
import hlens
from hlens.cli.studies import open_study
from hlens.errors import HlensError
from hlens.recipe import EngineRecipe, Recipe
from hlens.steps.runner import Runner
from hlens.steps.sources import model


def quiet(*_: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"worker": 2}, "unknown option of the engine ray 'worker'; did you mean 'workers'"),
        ({"workers": -1}, "option workers of the engine ray=-1; expected"),
        ({"workers": 1.5}, "option workers of the engine ray=1.5; expected"),
        ({"cpus": "two"}, "option cpus of the engine ray='two'; expected"),
        ({"gpus": -1}, "option gpus of the engine ray=-1; expected"),
        ({"address": ""}, "option address of the engine ray is ''; expected"),
        ({"address": 6379}, "option address of the engine ray is 6379; expected"),
    ],
)
def test_a_recipe_refuses_what_ray_does_not_know(options: dict[str, Any], said: str) -> None:
    with pytest.raises(HlensError) as refused:
        Recipe.from_dict({"engine": {"name": "ray", "options": options}})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_study_made_with_ray_is_that_of_the_local_engine(tmp_path: Path) -> None:
    local, spread = Recipe(model="toy"), Recipe(model="toy", engine=EngineRecipe("ray"))
    assert Runner(tmp_path, local).key(model) == Runner(tmp_path, spread).key(model)
    assert local != spread


def test_the_command_line_names_the_cluster_and_the_folder_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text('model = "toy"\n[engine]\nname="ray"\noptions={workers = 3}\n')
    study = open_study("r.toml", None, None, quiet, (), {"address": "10.0.0.1:6379"})
    assert study.recipe.engine.options == {"workers": 3, "address": "10.0.0.1:6379"}
    assert study.folder == Path("runs/r")
    again = open_study("r.toml", None, None, quiet, (), {"engine": "local"})
    assert (again.folder, again.recipe.engine) == (study.folder, EngineRecipe())
    with pytest.raises(HlensError, match="the local engine has no option 'address'"):
        open_study("r.toml", None, None, quiet, (), {"engine": "local", "address": "auto"})


def test_an_open_model_is_refused() -> None:
    pair = (architectures.llama(), None)
    with pytest.raises(HlensError, match="loads the model on every machine"):
        hlens.load(pair, engine="ray")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("hlens.engines.ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HlensError, match=r"needs Ray .*pip install 'hlens\[ray\]'"):
        hlens.load("toy", engine="ray")
