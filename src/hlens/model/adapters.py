"""Adapters of PEFT, measured as they run: beside the weights, and not merged into them.

A LoRA adds ``scaling * B @ A`` to the matrix of a projection. The rows of W_out are those of the
sum; of an adapter of another kind (DoRA, IA3) they are what the projection writes for one neuron
at a time, as long as it writes a matrix times what it reads. Adapters that add tokens are refused.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hlens.errors import HlensError, first_line


def is_adapted(module: Any) -> bool:
    """Whether a module is a layer of PEFT around the model's own."""
    return hasattr(module, "base_layer") and hasattr(module, "active_adapters")


def applies(module: Any) -> bool:
    """Whether an adapter acts beside the weights now: it is on, and not merged into them."""
    return not module.disable_adapters and not module.merged


def way_of(module: Any) -> str:
    """How the adapters of a module are applied: which, at which strength, beside or merged."""
    scaling = getattr(module, "scaling", {})
    active = ", ".join(f"{name} x {scaling.get(name, 1.0):g}" for name in module.active_adapters)
    return f"({active}{'' if applies(module) else ', off or merged'})"


def is_plain_lora(module: Any) -> bool:
    """Whether the active adapters add a product of two matrices, and nothing else."""
    known = getattr(module, "lora_A", {})
    names = [name for name in module.active_adapters if name in known]
    special = getattr(module, "lora_variant", {})  # such as DoRA
    return bool(known) and not any(name in special for name in names)


def added_by(module: Any) -> Float[Tensor, "in out"] | None:
    """What plain LoRA adds to the rows of a projection, float32; None where it adds nothing."""
    names = [name for name in module.active_adapters if name in module.lora_A]
    deltas = [module.get_delta_weight(name).detach().float() for name in names]
    # In the layout of the weight: [out, in], but for GPT-2's Conv1D.
    rows = [delta if module.fan_in_fan_out else delta.T for delta in deltas]
    return torch.stack(rows).sum(0) if rows else None


def has_bias(module: Any) -> bool:
    """Whether an adapter adds a bias of its own."""
    return any(getattr(module, "lora_bias", {}).values())


def unwrap(hf: Any) -> Any:
    """The model inside a `PeftModel`, its adapters in their places; any other model as it is.

    Raises:
        HlensError: An adapter that adds tokens of its own.
    """
    if not hasattr(hf, "peft_config") or not hasattr(hf, "get_base_model"):
        return hf
    for config in hf.peft_config.values():
        _check_kind(config)
    return hf.get_base_model()


def adapt(hf: Any, source: str | Path) -> Any:
    """The model with an adapter from a folder or a hub id in its places, unmerged.

    Raises:
        HlensError: No PEFT, no such adapter, one that is a pickle or adds tokens, or one that does
            not fit the model.
    """
    return _wrap(hf, source).get_base_model()


@contextmanager
def attached(hf: Any, source: str | Path) -> Iterator[None]:
    """Run a block of code with an adapter in a model; afterwards its modules are its own again.

    Raises:
        HlensError: As `adapt`.
    """
    wrapped = _wrap(hf, source)
    try:
        yield
    finally:
        wrapped.unload()


def _wrap(hf: Any, source: str | Path) -> Any:
    try:
        from peft import PeftConfig, PeftModel  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise HlensError("adapters need the package peft: pip install 'hlens[peft]'") from None
    source = str(source)
    try:
        config = PeftConfig.from_pretrained(source)
    except Exception as error:  # files from outside raise anything
        raise HlensError(
            f"no adapter at {source!r} ({first_line(error)}); give a folder with an "
            "adapter_config.json, or a hub id"
        ) from error
    _check_kind(config)
    _check_not_pickled(source)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            adapted = PeftModel.from_pretrained(hf, source, config=config)
    except Exception as error:
        raise HlensError(
            f"the adapter {source!r} does not fit {type(hf).__name__}: {first_line(error)}; use "
            "the base model that it was trained on"
        ) from error
    lacking = next((one for one in map(str, (w.message for w in said)) if "missing" in one), None)
    if lacking:
        raise HlensError(f"the adapter {source!r} is not whole: {first_line(ValueError(lacking))}")
    return adapted


def _check_kind(config: Any) -> None:
    if getattr(config, "is_prompt_learning", False) or getattr(config, "is_adaption_prompt", False):
        kind = getattr(config.peft_type, "value", config.peft_type)
        raise HlensError(
            f"an adapter of kind {kind} adds tokens of its own, and no weights; hlens measures "
            "adapters of weights, such as LoRA"
        )


def _check_not_pickled(source: str) -> None:
    """Raise `HlensError` unless the weights of an adapter are in safetensors; others hold code."""
    from transformers.utils.hub import cached_file

    if Path(source).is_dir():
        there = (Path(source) / "adapter_model.safetensors").is_file()
    else:
        name = "adapter_model.safetensors"
        there = cached_file(source, name, _raise_exceptions_for_missing_entries=False) is not None
    if not there:
        raise HlensError(
            f"{source!r} has no adapter_model.safetensors; weights in a pickle can hold code: load "
            "it where you trust it, and save it with save_pretrained(folder)"
        )


def check_experts(hf: nn.Module, name: str) -> None:
    """Raise `HlensError` for an adapter on the down projections of experts."""
    for module in hf.modules():
        if is_adapted(module) and getattr(module, "parameter_name", "") == "down_proj":
            raise HlensError(
                f"{name}: an adapter acts on the down projections of its experts, whose rows are "
                "then made anew in every run; merge it (merge_and_unload), save, and load that"
            )
