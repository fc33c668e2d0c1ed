"""What a study asks of its finding: two domains compared, an edit beside random neurons."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hlens
from hlens.cli import app
from hlens.study import Study
from tiny_study import question_file, tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    home = tmp_path_factory.mktemp("deeper")
    first, second = question_file(home / "a.jsonl"), question_file(home / "b.jsonl")
    recipe = tiny_recipe(
        first,
        domains=[f"jsonl:{first}", f"jsonl:{second}"],
        probe={"C": 3.0},
        evaluation={"shuffles": 2, "n_boot": 50, "stability_pairs": 4, "folds": 3},
        intervene={"behaviours": ["plain_qa"], "items": 2, "alphas": [0, 1]},
    )
    return hlens.Study(home / "study", recipe, tiny_model())


def test_domains_are_compared(study: Study) -> None:
    names = study.domains()
    assert len(names) == 2
    transfer = study.transfer()
    assert set(names) <= set(transfer["train"])
    overlap = study.overlap()
    assert list(overlap[["a", "b"]].iloc[0]) == names
    assert [one.name for one in study.neuron_sets()] == names


def test_an_edit_is_run_beside_its_controls_and_drawn(study: Study) -> None:
    if not len(study.detector().neurons):
        pytest.skip("noise selected no neuron of positive weight")
    outcomes = study.outcomes()
    assert outcomes.loc[outcomes["kind"] == "random", "set"].nunique() == 8
    assert {"perplexity", "kl", "multiple_choice"} <= set(outcomes["behaviour"])
    patched = study.patching()
    assert set(patched["kind"]) == {"neuron", "layer", "members", "random", "everything"}
    assert set(study.patching_map()["layer"]) == {layer for layer, _ in study.detector().neurons}
    page = study.report().read_text()
    for heading in ("How many neurons are needed?", "Is the selection stable?", "carry over?",
                    "share neurons?", "Does editing them change behaviour?", "Which replies turn?",
                    "What does it cost?", "Do they carry the difference?"):  # fmt: skip
        assert heading in page


def test_the_command_line_tells_what_edits_and_patches_did(study: Study) -> None:
    if not len(study.detector().neurons):
        pytest.skip("noise selected no neuron of positive weight")
    study.outcomes()
    study.patching_map()

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, str(study.folder)], env={"COLUMNS": "100"})
        assert done.exit_code == 0, done.output
        return done.stdout

    told = said("intervene")
    for line in ("Right answers to plain questions (points)", "8 random sets", "• Perplexity on"):
        assert line in told
    assert len(json.loads(said("intervene", "--json"))["slopes"]) > 8
    told = said("patch")
    assert "every neuron" in told
    assert "of the difference, over" in told
    assert json.loads(said("patch", "--json"))["patching"]


def test_an_opened_study_speaks_of_what_it_asked(study: Study, tmp_path: Path) -> None:
    study.questions()
    asked = [q.text for q in Study(study.folder).questions()]
    for path in study.folder.parent.glob("?.jsonl"):
        path.unlink()  # the domain is gone; what was asked is not
    assert [q.text for q in Study(study.folder).questions()] == asked
