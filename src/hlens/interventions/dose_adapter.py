"""A dose as a LoRA adapter: an edit of the scale family that stock engines switch per request.

Problem: a baked checkpoint holds one dose, and a hook needs an engine that runs Python. Whoever
serves a model wants the dose to be a choice of each request.

Idea: scaling neurons S of a layer by their factors is ``W + W[:, S] diag(factor - 1) E_S``, where
row i of E_S picks neuron S[i]. That is a LoRA of rank ``len(S)`` on the down projection, and it is
exact: A holds ``factor - 1`` at its neuron, B the neuron's own column. All layers are padded with
zeros to one rank, which engines expect.

Example, neurons 1 and 4 of 5, scaled by 0 and 3::

    A   0 -1  0  0  0        B   column 1 of W, column 4 of W
        0  0  0  0  2

The folder is in PEFT's layout, with llama.cpp's beside it where that engine knows the architecture.
Its scale is a live dial: at scale s the factor is ``1 + s (factor - 1)``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hlens.errors import HlensError
from hlens.interventions.cards import fill_card
from hlens.interventions.edits import scale
from hlens.interventions.folding import constant_factors, edited_neurons
from hlens.model import DenseBlock, Edit, Model, Pairs, Settings, attached, pair_up, split_index
from hlens.store.checkpoints import load_adapter_record, save_checkpoint
from hlens.store.tensor_file import read_tensors, write_tensors
from hlens.types import NeuronSet, same_fingerprint

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
GGUF = "adapter.gguf"
MEND = "export the adapter again"
# What the logits of the adapter may be off those of the edit, of the largest logit.
LIMITS = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
_AT_A_TIME = 8  # prompts whose logits, of all tokens of a vocabulary, are held at once
# What llama.cpp calls an architecture, where that is not transformers' name without punctuation.
_LLAMA_CPP_NAMES = {
    "mistral": "llama",
    "gemma3_text": "gemma3",
    "gemma4_text": "gemma4",
    "qwen3_5_text": "qwen35",
}


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to one down projection.

    Attributes:
        name: The projection's name in the model.
        a: Reads the edited neurons, times factor less one.
        b: Their rows of W_out, as columns.
    """

    name: str
    a: Float[Tensor, "rank neuron"]
    b: Float[Tensor, "d_model rank"]


@dataclass(frozen=True)
class AdapterVerification:
    """Whether an adapter does what the edit does that it was made from.

    Attributes:
        neurons: How many neurons it scales.
        rows_agree: Each column of B is the base model's own row of W_out, bit for bit, and each row
            of A its factor less one.
        prompts: How many prompts were answered by both.
        answers_agree: In how many the greedy answers are the same, token by token.
        largest_difference: Of the logits of the prompts' tokens, relative to the largest logit.
        limit: How large that may be in the dtype of the model.
    """

    neurons: int
    rows_agree: bool
    prompts: int
    answers_agree: int
    largest_difference: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether all of it agrees.

        Answers may part where two tokens are as likely in less than single precision: there the
        logits decide.
        """
        same = self.answers_agree == self.prompts or self.limit > LIMITS[torch.float32]
        return self.rows_agree and same and self.largest_difference <= self.limit


def adapter(
    model: Model,
    neurons: NeuronSet | Pairs,
    edit: Edit | None = None,
    folder: str | Path | None = None,
) -> Path:
    """Write an edit as a LoRA adapter that PEFT, vLLM and llama.cpp load; its folder.

    Beside PEFT's two files it holds a card, a record of the factors for `verify_adapter`, and
    ``adapter.gguf`` where llama.cpp knows the architecture.

    Args:
        model: The model that is edited; it stays as it is.
        neurons: Which, or several (neurons, edit) pairs.
        edit: One by a constant factor on all tokens: `scale`, or `ablate` to zero.
        folder: A new folder.

    Raises:
        HlensError: An edit that is no constant factor on all tokens, no neurons, neurons of routed
            experts, a model that runs an adapter already, or a folder that exists.
    """
    if folder is None:
        raise HlensError("adapter writes a folder; give folder=, a new one")
    pairs: Pairs = pair_up(neurons, edit)
    factors = constant_factors(model, pairs)
    if model.kept == "adapted":
        raise HlensError(
            f"the weights of {model.name} are adapted already; merge that adapter (peft's "
            "merge_and_unload), save, and load that, or edit activations (model.editing)"
        )
    added = low_ranks(model, factors)
    table = torch.ones(model.n_layers, model.d_mlp, dtype=torch.float64)
    for layer, factor in factors.items():
        table[layer] = factor
    record = {
        "base": model.name,
        "base_revision": model.revision,
        "base_fingerprint": model.fingerprint,
        "edits": "; ".join(f"{e.name} on {len(ns)} neurons" for ns, e in pairs),
    }
    write = partial(_write_adapter, model, added)
    card = fill_card("adapter_card.md", record, table, model, rank=len(added[0].a))
    return save_checkpoint(
        write, Path(folder), card=card, tensors={"factors": table}, record=record
    )


def low_ranks(model: Model, factors: Mapping[int, Float[Tensor, " neuron"]]) -> list[LowRank]:
    """The factors of each layer as two matrices for each projection, padded to one rank.

    Raises:
        HlensError: Neurons of routed experts, whose rows are no module's weight.
    """
    names = {id(module): name for name, module in model.hf.named_modules()}
    found: list[LowRank] = []
    for layer, factor in sorted(factors.items()):
        mlp = model.mlps[layer]
        split = split_index(edited_neurons(factor), mlp.widths)
        start = 0
        for block, own in zip(mlp.blocks, split, strict=True):
            if len(own):
                name = names.get(id(block.module), "")
                found.append(_low_rank(block, own, factor[start + own], name, layer))
            start += block.width
    rank = max(len(each.a) for each in found)
    return [
        LowRank(
            each.name,
            nn.functional.pad(each.a, (0, 0, 0, rank - len(each.a))),
            nn.functional.pad(each.b, (0, rank - len(each.a))).contiguous(),
        )
        for each in found
    ]


def _low_rank(block: Any, own: Tensor, factors: Tensor, name: str, layer: int) -> LowRank:
    if not isinstance(block, DenseBlock):
        raise HlensError(
            f"layer {layer}: {len(own)} of the neurons are of routed experts, whose rows no "
            "adapter of one module reaches; bake them (hlens bake), or edit activations"
        )
    rows = block.rows(own).cpu()
    a = torch.zeros(len(own), block.width, dtype=torch.float64)
    a[torch.arange(len(own)), own] = factors - 1.0
    return LowRank(name, a.to(rows.dtype), rows.T)


def _write_adapter(model: Model, added: Sequence[LowRank], folder: Path) -> None:
    """PEFT's two files, and llama.cpp's where it can be written."""
    rank = len(added[0].a)
    fields = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model.name,
        "r": rank,
        "lora_alpha": rank,  # so that its scale is 1
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        "fan_in_fan_out": _transposed(model, added[0].name),
        "target_modules": [each.name for each in added],
    }
    text = json.dumps(fields, indent=2) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    tensors = {}
    for each in added:
        name = f"base_model.model.{each.name}"
        tensors |= {f"{name}.lora_A.weight": each.a, f"{name}.lora_B.weight": each.b}
    write_tensors(folder / WEIGHTS, tensors, metadata={"format": "pt"})
    if (architecture := _llama_cpp_name(model)) is not None:
        _write_gguf(model, added, architecture, folder / GGUF)


def _transposed(model: Model, name: str) -> bool:
    return type(model.hf.get_submodule(name)).__name__ == "Conv1D"


def _llama_cpp_name(model: Model) -> str | None:
    """What llama.cpp calls the architecture; None where it has no such, or `gguf` is not there."""
    try:
        import gguf  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    kind = str(getattr(model.hf.config, "model_type", ""))
    name = _LLAMA_CPP_NAMES.get(kind, kind.replace("_", ""))
    return name if name in gguf.MODEL_ARCH_NAMES.values() else None


def _write_gguf(model: Model, added: Sequence[LowRank], architecture: str, path: Path) -> None:
    """llama.cpp's adapter layout; left out where its names do not cover a projection."""
    import gguf  # pyright: ignore[reportMissingImports]

    known = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(known[architecture], model.n_layers)
    theirs = [names.get_name(each.name) for each in added]
    if not all(theirs):
        return
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(len(added[0].a)))
    for name, each in zip(theirs, added, strict=True):
        writer.add_tensor(f"{name}.weight.lora_a", each.a.float().numpy())
        writer.add_tensor(f"{name}.weight.lora_b", each.b.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder is an adapter rather than a baked checkpoint."""
    return (Path(folder) / CONFIG).is_file()


def verify_adapter(
    folder: str | Path,
    base: Model,
    prompts: Sequence[str | Sequence[int]],
    *,
    max_new_tokens: int = 24,
    progress: Callable[[int, int], None] | None = None,
) -> AdapterVerification:
    """Compare an adapter, run by PEFT, with the edit that it was made from.

    Args:
        folder: What `adapter` wrote.
        base: The model that it was made from; while it is compared the adapter runs in it.
        prompts: Token ids; or texts, asked in the chat template, or to be continued where there
            is none.
        max_new_tokens: Length of the greedy answers that are compared.
        progress: Called with the number of prompts done and of all.

    Raises:
        HlensError: No adapter of hlens, one of another model, or no prompts.
    """
    if not prompts:
        raise HlensError("no prompts to compare the adapter on; give at least one")
    factors = _factors_of(folder, base)
    pairs = _pairs_of(base, factors)
    ids = [base.encode(one) if isinstance(one, str) else [*one] for one in prompts]
    base.check_prompts(ids, new=max_new_tokens)
    settings = Settings(max_new_tokens=max_new_tokens, temperature=0.0)
    same, largest = 0, 0.0
    for start in range(0, len(ids), _AT_A_TIME):
        part = ids[start : start + _AT_A_TIME]
        with base.editing(pairs):
            edited = _run(base, part, settings)
        with attached(base.hf, folder):
            adapted = _run(base, part, settings)
        for (expected, answer), (logits, own) in zip(edited, adapted, strict=True):
            largest = max(largest, float((logits - expected).abs().max() / expected.abs().max()))
            same += own == answer
        if progress:
            progress(start + len(part), len(ids))
    return AdapterVerification(
        neurons=int(factors.ne(1.0).sum()),
        rows_agree=_rows_agree(base, factors, Path(folder)),
        prompts=len(prompts),
        answers_agree=same,
        largest_difference=largest,
        limit=LIMITS[base.dtype],
    )


def load_dose(folder: str | Path, base: Model) -> Pairs:
    """The edits that an adapter was made from, for `Model.editing`.

    Raises:
        HlensError: No adapter of hlens, or one of another model.
    """
    return _pairs_of(base, _factors_of(folder, base))


def _factors_of(folder: str | Path, base: Model) -> Float[Tensor, "layer neuron"]:
    tensors, record = load_adapter_record(Path(folder))
    if not same_fingerprint(base.fingerprint, record["base_fingerprint"]):
        raise HlensError(
            f"{folder} was made from {record['base']} ({record['base_fingerprint'][:12]}), not "
            f"from {base.name} ({base.fingerprint[:12]}); take it with its own base model"
        )
    return tensors["factors"]


def _pairs_of(base: Model, factors: Float[Tensor, "layer neuron"]) -> Pairs:
    """The edits that a table of factors stands for: one for each factor."""
    pairs: list[tuple[NeuronSet, Edit]] = []
    for value in sorted({float(one) for one in factors.unique()} - {1.0}):
        members = frozenset((int(i), int(j)) for i, j in factors.eq(value).nonzero())
        neurons = NeuronSet(
            members, base.n_layers, base.d_mlp, model=base.fingerprint, experts=base.experts
        )
        pairs.append((neurons, scale(value)))
    return pairs


def _rows_agree(base: Model, factors: Float[Tensor, "layer neuron"], folder: Path) -> bool:
    by_layer = {layer: row for layer, row in enumerate(factors) if len(edited_neurons(row))}
    written, _ = read_tensors(folder / WEIGHTS, mend=MEND)
    expected = low_ranks(base, by_layer)
    names = [f"base_model.model.{each.name}.lora_" for each in expected]
    if {*written} != {f"{name}{matrix}.weight" for name in names for matrix in "AB"}:
        return False
    return all(
        torch.equal(written[f"{name}A.weight"], each.a)
        and torch.equal(written[f"{name}B.weight"], each.b)
        for name, each in zip(names, expected, strict=True)
    )


def _run(
    model: Model, prompts: Sequence[Sequence[int]], settings: Settings
) -> list[tuple[Float[Tensor, "pos vocab"], tuple[int, ...]]]:
    """Logits at each prompt's tokens, and its greedy answer."""
    with torch.inference_mode():
        logits = [
            model.hf(torch.tensor([ids], device=model.device)).logits[0].float().cpu()
            for ids in prompts
        ]
    answers = [one.token_ids for one in model.generate_many(prompts, settings)]
    return list(zip(logits, answers, strict=True))
