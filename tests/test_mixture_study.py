"""A mixture's whole study from the command line, as a user makes it: neurons are of experts."""

import json
import re
from pathlib import Path

import pytest
import torch
import transformers
from typer.testing import CliRunner

import architectures
import hlens
from hlens.cli import app
from hlens.store import export_neurons, import_neurons, load_contributions
from hlens.types import RoutedValues, address
from report_pages import words_of
from tiny_study import question_file, tiny_recipe
from tiny_tokenizer import VOCAB, byte_tokenizer

OF_A_DENSE_LAYER, OF_AN_EXPERT, SHARED = r"L0N\d+", r"L[12]E[0-3]N\d+", r"L[12]SN\d+"


def saved(folder: Path, seed: int = 0) -> str:
    """A dense layer, then two of four experts with one that is shared."""
    config = transformers.Qwen2MoeConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=24, shared_expert_intermediate_size=16, mlp_only_layers=[0],
        max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    hf = architectures.draw_weights(transformers.Qwen2MoeForCausalLM(config), seed)
    hf.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("mixture")
    recipe = tiny_recipe(
        question_file(home / "letters.jsonl", n=40),
        model=saved(home / "model"),
        probe={"C": 50.0},
        intervene={"capability": False},
    )
    (home / "recipe.toml").write_text(recipe.to_toml())
    run("run", str(home / "recipe.toml"), "--out", str(home / "study"))
    return home / "study"


def test_the_report_names_neurons_by_their_expert(study: Path) -> None:
    detector = hlens.Study(study).detector()
    experts = detector.provenance.experts
    assert experts == ((0, 0, 40), (4, 24, 16), (4, 24, 16))
    names = {address(neuron, experts) for neuron in detector.selected}
    page = words_of((study / "report.html").read_text())
    assert names <= set(re.findall(rf"{OF_A_DENSE_LAYER}|{OF_AN_EXPERT}|{SHARED}", page))
    assert not re.findall(r"\bL[12]N\d+", page)
    assert "matched by layer and by how often their expert is used" in page


def test_its_store_keeps_what_is_used(study: Path) -> None:
    data = load_contributions(study / "contributions")
    assert isinstance(data.values, RoutedValues)
    n_used = int(torch.count_nonzero(data.values))
    assert data.values.matrix.n_values == n_used < data.values.numel()
    n = len(data) * (40 + 2 * (4 * 24 + 16))
    said = json.loads(run("measure", str(study), "--json"))["stored"]
    assert said == f"{4 * n_used / 1e6:,.1f} MB: {n_used / n:.1%} of the values are not zero"


def test_it_is_traced_audited_edited_and_drawn_again(study: Path) -> None:
    run("trace-origin", str(study), "--base", saved(study.parent / "base", seed=1))
    run("audit", str(study), "--quick")
    options = ("--behaviour", "plain_qa", "--items", "2", "--alpha", "0", "--matched", "0")
    run("intervene", str(study), *options, "--second-grader", "none")
    run("report", str(study))
    page = words_of((study / "report.html").read_text())
    assert "Did the base model know?" in page
    assert "No audit was made" not in page
    assert not re.findall(r"\bL[12]N\d+", page)


def test_its_neurons_go_out_and_come_back(study: Path, tmp_path: Path) -> None:
    neurons = hlens.Study(study).detector().selected
    table = export_neurons(neurons, tmp_path / "neurons.csv")
    for line in table.read_text().splitlines()[1:]:
        assert re.match(rf"({OF_A_DENSE_LAYER}|{OF_AN_EXPERT}|{SHARED}),", line)
    back = import_neurons(table, n_layers=neurons.n_layers, d_mlp=neurons.d_mlp)
    assert back.members == neurons.members
    whole = import_neurons(export_neurons(neurons, tmp_path / "neurons.json"))
    assert (whole.members, whole.experts) == (neurons.members, neurons.experts)
    shared = hlens.store.to_folder(hlens.Study(study).detector(), tmp_path / "shared")
    assert hlens.store.load_detector(shared).selected.members == neurons.members


def test_it_is_watched_scored_baked_and_restored(study: Path, tmp_path: Path) -> None:
    (watched,) = json.loads(run("monitor", str(study), "Number 7?", "--json"))["answers"]
    assert 0 < watched["probability"] < 1
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"id": "1", "question": "Number 7?", "response": "a b"}) + "\n")
    scored = json.loads(run("score", str(study), str(answers), "--json"))
    assert len(scored["answers"]) == 1
    baked, restored = tmp_path / "baked", tmp_path / "restored"
    run("bake", str(study), str(baked), "--alpha", "0.5")
    verified = json.loads(
        run("verify", str(baked), "--base", str(study.parent / "model"), "--json")
    )
    assert verified["ok"]
    assert verified["rest_agrees"]
    run("unbake", str(baked), str(restored))
    model = hlens.load(str(study.parent / "model"))
    assert hlens.load(str(restored)).fingerprint == model.fingerprint
