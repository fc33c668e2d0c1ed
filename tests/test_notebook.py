"""What a notebook shows of values: a line, a small table, and nothing that commands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import hlens
from command_line import call
from hlens.cli import app
from hlens.errors import HlensError
from hlens.steps.state import MADE, OPEN, STALE
from hlens.study import Study
from hlens.types import Detector, Example, NeuronSet, Provenance
from synthetic import made
from tiny_detector import detector_of
from tiny_study import question_file, tiny_model, tiny_recipe

HOSTILE = "<script>alert(1)</script>"


def sets() -> tuple[NeuronSet, NeuronSet]:
    one = NeuronSet(frozenset({(0, 1), (1, 2)}), 2, 4, {(0, 1): 0.5, (1, 2): -2.0}, name="a")
    return one, NeuronSet(frozenset({(1, 2), (1, 3)}), 2, 4, name="b")


def detector() -> Detector:
    weights = torch.zeros(12, 3000)
    weights[:, ::7] = torch.randn(12, 429, generator=torch.Generator().manual_seed(0))
    provenance = Provenance(model=f"a {HOSTILE}", fingerprint="f" * 64)
    return Detector(weights, 0.0, domains=tuple("abcdefgh"), provenance=provenance)


@pytest.mark.parametrize(
    "value", [detector(), detector().selected, made(n=60), sets()[0], NeuronSet(frozenset(), 1, 1)]
)
def test_a_value_is_a_line_and_a_small_table(value: object) -> None:
    assert repr(value).startswith(f"{type(value).__name__}(")
    assert len(repr(value)) < 160
    assert "\n" not in repr(value)
    page = value._repr_html_()  # type: ignore[attr-defined]
    assert len(page) < 2_500
    assert page.count("<table>") == page.count("</table>") >= 1
    assert HOSTILE not in page


def test_the_neurons_that_weigh_most_come_first() -> None:
    one, _ = sets()
    assert one.to_frame()["address"].tolist() == ["L1N2", "L0N1"]
    assert one.to_frame()["weight"].tolist() == [-2.0, 0.5]
    assert NeuronSet(frozenset(), 1, 1).to_frame().empty
    unweighed = one | NeuronSet(frozenset({(0, 0)}), 2, 4)
    assert "nan" not in unweighed._repr_html_()
    page = one._repr_html_()
    assert page.index("L1N2") < page.index("L0N1")


def test_neurons_are_written_as_a_table_that_is_read_again(tmp_path: Path) -> None:
    one, _ = sets()
    one = one.renamed('=HYPERLINK("x")')  # which a spreadsheet would obey
    file = one.to_csv(tmp_path / "neurons.csv")
    lines = file.read_text().splitlines()
    assert lines[:2] == ["address,layer,neuron,hook,weight", "L1N2,1,2,blocks.1.mlp.hook_post,-2.0"]
    assert not any(cell[:1] in "=+@" for line in lines for cell in line.split(","))
    assert hlens.load_neurons(file, n_layers=2, d_mlp=4).weights == one.weights
    frame = one.to_frame()
    assert list(frame) == lines[0].split(",")
    assert one.to_csv(file) == file  # its own file is replaced
    own = tmp_path / "own.csv"
    own.write_text("a,b\n1,2\n")
    with pytest.raises(HlensError, match="did not write it"):
        one.to_csv(own)
    assert own.read_text() == "a,b\n1,2\n"
    with pytest.raises(HlensError, match="expected a name in"):
        one.to_csv(tmp_path / "neurons.txt")


def test_algebra_says_what_it_made() -> None:
    a, b = sets()
    assert sorted(a ^ b) == sorted((a | b) - (a & b)) == [(0, 1), (1, 3)]
    named = [one.name for one in (a & b, a | b, a - b, a ^ b, (a & b) | b)]
    assert named == ["a ∩ b", "a ∪ b", "a − b", "a △ b", "(a ∩ b) ∪ b"]
    assert (a - b.renamed("")).name == (a.renamed("") - b).name == ""  # it is neither of them
    assert (a & b).renamed("core").members == (a & b).members
    with pytest.raises(HlensError, match="expected NeuronSet"):
        _ = a ^ {(0, 1)}  # type: ignore[operator]


def test_a_study_says_where_it_stands(tmp_path: Path) -> None:
    recipe = tiny_recipe(question_file(tmp_path / "q.jsonl"))
    study = Study(tmp_path / "study", recipe, tiny_model())
    assert "nothing made yet" in repr(study)
    study.scores()
    state = study.state().set_index("what")
    assert state.loc["scores", "state"] == MADE
    assert state.loc["edits", ["state", "command"]].tolist() == [
        OPEN,
        f"hlens intervene {study.folder}",
    ]
    assert state.loc["edits", "to_go_on"].startswith("runs the model")
    assert state.loc["overlap", "to_go_on"] == "without the model"
    verbs = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert {command.split()[1] for command in state["command"] if command} <= verbs
    fresh = Study(tmp_path / "fresh", recipe, tiny_model()).state()
    assert {command.split()[1] for command in fresh["command"]} <= verbs
    assert (state["command"] == "").tolist() == (state["state"] == MADE).tolist()
    assert "up to scores" in repr(study)
    assert "hlens audit" in study._repr_html_()
    assert state.loc["contributions", "seconds"] > 0
    study.revise(replace(recipe, probe=replace(recipe.probe, C=1.0)))
    assert study.state().set_index("what").loc["detector", "state"] == STALE


def test_a_damaged_study_is_still_shown(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", tiny_recipe(question_file(tmp_path / "q.jsonl")))
    (tmp_path / "study" / "stamps.json").write_text("{broken")
    assert "its state cannot be read" in repr(study)
    assert "damaged" in study._repr_html_()


def test_the_neurons_of_a_domain_bear_its_name(tmp_path: Path) -> None:
    files = [question_file(tmp_path / f"{name}.jsonl", 80) for name in ("one", "two")]
    recipe = tiny_recipe(files[0], domains=[f"jsonl:{file}" for file in files])
    study = Study(tmp_path / "study", recipe, tiny_model())
    assert study.neurons().name == "H-neurons"
    assert study.neurons("two").name == "two"
    with pytest.raises(HlensError, match="domain of this study"):
        study.neurons("three")


def test_a_strip_of_an_example_takes_one_line() -> None:
    model = tiny_model()
    ids = torch.tensor(model.tokenizer("What is it?<b>")["input_ids"])
    example = Example(ids, 4, 4, len(ids), True, "1", "g", "general")
    drawn = hlens.strip(model, detector_of(model), example)
    assert str(drawn).count("hl-t") >= len(ids) - 4
    assert "judged hallucinated" in str(drawn)
    assert "<b>" not in str(drawn).partition("</style>")[2]
    same = hlens.figures.tokens(model, detector_of(model), example)
    assert str(same) == str(drawn) == str(hlens.figures.strip(model, detector_of(model), example))
    with pytest.raises(HlensError, match="expected tokens and their risks, or a model"):
        hlens.figures.tokens(model, detector_of(model))  # type: ignore[arg-type]
    nothing = replace(detector_of(model), weights=torch.zeros(model.n_layers, model.d_mlp))
    with pytest.raises(HlensError, match="has no neurons"):
        hlens.strip(model, nothing, example)
    bare = hlens.load((model.hf, None))
    with pytest.raises(HlensError, match="tokenizer"):
        hlens.strip(bare, detector_of(bare), example)
    with pytest.raises(HlensError, match="expected Example"):
        hlens.strip(model, detector_of(model), np.arange(3))  # type: ignore[arg-type]


def test_the_version_is_said() -> None:
    assert call("--version").out.startswith("hlens ")
