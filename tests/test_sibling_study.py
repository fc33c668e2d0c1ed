"""A study's detector on siblings of its model: asked for by name, kept, read back while current."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import architectures
import hlens
from hlens.cli import app
from hlens.errors import HlensError
from hlens.model import Model
from hlens.study import Study
from tiny_study import question_file, saved_model, tiny_recipe
from tiny_tokenizer import VOCAB, byte_tokenizer

PLACE = "siblings/noisy/"
KEPT = {"weights", "contributions", "refitted", "realigned", "comparison"}


def llama(**fields: object) -> nn.Module:
    return architectures.llama(vocab_size=VOCAB, max_position_embeddings=512, **fields)


def noisy(scale: float = 0.02, seed: int = 5) -> nn.Module:
    hf, draw = llama(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in hf.parameters():
            weight.add_(torch.randn(weight.shape, generator=draw) * weight.std() * scale)
    return hf


def opened(hf: nn.Module, name: str = "noisy") -> Model:
    return hlens.load((hf, byte_tokenizer()), name=name)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose detector was found, of a model in a folder."""
    home = tmp_path_factory.mktemp("siblings")
    questions = question_file(home / "questions.jsonl")
    recipe = tiny_recipe(questions, str(saved_model(home / "model")))
    study = Study(home / "study", recipe)
    assert len(study.detector().selected)
    return study.folder


@pytest.fixture
def study(found: Path, tmp_path: Path) -> Study:
    return Study(shutil.copytree(found, tmp_path / "study"))


def test_a_sibling_is_compared_kept_and_read_back(study: Study) -> None:
    study.sibling("noisy", opened(noisy()))
    assert {PLACE + name for name in KEPT} <= set(study.steps())
    found = study.sibling("noisy", opened(noisy()))
    again = Study(study.folder)
    seconds = again.seconds()
    read = again.sibling("noisy", opened(noisy()))
    assert again.seconds() == seconds  # nothing was made
    for one, other in zip(tables(found), tables(read), strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert set(found.scores.detector) == {"home", "as is", "realigned", "refitted"}
    n = len(study.detector().selected)
    assert len(found.drift) == n
    assert found.drift.correlation.median() > 0.9
    assert found.drift.cosine.min() > 0.99
    assert study.verify()[PLACE + "comparison"] == ""
    # What is kept is a detector of the sibling, for whatever reads that model.
    realigned = hlens.load_detector(study.folder / PLACE / "realigned")
    assert realigned.provenance.fingerprint == opened(noisy()).fingerprint
    # No other artefact rests on a sibling.
    assert not (study.folder / "recipe.toml").read_text().count("noisy")


def tables(found: hlens.siblings.SiblingComparison) -> tuple[pd.DataFrame, ...]:
    return found.scores, found.differences, found.drift


def test_other_weights_or_another_detector_are_compared_anew(study: Study) -> None:
    first = study.sibling("noisy", opened(noisy()))
    second = study.sibling("noisy", opened(noisy(seed=6)))
    assert not first.drift.equals(second.drift)
    study.revise(replace(study.recipe, probe=replace(study.recipe.probe, C=2.0)))
    with pytest.raises(HlensError, match="holds no detector made under its recipe"):
        study.sibling("noisy", opened(noisy(seed=6)))
    study.detector()
    measured = study.seconds()[PLACE + "contributions"]
    third = study.sibling("noisy", opened(noisy(seed=6)))
    assert len(third.drift) != len(second.drift)
    assert study.seconds()[PLACE + "contributions"] == measured  # the sibling ran once


def test_given_texts_realign(study: Study, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"Sentence {i} says {i * i} things.\n" for i in range(30)))
    own = study.sibling("noisy", opened(noisy()))
    by_texts = study.sibling("noisy", opened(noisy()), texts=texts)
    assert hlens.load_detector(study.folder / PLACE / "realigned").fit["realigned_on"] == 30
    assert by_texts.scores.auroc[1] == own.scores.auroc[1]
    pd.testing.assert_frame_equal(by_texts.drift, own.drift)
    texts.write_text("Two more.\nTexts here.\n")
    study.sibling("noisy", opened(noisy()), texts=texts)
    assert hlens.load_detector(study.folder / PLACE / "realigned").fit["realigned_on"] == 2
    with pytest.raises(HlensError, match="give a file with a text a line"):
        study.sibling("noisy", opened(noisy()), texts=tmp_path / "none.txt")


def test_what_cannot_be_compared_is_one_line(study: Study, tmp_path: Path) -> None:
    def refused(match: str, model: Model | None = None, name: str = "noisy") -> None:
        with pytest.raises(HlensError, match=match) as raised:
            study.sibling(name, model)
        assert "\n" not in str(raised.value)

    refused("has the very weights of model, so it is no sibling", opened(llama()))
    refused("a sibling has the same shape", opened(llama(intermediate_size=64)))
    smaller = architectures.llama(vocab_size=VOCAB - 150, max_position_embeddings=512)
    refused("another vocabulary", hlens.load((smaller, None), name="small"))
    refused("is the model of .* itself, so it is no sibling", name=study.recipe.model)
    assert not (study.folder / "siblings").exists()  # refused before anything was made
    study.revise(replace(study.recipe, probe=replace(study.recipe.probe, C=1e-6)))
    study.detector()
    refused("selected no neuron", opened(noisy()))
    assert not (study.folder / PLACE / "contributions.safetensors").exists()
    empty = Study(tmp_path / "empty", study.recipe)
    with pytest.raises(HlensError, match="holds no measures made under its recipe"):
        empty.sibling("noisy", opened(noisy()))


def test_the_command_line_compares_a_folder_and_sees_that_it_changed(
    study: Study, tmp_path: Path
) -> None:
    folder = tmp_path / "tuned"
    noisy().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)

    def said(*words: str) -> str:
        command = ["sibling", str(study.folder), "--model", str(folder), *words]
        done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        return done.stdout

    facts = json.loads(said("--json"))
    assert [row["detector"] for row in facts["sibling"]] == ["home", "as is", "realigned",
                                                             "refitted"]  # fmt: skip
    assert len(facts["differences"]) == 5
    assert facts["drift"][0]["n"] > 0
    assert any("what tuned would itself answer" in line for line in facts["in_words"])
    told = said()
    for part in ("realigned", "balanced_accuracy", "correlation", "• At home (model)"):
        assert part in told
    assert json.loads(said("--json", "--again"))["changed"] == []
    assert said("--again").endswith("recomputed  the numbers are the same\n")
    page = tmp_path / "sibling.html"
    said("--figure", str(page))
    assert "on the sibling" in page.read_text()
    noisy(seed=6).save_pretrained(folder)  # tuned on, under the same name
    now = folder.stat().st_mtime_ns + 10**9
    os.utime(folder / "model.safetensors", ns=(now, now))
    assert json.loads(said("--json"))["drift"] != facts["drift"]
