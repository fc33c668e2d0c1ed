"""A study keeps what it made, makes again what changed, and ends the same after an interruption."""

from pathlib import Path

import pandas as pd
import pytest
import torch

import hlens
from hlens.contributions import results
from hlens.errors import HlensError
from hlens.model import Model
from hlens.spans import token_texts
from synthetic import made
from tiny_study import question_file, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return question_file(tmp_path / "questions.jsonl")


def times(folder: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.is_file()}


def test_the_whole_line_and_its_files(model: Model, questions: Path, tmp_path: Path) -> None:
    study = hlens.Study.run(tiny_recipe(questions), tmp_path / "study", model)
    scores = study.scores()
    assert {"probe", "random neurons", "shuffled labels", "answer length"} <= set(scores["control"])
    assert scores.set_index("control").loc["random neurons", "repeats"] in (0, 20)
    report = study.report()
    page = report.read_text()
    assert "H-neurons in tiny" in page
    assert "No audit was made" in page
    assert str(study.recipe.seed) in page
    assert {"recipe.toml", "responses.jsonl", "detector.safetensors", "scores.parquet"} <= set(
        times(study.folder)
    )


def test_only_what_changed_is_made_again(model: Model, questions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    hlens.Study.run(tiny_recipe(questions), folder, model)
    before = times(folder)
    hlens.Study.run(tiny_recipe(questions), folder, model)
    assert times(folder) == before | {"recipe.toml": times(folder)["recipe.toml"]}
    hlens.Study.run(tiny_recipe(questions, probe={"C": 2.0}), folder, model)
    after = times(folder)
    assert after["responses.jsonl"] == before["responses.jsonl"]
    assert after["contributions.safetensors"] == before["contributions.safetensors"]
    assert after["detector.safetensors"] != before["detector.safetensors"]
    question_file(questions, n=50)
    hlens.Study.run(tiny_recipe(questions, probe={"C": 2.0}), folder, model)
    assert times(folder)["responses.jsonl"] != after["responses.jsonl"]


def test_an_interrupted_study_ends_the_same(model: Model, questions: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(questions, probe={})  # the penalty by cross-validation
    whole = hlens.Study.run(recipe, tmp_path / "whole", model)

    def kill(step: str, done: int, total: int) -> None:
        if step == "find: detector":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hlens.Study.run(recipe, tmp_path / "cut", model, kill)
    again = hlens.Study.run(recipe, tmp_path / "cut", model)
    pd.testing.assert_frame_equal(again.scores(), whole.scores())
    for name in ("responses.jsonl", "examples.jsonl", "contributions.safetensors"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_a_study_that_is_killed_while_it_measures_goes_on_where_it_stopped(
    model: Model, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hlens.Study(tmp_path / "whole", tiny_recipe(questions), model).contributions()
    monkeypatch.setattr(results, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(results, "auto_tokens", lambda model: 128)
    seen: list[int] = []

    def kill(step: str, done: int, total: int) -> None:
        if step == "measure: contributions":
            seen.append(done)
            if len(seen) == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hlens.Study(tmp_path / "cut", tiny_recipe(questions), model, kill).contributions()
    reached, seen[:] = seen[-2], [0] * 9  # the block in flight is what the kill cost
    assert reached > 0
    study = hlens.Study(tmp_path / "cut", tiny_recipe(questions), model, kill)
    torch.testing.assert_close(study.contributions().values, whole.values)
    assert min(done for done in seen[9:] if done > 1) > reached
    assert not (tmp_path / "cut" / "contributions.parts").exists()


def test_a_folder_opens_with_its_recipe(model: Model, questions: Path, tmp_path: Path) -> None:
    study = hlens.Study(tmp_path / "study", tiny_recipe(questions, seed=3), model)
    study.questions()
    assert hlens.Study(tmp_path / "study").recipe == study.recipe
    with pytest.raises(HlensError, match="holds no recipe"):
        hlens.Study(tmp_path / "nothing")


def test_one_label_only_is_said(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "hard.jsonl"
    path.write_text('{"id": "1", "question": "Q?", "answers": ["never said at all"]}\n' * 1)
    with pytest.raises(HlensError, match=r"of one label|no examples"):
        hlens.Study.run(tiny_recipe(path), tmp_path / "study", model)


def test_a_planted_neuron_is_found_and_tops_the_map() -> None:
    data = made(n=400, n_layers=3, d_mlp=40, planted={(1, 17): 4.0}, per_group=2)
    train, test = hlens.evaluation.split_by_group(data)
    detector = hlens.find(train, hlens.SparseProbe(C="cv"))
    strongest = int(torch.argmax(detector.weights.abs()))
    assert divmod(strongest, 40) == (1, 17)
    assert hlens.evaluate(detector, test).low > 0.8
    figure = hlens.figures.neuron_map(detector)
    drawn = [
        t for t in figure.data if t.type == "scatter" and t.x is not None and t.x[0] is not None
    ]
    sizes = [(size, y, x) for t in drawn for size, y, x in zip(_sizes(t), t.y, t.x, strict=True)]
    assert max(sizes)[1:] == (1, 17)


def _sizes(trace) -> list[float]:  # type: ignore[no-untyped-def]
    size = trace.marker.size
    return list(size) if hasattr(size, "__len__") else [size] * len(trace.x)


def test_a_character_of_several_tokens_is_shown_once(model: Model) -> None:
    ids = model.tokenizer("中é!").input_ids
    shown = token_texts(model.tokenizer, ids)
    assert len(shown) == len(ids) == 6
    assert shown == ["·", "·", "中", "·", "é", "!"]
