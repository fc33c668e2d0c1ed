"""A baked checkpoint is an ordinary one, equal to the hook, checked and undone."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor
from typer.testing import CliRunner

import architectures
from hlens import interventions as iv
from hlens.cli import app, baking
from hlens.errors import HlensError
from hlens.model import Model, load
from hlens.store.checkpoints import RECORD
from hlens.store.tensor_file import read_tensors, write_tensors
from hlens.types import Detector, NeuronSet

IDS = torch.tensor([[3, 14, 15, 9, 26, 5, 35, 8]])
MEMBERS = frozenset({(0, 1), (0, 7), (2, 20), (2, 55)})


@pytest.fixture(scope="module")
def model() -> Model:
    return load((architectures.llama(), None), name="tiny")


@pytest.fixture
def neurons() -> NeuronSet:
    return NeuronSet(MEMBERS, 3, 56)


def logits(model: Model) -> Tensor:
    with torch.inference_mode():
        return model.hf(IDS).logits


@pytest.mark.parametrize("name", sorted(architectures.DENSE))
def test_the_checkpoint_equals_the_hook(name: str, tmp_path: Path) -> None:
    model = load((architectures.DENSE[name](), None), name=name)
    neurons = NeuronSet(MEMBERS, 3, 56)
    with model.editing(neurons, iv.scale(2.5)):
        hooked = logits(model)
    folder = iv.bake(model, neurons, iv.scale(2.5), folder=tmp_path / "baked")
    baked = load(str(folder))
    assert torch.allclose(logits(baked), hooked, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(logits(baked), logits(model), atol=1e-3)
    assert iv.verify(folder, model).ok
    restored = load(str(iv.unbake(folder, tmp_path / "restored")))
    ours, theirs = restored.hf.state_dict(), model.hf.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_ablation_is_undone_too_and_the_model_stays_as_it_was(
    model: Model, neurons: NeuronSet, tmp_path: Path
) -> None:
    plain = logits(model)
    pairs = [(neurons, iv.ablate()), (NeuronSet(frozenset({(1, 4)}), 3, 56), iv.scale(3.0))]
    with model.editing(pairs):
        hooked = logits(model)
    folder = iv.bake(model, pairs, None, folder=tmp_path / "baked")
    assert torch.equal(logits(model), plain)
    assert torch.allclose(logits(load(str(folder))), hooked, atol=1e-5)
    found = iv.verify(folder)
    assert found.ok
    assert found.neurons == 5
    assert found.rest_agrees is None
    assert torch.equal(logits(load(str(iv.unbake(folder, tmp_path / "back")))), plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_checkpoint_in_half_precision_is_verified_and_undone(
    neurons: NeuronSet, tmp_path: Path, dtype: torch.dtype
) -> None:
    """Its rows were rounded in that precision, and are compared and put back in it."""
    half = load((architectures.llama().to(dtype), None), name="half")
    folder = iv.bake(half, neurons, iv.scale(0.3), folder=tmp_path / "baked")
    assert iv.verify(folder, half).ok
    assert iv.verify(folder, load((architectures.llama().to(dtype).float(), None), name="half")).ok
    restored = load(str(iv.unbake(folder, tmp_path / "back")), dtype=dtype).hf.state_dict()
    assert json.loads((tmp_path / "back" / "config.json").read_text())["dtype"] in str(dtype)
    assert all(torch.equal(restored[key], value) for key, value in half.hf.state_dict().items())


def test_the_card_says_what_was_changed(model: Model, neurons: NeuronSet, tmp_path: Path) -> None:
    folder = iv.bake(model, neurons, iv.scale(0.5), folder=tmp_path / "baked")
    text = (folder / "README.md").read_text()
    for member in ("| L0N1 | 0.5 |", "| L2N55 | 0.5 |", "4 of its 168", model.fingerprint):
        assert member in text
    assert {p.name for p in folder.iterdir()} >= {"config.json", "model.safetensors", RECORD}
    assert [p.name for p in tmp_path.iterdir()] == ["baked"]  # nothing half-written beside it
    # Whatever else ends so is taken for weights by vLLM.
    assert [p.name for p in folder.glob("*.safetensors")] == ["model.safetensors"]


def test_a_record_under_its_former_name_is_read(
    model: Model, neurons: NeuronSet, tmp_path: Path
) -> None:
    folder = iv.bake(model, neurons, iv.scale(0.5), folder=tmp_path / "baked")
    (folder / RECORD).rename(folder / "hlens_edit.safetensors")
    assert iv.verify(folder, model).ok


def test_verify_sees_a_changed_weight_and_undo_refuses_it(
    model: Model, neurons: NeuronSet, tmp_path: Path
) -> None:
    folder = iv.bake(model, neurons, iv.scale(0.5), folder=tmp_path / "baked")
    tampered = load(str(folder))
    record = (folder / RECORD).read_bytes()
    tampered.w_out(1)[3] *= 2.0
    tampered.hf.save_pretrained(tmp_path / "tampered")
    (tmp_path / "tampered" / RECORD).write_bytes(record)
    found = iv.verify(tmp_path / "tampered", model)
    assert (found.rows_agree, found.fingerprint_agrees, found.rest_agrees) == (True, False, False)
    tampered.w_out(0)[1] *= 2.0
    tampered.hf.save_pretrained(tmp_path / "worse")
    (tmp_path / "worse" / RECORD).write_bytes(record)
    assert not iv.verify(tmp_path / "worse").rows_agree
    with pytest.raises(HlensError, match="something else"):
        iv.unbake(tmp_path / "worse", tmp_path / "never")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda tensors, record: record.clear(), "not JSON"),
        (lambda tensors, record: record.update(record='{"base": 3}'), "base is 3, expected a text"),
        (lambda tensors, record: record.update(record='{"base": "x"}'), "fingerprint is missing"),
        (lambda tensors, record: tensors.pop("factors"), "of another model"),
        (lambda tensors, record: tensors.pop("rows.2"), "of another model"),
        (lambda tensors, record: tensors.update(factors=torch.ones(9, 9)), "of another model"),
        (lambda tensors, record: tensors.update({"rows.2": torch.ones(1, 3)}), "of another model"),
    ],
)
def test_a_damaged_record_is_refused(
    damage: Callable, said: str, model: Model, neurons: NeuronSet, tmp_path: Path
) -> None:
    folder = iv.bake(model, neurons, iv.scale(0.5), folder=tmp_path / "baked")
    tensors, record = read_tensors(folder / RECORD)
    damage(tensors, record)
    write_tensors(folder / RECORD, tensors, metadata=record)
    with pytest.raises(HlensError, match=said):
        iv.verify(folder)
    with pytest.raises(HlensError, match=said):
        iv.unbake(folder, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_wrong_arguments_are_refused(model: Model, neurons: NeuronSet, tmp_path: Path) -> None:
    with pytest.raises(HlensError, match="cannot be folded"):
        iv.bake(model, neurons, iv.clamp(0.0, 1.0), folder=tmp_path / "a")
    with pytest.raises(HlensError, match="no neurons"):
        iv.bake(model, NeuronSet(frozenset(), 3, 56), iv.scale(0.0), folder=tmp_path / "a")
    with pytest.raises(HlensError, match="exists"):
        iv.bake(model, neurons, iv.scale(0.0), folder=tmp_path)
    with pytest.raises(HlensError, match="no baked checkpoint"):
        iv.verify(tmp_path)
    bridge = load((architectures.llama(), None)).bridge
    with pytest.raises(HlensError, match="cannot be saved"):
        iv.bake(load(bridge), neurons, iv.scale(0.0), folder=tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_leaves_nothing(
    model: Model, neurons: NeuronSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, said in [
        ("file", "exists"),
        ("link", "exists"),
        ("file/below", "cannot write"),
        ("x" * 300, "name too long"),
    ]:
        with pytest.raises(HlensError, match=said):
            iv.bake(model, neurons, iv.scale(0.0), folder=tmp_path / name)

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(model.hf, "save_pretrained", full)
    with pytest.raises(HlensError, match="No space left"):
        iv.bake(model, neurons, iv.scale(0.0), folder=tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_factor_too_large_for_the_weights_is_refused(
    model: Model, neurons: NeuronSet, tmp_path: Path
) -> None:
    plain = logits(model)
    with pytest.raises(HlensError, match=r"do not fit torch\.float32"):
        iv.bake(model, neurons, iv.scale(1e39), folder=tmp_path / "new")
    assert torch.equal(logits(model), plain)
    assert not list(tmp_path.iterdir())


def test_a_name_brings_no_markup_of_its_own_into_the_card(
    neurons: NeuronSet, tmp_path: Path
) -> None:
    model = load((architectures.llama(), None), name='a: "b"\n---\n# <script>')
    folder = iv.bake(model, neurons, iv.scale(0.5), folder=tmp_path / "baked")
    head, _, rest = (folder / "README.md").read_text().removeprefix("---\n").partition("\n---\n")
    assert head.splitlines()[0] == r'base_model: "a: \"b\" --- # <script>"'
    assert "<script>" not in rest


def test_a_failure_inside_leaves_the_weights_as_they_were(model: Model, neurons: NeuronSet) -> None:
    before = {key: value.clone() for key, value in model.hf.state_dict().items()}
    with pytest.raises(IndexError), iv.folded(model, neurons, iv.scale(0.3)):
        model.hf(torch.tensor([[10**6]]))
    after = model.hf.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_one_command_bakes_one_verifies_one_undoes(
    model: Model, neurons: NeuronSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def study(folder: str) -> SimpleNamespace:
        found = Detector(neurons.mask.float(), 0.0, provenance=model.provenance)
        recipe = SimpleNamespace(model="tiny")
        return SimpleNamespace(model=model, recipe=recipe, detector=lambda: found)

    def said(*words: object) -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(app, [*map(str, words), "--json"])
        return done.exit_code, json.loads(done.stdout)

    monkeypatch.setattr(baking, "Study", study)
    folder = tmp_path / "baked"
    assert said("bake", "study", folder, "--alpha", "0.5")[1]["neurons"] == 4
    code, found = said("verify", folder)
    assert (code, found["ok"], found["neurons"]) == (0, True, 4)
    words = CliRunner().invoke(app, ["verify", str(folder)]).stdout
    assert "the 4 edited rows are factor x original  yes" in words
    assert "not compared; name the base model with --base" in words
    assert said("unbake", folder, tmp_path / "back")[0] == 0
    assert torch.equal(logits(load(str(tmp_path / "back"))), logits(model))
    changed = load(str(folder))
    changed.w_out(1)[3] *= 2.0
    changed.hf.save_pretrained(folder)
    code, found = said("verify", folder)
    assert (code, found["ok"]) == (1, False)
    assert "NOT what its record says" in CliRunner().invoke(app, ["verify", str(folder)]).stdout
