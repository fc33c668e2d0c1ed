"""How weights are loaded, from recipe and command line to the model, and in the keys of steps."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from hlens import engines
from hlens.cli import app
from hlens.cli.baking import verify
from hlens.cli.models import open_model
from hlens.cli.studies import open_study
from hlens.errors import HlensError
from hlens.model import load
from hlens.recipe import Recipe
from hlens.steps import siblings, sources
from hlens.steps.runner import Runner
from hlens.steps.sources import model
from hlens.store import save_detector
from hlens.types import Detector

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


@pytest.mark.parametrize(
    ("opens", "words"),
    [
        ("hlens.engines.load", ["score", "found", "answers.jsonl", "--model", "toy"]),
        ("hlens.cli.baking.load", ["verify", "found", "--base", "toy"]),
        ("hlens.steps.sources.load", ["import", "answers.jsonl", "--model", "toy"]),
    ],
)
def test_every_command_that_opens_a_model_by_name_passes_its_options_on(
    opens: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are taken where the model would be opened."""
    monkeypatch.chdir(tmp_path)
    save_detector(Detector(torch.ones(2, 3), 0.0), tmp_path / "found")
    rows = [{"question": f"{i}?", "response": "Yes", "correct": i % 2 == 0} for i in range(4)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = {**GIVEN, "dtype": "bfloat16"}

    def opened(name: str, **options: Any) -> None:
        assert {key: options.get(key) for key in wanted} == wanted
        raise LookupError("opened")

    monkeypatch.setattr(opens, opened)
    given = [f"--{name.replace('_', '-')}={value}" for name, value in wanted.items()]
    with pytest.raises(LookupError, match="opened"):
        CliRunner().invoke(app, [*words, *given], catch_exceptions=False)


def test_a_sibling_is_loaded_as_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    wanted = {**GIVEN, "dtype": "bfloat16", "revision": "step1"}
    toy = load("toy")
    monkeypatch.setattr(siblings, "load", lambda name, **options: asked.append(options) or toy)
    one = siblings.Sibling.named("other", **wanted)
    siblings._source(one).load(Runner(tmp_path, Recipe(model="toy")))
    assert asked == [wanted]
    # Where it is computed does not make it another sibling.
    elsewhere = siblings.Sibling.named("other", **{**wanted, "device_map": ""})
    assert (elsewhere.place, siblings._source(elsewhere).name) == (
        one.place,
        siblings._source(one).name,
    )


def test_options_of_a_base_need_one(tmp_path: Path) -> None:
    with pytest.raises(HlensError, match="--dtype goes with --base"):
        verify(tmp_path, None, None, {"dtype": "float16"}, lambda *_: None)


def test_a_study_s_detector_scores_on_its_model_as_the_study_loads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, Any] = {}
    toy = load("toy")
    monkeypatch.setattr(engines, "load", lambda name, **options: asked.update(options) or toy)
    recipe = replace(Recipe(model="toy"), quantization="bnb-8bit", dtype="bfloat16")
    open_model(None, recipe, [Detector(torch.ones(2, 3), 0.0)], {"dtype": "float32"})
    given = {"dtype": "float32", "quantization": "bnb-8bit", "adapter": None, "device_map": None}
    given["template_options"] = None
    assert asked == given
