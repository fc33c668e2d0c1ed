"""Doses as LoRA adapters in vLLM as it is, several in one batch, beside the edit of activations."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

os.environ["TORCH_COMPILE_DISABLE"] = "1"  # else a helper of the sampler is compiled for a minute
pytest.importorskip("vllm", reason="vLLM is not installed here: make test-engines")

import hlens
from hlens import interventions as iv
from hlens import monitor
from hlens.engines.vllm.adapters import adapter_request
from hlens.engines.vllm.options import LORA_RANKS
from hlens.engines.vllm.sampling import drawn, params_of
from hlens.errors import HlensError
from hlens.model import EndOfReply, Model, checkpoint_of, finish
from hlens.types import Detector
from tiny_vllm import GREEDY, SMALL, folder_of, neurons_of, prompts

pytestmark = pytest.mark.filterwarnings("default")

ALPHAS = (0.0, 2.0, 3.0)
# A place more than there are doses: on a CPU whatever has no adapter is run with the last place's.
LORA: dict[str, Any] = {
    "enable_lora": True,
    "max_loras": 4,
    "max_lora_rank": 32,
    "lora_target_modules": ["down_proj"],  # a dose has no other, and each costs time in every pass
}

REAL = SMALL | LORA | {"max_num_batched_tokens": 512, "max_lora_rank": 16}


def stock(folder: str, **options: Any) -> Any:
    """vLLM as its users boot it: nothing of hlens's is in its workers."""
    for name, value in {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }.items():
        os.environ.setdefault(name, value)
    from vllm import LLM

    return LLM(model=folder, dtype="float32", enforce_eager=True, seed=0, **options)


def doses_of(model: Model, neurons: hlens.NeuronSet, home: Path) -> dict[float, Path]:
    return {
        alpha: iv.adapter(model, neurons, iv.scale(alpha), home / f"alpha-{alpha:g}")
        for alpha in ALPHAS
    }


def answers(
    llm: Any,
    model: Model,
    asked: Sequence[tuple[float | None, Sequence[int]]],
    doses: dict[float, Path],
    n: int,
) -> list[tuple[list[int], list[float]]]:
    """Greedy tokens and their log-probabilities, each request under a dose of its own."""
    from vllm import SamplingParams, TokensPrompt
    from vllm.lora.request import LoRARequest

    params = SamplingParams(
        temperature=0.0, max_tokens=n, logprobs=0, ignore_eos=True, detokenize=False,
        stop_token_ids=sorted(model.stop_ids),
    )  # fmt: skip
    requests = {
        alpha: LoRARequest(folder.name, number, str(folder))
        for number, (alpha, folder) in enumerate(doses.items(), 1)
    }
    outputs = llm.generate(
        [TokensPrompt(prompt_token_ids=list(ids)) for _, ids in asked],
        params,
        use_tqdm=False,
        lora_request=[None if alpha is None else requests[alpha] for alpha, _ in asked],
    )
    found = []
    for output in outputs:
        (one,) = output.outputs
        tokens = [token for token in one.token_ids if token not in model.stop_ids]
        found.append((tokens, [at[t].logprob for at, t in zip(one.logprobs, tokens, strict=False)]))
    return found


def edited(
    model: Model,
    neurons: hlens.NeuronSet,
    asked: Sequence[Sequence[int]],
    settings: hlens.Settings,
) -> dict[float | None, list[Any]]:
    found: dict[float | None, list[Any]] = {None: model.generate_many(asked, settings)}
    for alpha in ALPHAS:
        with model.editing(neurons, iv.scale(alpha)):
            found[alpha] = model.generate_many(asked, settings)
    return found


def hold_equal(
    llm: Any,
    model: Model,
    neurons: hlens.NeuronSet,
    asked: Sequence[Sequence[int]],
    settings: hlens.Settings,
    home: Path,
) -> dict[float | None, list[Any]]:
    """Hold that all doses, in one batch, answer as the edits do, one dose at a time."""
    doses = doses_of(model, neurons, home)
    expected = edited(model, neurons, asked, settings)
    batch = [(alpha, ids) for ids in asked for alpha in expected]
    found = answers(llm, model, batch, doses, settings.max_new_tokens)
    rows = iter(found)
    for number in range(len(asked)):
        for alpha, there in expected.items():
            tokens, logprobs = next(rows)
            assert tokens == list(there[number].token_ids), (number, alpha)
            assert np.allclose(logprobs, there[number].logprobs[: len(tokens)], atol=1e-3)
    return expected


def test_three_doses_and_none_in_one_batch_are_the_edits(
    folder: Path, local: Model, tmp_path: Path
) -> None:
    llm = stock(str(folder), **SMALL, **LORA)
    try:
        expected = hold_equal(llm, local, neurons_of(local), prompts(), GREEDY, tmp_path)
    finally:
        llm.llm_engine.engine_core.shutdown()
    told = {alpha: [g.logprobs for g in there] for alpha, there in expected.items()}
    assert all(told[one] != told[two] for one in told for two in told if one != two)


def test_the_last_place_is_what_a_row_without_an_adapter_reads() -> None:
    """vLLM's open issue (pull request 48421): when this fails, no place must be left free."""
    from vllm.lora.ops.torch_ops import bgmv_expand

    places = torch.tensor([0.0, 7.0]).reshape(2, 1, 1, 1)
    out = torch.zeros(1, 1)
    bgmv_expand(torch.ones(1, 1), places, out, torch.tensor([-1]))
    assert float(out) == 7.0


def test_an_engine_takes_one_of_these_ranks_and_any_adapter_up_to_it() -> None:
    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == LORA_RANKS


@pytest.fixture(scope="module")
def vllm(folder: Path) -> Iterator[Any]:
    """Booted by hlens, with its hooks and proof, and places for four adapters."""
    options = SMALL | LORA
    model = hlens.load(str(folder), engine="vllm", engine_options=options)
    yield model
    model.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def requests(
    local: Model, vllm: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[float | None, Any]:
    doses = doses_of(local, neurons_of(local), tmp_path_factory.mktemp("doses"))
    return {None: None} | {alpha: adapter_request(vllm, dose) for alpha, dose in doses.items()}


def test_beside_hooks_each_request_has_its_own_dose(
    local: Model, vllm: Any, requests: dict[float | None, Any]
) -> None:
    expected = edited(local, neurons_of(local), prompts(), GREEDY)
    asked = [(alpha, ids) for ids in prompts() for alpha in expected]
    params = [params_of(vllm, GREEDY, 0)] * len(asked)
    outputs = vllm.run([ids for _, ids in asked], params, [requests[alpha] for alpha, _ in asked])
    ends = EndOfReply(vllm, False)
    found = [
        finish(vllm, ids, *drawn(vllm, output), ends).token_ids
        for (_, ids), output in zip(asked, outputs, strict=True)
    ]
    assert found == [expected[a][n].token_ids for n in range(len(prompts())) for a in expected]


@pytest.mark.parametrize("alpha", [None, *ALPHAS])
def test_hooks_read_a_request_under_its_dose(
    local: Model,
    vllm: Any,
    requests: dict[float | None, Any],
    alpha: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The edited neurons as they fire, before the dose; all others as under the edit."""
    neurons, run = neurons_of(local), vllm.run
    monkeypatch.setattr(vllm, "run", lambda p, q: run(p, q, [requests[alpha]] * len(p)))
    weights = torch.randn(local.n_layers, local.d_mlp, generator=torch.Generator().manual_seed(0))
    dosed = weights.clone()
    dosed[tuple(zip(*neurons.members, strict=True))] *= 1.0 if alpha is None else alpha
    own = {"bias": 0.3, "metric": "cett", "region": "response", "provenance": local.provenance}
    ids = prompts()[3]
    with local.editing(neurons, iv.scale(1.0 if alpha is None else alpha)):
        here = monitor.risks(local, Detector(weights=weights, **own), ids, 4)
    there = monitor.risks(vllm, Detector(weights=dosed, **own), ids, 4)
    assert np.allclose([r.score for r in here], [r.score for r in there], atol=1e-5)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no places": ({"enable_lora": False}, {}, "vLLM was booted without adapters"),
    "one too many": ({"max_loras": 3}, {}, "booted for 3 adapters, and dose is one more"),
    "rank": ({"max_lora_rank": 16}, {}, "has rank 19, and vLLM was booted for 16"),
    "modules": (
        {"lora_target_modules": ["q_proj"]},
        {},
        "acts on model.layers.0.mlp.down_proj, which vLLM was told to leave out",
    ),
    "kind": ({}, {"peft_type": "IA3"}, "is no LoRA of PEFT"),
    "no rank": ({}, {"r": "7"}, "is no LoRA of PEFT"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_adapter_that_would_not_run_is_refused_in_one_line(
    local: Model, vllm: Any, requests: dict[float | None, Any], what: str, tmp_path: Path
) -> None:
    assert len(requests) == 4
    options, config, said = REFUSED[what]
    dose = iv.adapter(local, neurons_of(local), iv.scale(5.0), tmp_path / "dose")
    path = dose / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(HlensError, match=said) as refused:
        adapter_request(replace(vllm, options=vllm.options | options), dose)
    assert "\n" not in str(refused.value)


def test_an_adapter_of_another_model_is_refused(vllm: Any, tmp_path: Path) -> None:
    other = hlens.load(str(folder_of(tmp_path / "other", "gemma3")), device="cpu")
    dose = iv.adapter(other, neurons_of(other), iv.scale(5.0), tmp_path / "dose")
    with pytest.raises(HlensError, match=r"was made from .*, not from .*; export it from this"):
        adapter_request(vllm, dose)
    with pytest.raises(HlensError, match="no adapter in"):
        adapter_request(vllm, tmp_path)


@pytest.mark.model
@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m"])
def test_a_real_model_in_one_batch(name: str, tmp_path: Path) -> None:
    model = hlens.load(name, device="cpu", dtype="float32")
    picked = np.random.default_rng(0).choice(model.n_layers * model.d_mlp, 120, replace=False)
    members = frozenset(divmod(int(flat), model.d_mlp) for flat in picked)
    neurons = hlens.NeuronSet(members, model.n_layers, model.d_mlp, model=model.fingerprint)
    asked = [model.encode(question.text) for question in hlens.domains.load("general", 12)]
    llm = stock(checkpoint_of(name), **REAL)
    try:
        settings = hlens.Settings(16, temperature=0.0)
        expected = hold_equal(llm, model, neurons, asked, settings, tmp_path)
    finally:
        llm.llm_engine.engine_core.shutdown()
    told = {alpha: [g.token_ids for g in there] for alpha, there in expected.items()}
    assert told[0.0] != told[None]
    assert told[3.0] != told[None]
