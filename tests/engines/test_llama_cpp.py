"""An adapter's GGUF in llama.cpp's own server: at scale s a factor f is ``1 + s (f - 1)``.

The server is the one in the wheel of xllamacpp; `make test-engines` installs it.
"""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed here: make test-engines")
import xllamacpp

import hlens
from hlens import interventions as iv
from hlens.model import Model
from hlens.model.pretrained import EMBEDDED, _fetch_gguf
from tiny_gguf import END, write_gguf
from tiny_vllm import folder_of, neurons_of, prompts

pytestmark = pytest.mark.filterwarnings("default")

N = 12  # tokens of an answer
PROMPTS = 10
SCALES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Answer:
    """A greedy answer, and the log-probabilities of all tokens where each of it was chosen."""

    tokens: list[int]
    logprobs: np.ndarray

    @classmethod
    def of(cls, tokens: Sequence[int], logprobs: Any, ends: set[int]) -> "Answer":
        n = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
        return cls(list(tokens[:n]), np.array(logprobs)[: n + 1])


@contextmanager
def serving(base: Path, dose: Path) -> Iterator[Any]:
    """llama.cpp's server with a base model and one adapter, off until a request gives a scale."""
    params = xllamacpp.CommonParams()
    params.model.path = str(base)
    params.n_ctx = 512
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(dose / "adapter.gguf"), 0.0)]
    server = xllamacpp.Server(params)
    try:
        yield server
    finally:
        del server


def ask(server: Any, ids: Sequence[int], scale: float, n: int, vocabulary: int) -> Answer:
    """A greedy answer at a scale of the adapter."""
    body = {
        "prompt": list(map(int, ids)),
        "n_predict": n,
        "temperature": 0.0,
        "samplers": ["temperature"],
        "n_probs": vocabulary,
        "return_tokens": True,
        "cache_prompt": False,
        "lora": [{"id": 0, "scale": scale}],
    }
    request = urllib.request.Request(
        f"{server.listening_address}/completion",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as reply:
        told = json.load(reply)
    rows = np.full((len(told["completion_probabilities"]), vocabulary), -np.inf)
    for row, at in zip(rows, told["completion_probabilities"], strict=True):
        for one in at["top_logprobs"]:
            row[one["id"]] = one["logprob"]
    return Answer.of(told["tokens"], rows, {END})


def under_edit(model: Model, ids: Sequence[int], pairs: Any, n: int) -> Answer:
    """The same of the model under edits."""
    written, rows = list(ids), []
    with model.editing(pairs), torch.inference_mode():
        for _ in range(n):
            logits = model.hf(torch.tensor([written])).logits[0, -1].float()
            rows.append(logits.log_softmax(-1).numpy())
            written.append(int(logits.argmax()))
    return Answer.of(written[len(ids) :], rows, {END})


@pytest.mark.parametrize("alpha", [0.0, 2.0, 3.0])
def test_in_float32_it_is_the_edit_at_every_scale(alpha: float, tmp_path: Path) -> None:
    model = hlens.load(str(folder_of(tmp_path / "tiny")), device="cpu")
    neurons = neurons_of(model)
    dose = iv.adapter(model, neurons, iv.scale(alpha), tmp_path / "dose")
    base = write_gguf(model.hf, tmp_path / "tiny.gguf")
    told = partial(ask, n=N, vocabulary=model.hf.config.vocab_size)
    with serving(base, dose) as server:
        for ids in prompts()[:4]:
            seen = []
            for scale in (0.0, 1.0, 0.5, -1.0):
                edit = iv.scale(1 + scale * (alpha - 1))
                here, there = under_edit(model, ids, [(neurons, edit)], N), told(server, ids, scale)
                assert there.tokens == here.tokens
                assert np.abs(there.logprobs - here.logprobs).max() < 1e-4
                seen.append(there.logprobs[0])
            assert np.abs(seen[1] - seen[0]).max() > 1e-2


def apart(one: np.ndarray, two: np.ndarray) -> float:
    """How far two distributions over the next token are apart: total variation."""
    return float(np.abs(np.exp(one) - np.exp(two)).sum() / 2)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("alias", EMBEDDED)
def test_quantised_the_edit_is_as_near_as_the_plain_model_is(alias: str, tmp_path: Path) -> None:
    """llama.cpp rounds what it multiplies with packed weights to eight bits; hlens does not.

    So two tokens that are about as likely may change places, under a dose as without one, and
    distributions are compared.
    """
    model = hlens.load(alias, device="cpu", dtype="float32")
    base = _fetch_gguf(EMBEDDED[alias], tmp_path)
    picked = np.random.default_rng(0).choice(model.n_layers * model.d_mlp, 1000, replace=False)
    members = frozenset(divmod(int(flat), model.d_mlp) for flat in picked)
    neurons = hlens.NeuronSet(members, model.n_layers, model.d_mlp, model=model.fingerprint)
    dose = iv.adapter(model, neurons, iv.scale(3.0), tmp_path / "dose")
    asked = [model.encode(question.text) for question in hlens.domains.load("general", PROMPTS)]
    told = partial(ask, n=1, vocabulary=model.n_tokens)
    with serving(base, dose) as server:
        there = {scale: [told(server, ids, scale).logprobs[0] for ids in asked] for scale in SCALES}
    here = {}
    for scale in SCALES:
        edit = iv.scale(1 + 2.0 * scale)
        here[scale] = [under_edit(model, ids, [(neurons, edit)], 1).logprobs[0] for ids in asked]
    rounded = {s: np.mean(list(map(apart, here[s], there[s]))) for s in SCALES}
    for scale in SCALES[1:]:
        assert rounded[scale] < 2 * rounded[0.0]
        assert np.mean(list(map(apart, here[scale], there[0.0]))) > 2 * rounded[scale]
