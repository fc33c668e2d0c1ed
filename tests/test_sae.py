"""Sparse autoencoders: read as SAELens reads them, or refused; their features tell what is planted.

SAELens and hlens ask for different versions of TransformerLens, so that it lives in an environment
of its own:

    python -m venv saelens && saelens/bin/pip install torch==2.13.0 sae-lens==6.54.12
    HLENS_SAELENS=saelens/bin/python pytest tests/test_sae.py

Last so on 2026-11-30: sae-lens 6.54.12 with transformer-lens 3.9.0, all agree. Without it, only
what it once gave is compared (the numbers below).
"""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import hlens
from hlens.baselines import NotAvailableError, Sae, gather, load_sae, named
from hlens.baselines._reading import read
from hlens.errors import HlensError
from hlens.steps import audit as audit_steps
from test_gather import located, questions, sequences
from tiny_study import question_file, tiny_model, tiny_recipe

D_MODEL, N_FEATURES = 32, 64
KINDS: dict[str, dict[str, Any]] = {
    "standard": {},
    "jumprelu": {"apply_b_dec_to_input": False},
    "topk": {"k": 3, "rescale_acts_by_decoder_norm": True},
}
# Sum of all activations of `STATES`, and number of those above zero, by SAELens.
ENCODED = {
    "standard": (216.85223388671875, 164),
    "jumprelu": (192.36529541015625, 112),
    "topk": (77.73368835449219, 15),
}
STATES = torch.randn(5, D_MODEL, generator=torch.Generator().manual_seed(3))

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
from sae_lens import SAE
from safetensors.torch import load_file

given = json.loads(sys.stdin.read())
states = load_file(given["states"])["states"]
found = {}
for kind, folder in given["folders"].items():
    sae = SAE.load_from_disk(folder)
    with torch.no_grad():
        found[kind] = sae.encode(states).tolist()
    sae.save_model(folder + "-again")  # as it writes them itself
print(json.dumps(found))
"""


def weights(kind: str, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    found = {
        "W_enc": 0.3 * torch.randn(D_MODEL, N_FEATURES, generator=draw),
        "b_enc": 0.1 * torch.randn(N_FEATURES, generator=draw),
        "W_dec": 0.3 * torch.randn(N_FEATURES, D_MODEL, generator=draw),
        "b_dec": 0.5 * torch.randn(D_MODEL, generator=draw),
    }
    threshold = torch.rand(N_FEATURES, generator=draw)
    return found | ({"threshold": threshold} if kind == "jumprelu" else {})


def written(folder: Path, kind: str, tensors: dict[str, Tensor], **fields: Any) -> Path:
    """An SAE as SAELens 6 writes it."""
    folder.mkdir(parents=True)
    own: dict[str, Any] = {"d_in": D_MODEL, "d_sae": N_FEATURES, "dtype": "float32",
        "device": "cpu", "apply_b_dec_to_input": True, "normalize_activations": "none",
        "reshape_activations": "none", "metadata": {"hook_name": "blocks.1.hook_resid_post"},
        "architecture": kind}  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(own | KINDS.get(kind, {}) | fields))
    save_file(tensors, folder / "sae_weights.safetensors")
    return folder


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_encoding_is_what_saelens_gave(kind: str, tmp_path: Path) -> None:
    active = load_sae(written(tmp_path / kind, kind, weights(kind))).encode(STATES)
    total, positive = ENCODED[kind]
    assert float(active.sum()) == pytest.approx(total, rel=1e-5)
    assert int((active > 0).sum()) == positive


@pytest.mark.skipif(not os.environ.get("HLENS_SAELENS"), reason="no environment with SAELens")
def test_encoding_is_that_of_saelens(tmp_path: Path) -> None:
    folders = {kind: str(written(tmp_path / kind, kind, weights(kind))) for kind in KINDS}
    save_file({"states": STATES}, tmp_path / "states.safetensors")
    given = json.dumps({"states": str(tmp_path / "states.safetensors"), "folders": folders})
    python = os.environ["HLENS_SAELENS"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", SCRIPT], input=given, capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for kind, rows in json.loads(done.stdout).items():
        expected = torch.tensor(rows)
        for folder in (folders[kind], f"{folders[kind]}-again"):
            torch.testing.assert_close(load_sae(folder, layer=1).encode(STATES), expected)
        assert float(expected.sum()) == pytest.approx(ENCODED[kind][0], rel=1e-5)


def trained(states: Tensor, steps: int = 400) -> dict[str, Tensor]:
    """A small SAE of these states: reconstruction and L1, by Adam."""
    tensors = {name: value.requires_grad_() for name, value in weights("standard").items()}
    step = torch.optim.Adam(tensors.values(), lr=1e-2)
    for _ in range(steps):
        step.zero_grad()
        active = ((states - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]).relu()
        back = active @ tensors["W_dec"] + tensors["b_dec"]
        loss = (back - states).square().sum(1).mean() + 1e-3 * active.sum(1).mean()
        loss.backward()
        step.step()
    return {name: value.detach() for name, value in tensors.items()}


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SAE trained on the tiny model's residual stream behind layer 1, at tokens it wrote."""
    model, found = tiny_model(), []
    settings = hlens.Settings(max_new_tokens=10)
    for one in hlens.sample(model, questions(60), n=3, seed=5, settings=settings):
        ids = torch.tensor([one.token_ids])
        with torch.no_grad():
            states = model.hf(ids, output_hidden_states=True).hidden_states[2]
        found.append(states[0, one.n_prompt :])
    folder = tmp_path_factory.mktemp("sae") / "trained"
    return written(folder, "standard", trained(torch.cat(found)))


def test_features_are_the_strongest_over_the_tokens_of_the_answer(trained_folder: Path) -> None:
    model, sae = tiny_model(), load_sae(trained_folder)
    examples = sequences(5, common=20)
    found = read(model, examples, [], lookback=False, sae=sae)
    assert found.sae_features is not None
    assert found.lens is None
    for row, example in enumerate(examples):
        with torch.no_grad():
            out = model.hf(example.token_ids[None], output_hidden_states=True)
        by_token = []
        for token in range(example.start, example.stop):
            state = out.hidden_states[2][0, token]
            by_token.append(((state - sae.b_dec) @ sae.W_enc + sae.b_enc).clamp_min(0))
        expected = torch.stack(by_token).max(dim=0).values
        torch.testing.assert_close(found.sae_features[row], expected, atol=1e-4, rtol=1e-4)
        assert float(expected.max()) > 0


def test_a_study_reads_the_sae_of_its_recipe(trained_folder: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(question_file(tmp_path / "q.jsonl"), audit={"sae": str(trained_folder)})
    study = hlens.Study(tmp_path / "study", recipe, tiny_model())
    evidence = study[audit_steps.evidence]
    assert evidence.sae_features is not None
    assert evidence.sae_features.shape == (len(evidence), N_FEATURES)
    assert named("sae").cost(evidence).passes == 1
    named("sae")(evidence, evidence)  # and scores
    study.revise(replace(recipe, audit=hlens.recipe.AuditRecipe()))
    with pytest.raises(NotAvailableError, match="no SAE was named"):
        named("sae").check(study[audit_steps.evidence])


def test_an_sae_of_another_model_is_refused(trained_folder: Path) -> None:
    model = tiny_model()
    responses = hlens.sample(model, questions(6), n=2, settings=hlens.Settings(max_new_tokens=6))
    examples, data = located(model, responses)
    options: dict[str, Any] = {"samples": 0, "ask": False, "lens": False}
    sae = load_sae(trained_folder)
    found = gather(model, examples, responses, data, sae=sae, **options)
    assert found.sae_features is not None
    assert "unembedding" in found.why_not["lens"]
    # As wide, but of other weights: it gives back nothing of what varies.
    foreign = Sae(1, **weights("standard", seed=9), threshold=torch.zeros(N_FEATURES))
    found = gather(model, examples, responses, data, sae=foreign, **options)
    assert found.sae_features is None
    with pytest.raises(NotAvailableError, match="gives back nothing"):
        named("sae").check(found)
    with pytest.raises(HlensError, match="reads layer 7, 32 wide"):
        gather(model, examples, responses, data, sae=replace(sae, layer=7), **options)


def test_the_layer_is_that_behind_which_it_reads(tmp_path: Path) -> None:
    for number, (hook, layer) in enumerate({"resid_post": 2, "resid_pre": 1}.items()):
        about = {"metadata": {"hook_name": f"blocks.2.hook_{hook}"}}
        folder = written(tmp_path / str(number), "standard", weights("standard"), **about)
        assert load_sae(folder).layer == layer
    older = {"metadata": None, "hook_name": "blocks.2.hook_resid_post"}
    folder = written(tmp_path / "older", "standard", weights("standard"), **older)
    assert load_sae(folder).layer == 2
    assert load_sae(folder, layer=0).layer == 0


@pytest.mark.parametrize(
    ("fields", "without", "message"),
    [
        ({"architecture": "gated"}, "", "kind 'gated'"),
        ({"normalize_activations": "layer_norm"}, "", "normalised by 'layer_norm'"),
        ({"architecture": "topk", "k": None}, "", "keeps None features"),
        ({"architecture": "jumprelu"}, "", "threshold is missing"),
        ({"metadata": {"hook_name": "blocks.1.hook_mlp_out"}}, "", "reads 'blocks.1.hook_mlp_out'"),
        ({"metadata": {"hook_name": "blocks.0.hook_resid_pre"}}, "", "behind a layer"),
        ({}, "W_enc", "W_enc is missing"),
    ],
)
def test_what_is_no_such_sae_is_one_line(
    tmp_path: Path, fields: dict[str, Any], without: str, message: str
) -> None:
    tensors = {name: value for name, value in weights("standard").items() if name != without}
    folder = written(tmp_path / "sae", "standard", tensors, **fields)
    with pytest.raises(HlensError, match=message) as told:
        load_sae(folder)
    assert "\n" not in str(told.value)


def test_tensors_that_do_not_fit_and_files_that_are_none(tmp_path: Path) -> None:
    tensors = weights("standard") | {"b_enc": torch.zeros(7)}
    with pytest.raises(HlensError, match=r"b_enc has shape \(7,\)"):
        load_sae(written(tmp_path / "shape", "standard", tensors))
    with pytest.raises(HlensError, match=r"cfg\.json"):
        load_sae(tmp_path)
    folder = written(tmp_path / "broken", "standard", weights("standard"))
    (folder / "sae_weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(HlensError, match="no safetensors file"):
        load_sae(folder)
    (folder / "cfg.json").write_text("[1]")
    with pytest.raises(HlensError, match="no object"):
        load_sae(folder)
