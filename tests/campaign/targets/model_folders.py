"""Model folders and GGUF files: a model that loads is whole, and answers as it did.

A folder is loaded twice under different seeds of torch: weights that are missing are drawn at
random, and so are not the same twice.
"""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import hlens
from campaign.mutations import hostile_value, mutate_bytes, mutate_file
from campaign.trials import RIGHT, Plan, WrongError
from hlens.model import Model
from tiny_study import saved_model

SHARE = 0.4
KEEPS_INPUT = True
GENERATION: dict[str, Any] = {
    "repetition_penalty": 1.3,
    "no_repeat_ngram_size": 1,
    "min_new_tokens": 30,
    "max_length": 3,
    "num_beams": 4,
    "do_sample": True,
    "temperature": 0.01,
    "bad_words_ids": [[70]],
    "forced_bos_token_id": 4,
    "suppress_tokens": [70, 71, 72],
    "begin_suppress_tokens": [70],
    "penalty_alpha": 0.6,
    "guidance_scale": 3.0,
    "min_p": 0.9,
    "typical_p": 0.1,
    "watermarking_config": {"bias": 9.0},
    "sequence_bias": [[[70], -9.0]],
    "cache_implementation": "static",
    "use_cache": False,
    "return_dict_in_generate": False,
    "exponential_decay_length_penalty": [1, 3.0],
    "stop_strings": ["a"],
    "token_healing": True,
}
PROMPT = "Number 3?"


def prepare(home: Path) -> None:
    """A tiny model in a folder, the same in a GGUF file, and what it answers."""
    if (home / "answer.json").is_file():
        return
    saved_model(home / "model")
    (home / "model" / "generation_config.json").write_text('{"eos_token_id": 2}')
    (home / "answer.json").write_text(json.dumps(_answer(hlens.load(str(home / "model")))))
    _write_gguf(home / "model.gguf")


def _write_gguf(path: Path) -> None:
    """The header of a GGUF file of a model, and one tensor: enough to be damaged, not to run."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "c"])
    writer.add_tensor("token_embd.weight", np.ones((3, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A copy of the folder, one of its files damaged; or a damaged GGUF file."""
    if draw.random() < 0.15:
        mutated = mutate_bytes(draw, (home / "model.gguf").read_bytes())
        (folder / "model.gguf").write_bytes(mutated.data)
        return {"said": f"model.gguf: {mutated.said}", "source": "model.gguf", "same": False}
    to = folder / "model"
    shutil.copytree(home / "model", to)
    files = sorted(path.name for path in to.iterdir())
    way = draw.random()
    if way < 0.2:
        said, same = _hostile_generation(draw, to)
    elif way < 0.45:
        said, same = _hostile_config(draw, to), False
    elif way < 0.55:
        name = draw.choice(files)
        (to / name).unlink()
        said, same = f"{name} is gone", name == "generation_config.json"
    elif way < 0.75:
        said, same = _hostile_weights(draw, to), False
    else:
        name = draw.choice(files)
        mutated = mutate_file(draw, name, (to / name).read_bytes())
        (to / name).write_bytes(mutated.data)
        same = name == "generation_config.json" and mutated.harmless
        said = f"{name}: {mutated.said}"
    return {"said": said, "source": "model", "same": same}


def _hostile_generation(draw: random.Random, folder: Path) -> tuple[str, bool]:
    """A ``generation_config.json`` whose every field but the stop tokens is not for hlens."""
    chosen = draw.sample(sorted(GENERATION), draw.choice((1, 2, 5)))
    fields = {"eos_token_id": 2} | {name: GENERATION[name] for name in chosen}
    (folder / "generation_config.json").write_text(json.dumps(fields))
    return f"generation_config.json: {', '.join(chosen)}", True


def _hostile_config(draw: random.Random, folder: Path) -> str:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    key = draw.choice(sorted(config))
    config[key] = hostile_value(draw, config[key])
    if draw.random() < 0.2:
        config["auto_map"] = {"AutoModelForCausalLM": "evil.Evil"}
    if draw.random() < 0.2:
        config["architectures"] = [draw.choice(("BertForMaskedLM", "T5Model", "Nothing", ""))]
    path.write_text(json.dumps(config))
    return f"config.json: {key} = {config[key]!r:.40}"


def _hostile_weights(draw: random.Random, folder: Path) -> str:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    name = draw.choice(sorted(weights))
    tensor = weights[name].clone()
    ways: dict[str, torch.Tensor | None] = {
        "gone": None,
        "NaN": torch.full_like(tensor, float("nan")),
        "infinite": torch.full_like(tensor, float("inf")),
        "zeros": torch.zeros_like(tensor),
        "one NaN": tensor.flatten().index_fill(0, torch.tensor([0]), float("nan")).view_as(tensor),
        "transposed": tensor.t().contiguous() if tensor.dim() == 2 else tensor[:-1].clone(),
        "smaller": tensor[: len(tensor) // 2].clone(),
        "integers": tensor.to(torch.int32),
        "doubles": tensor.double(),
        "renamed": tensor,
    }
    said = draw.choice(sorted(ways))
    changed = ways[said]
    del weights[name]
    if changed is not None:
        weights[f"{name}.x" if said == "renamed" else name] = changed
    save_file(weights, path, metadata={"format": "pt"})
    return f"{name}: {said}"


def check(plan: Plan, home: Path, folder: Path) -> str:
    """What loads has finite weights, the same each time, and answers inside its vocabulary."""
    source = str(folder / plan["source"])
    with patch.dict(os.environ, {"HLENS_CACHE": str(home / "cache")}):
        torch.manual_seed(1)
        first = hlens.load(source)
        torch.manual_seed(2)
        second = hlens.load(source)
    pairs = zip(first.hf.state_dict().items(), second.hf.state_dict().values(), strict=True)
    for (name, weight), again in pairs:
        if not torch.equal(weight, again):
            raise WrongError(f"random weights: {name} is another each time")
    for name, weight in first.hf.named_parameters():
        if not weight.isfinite().all():
            raise WrongError(f"weights that are not finite: {name}")
        if weight.dim() > 1 and not weight.any():
            raise WrongError(f"weights that are all zero: {name}")
    answer = _answer(first)
    if plan["same"] and answer != json.loads((home / "answer.json").read_text()):
        raise WrongError("another answer: what must not matter changed it")
    return RIGHT


def _answer(model: Model) -> dict[str, Any]:
    """A greedy answer with its log-probabilities."""
    from hlens.model import Settings
    from hlens.types import Question

    asked = [Question("1", "mine", PROMPT, ("a",))]
    settings = Settings(temperature=0.0, max_new_tokens=8)
    (said,) = hlens.sample(model, asked, n=1, settings=settings)
    if not all(value <= 0 for value in said.logprobs):
        raise WrongError(f"log-probabilities: {said.logprobs}")
    return {"ids": list(said.token_ids), "logprobs": [round(value, 4) for value in said.logprobs]}
