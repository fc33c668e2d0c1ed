"""The weights of a model as plain tensors, wherever they lie and however they are kept.

What accelerate offloads to the CPU or to disk is on the meta device between two runs of its module:
it is fetched from there, one module at a time, and never kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hlens.model import adapters
from hlens.model.quantised import parts_of, quantised_modules


def named_weights(hf: nn.Module) -> dict[str, Tensor]:
    """All tensors that decide what a model computes, by name; what is offloaded is not fetched.

    Its parameters; of a quantised module what it is packed into, scales included. The names of an
    adapter's say how it is applied, which no weight does.
    """
    weights: dict[str, Tensor] = dict(hf.named_parameters())
    for path, module in quantised_modules(hf).items():
        for name, _ in module.named_parameters():
            weights.pop(f"{path}.{name}", None)
        weights |= {f"{path}.{name}": part for name, part in parts_of(module).items()}
    # What is tied is one weight, also where it is offloaded and has a place of its own.
    for name in getattr(hf, "all_tied_weights_keys", None) or {}:
        if name in weights and weights[name].is_meta:
            del weights[name]
    for path, module in hf.named_modules():
        if adapters.is_adapted(module):
            for name, _ in module.named_parameters():
                if not name.startswith("base_layer."):
                    own = weights.pop(f"{path}.{name}")
                    weights[f"{path}.{name} {adapters.way_of(module)}"] = own
    return weights


def fetch(hf: nn.Module, name: str, weight: Tensor) -> Tensor | None:
    """A weight of `named_weights` in memory; None where no offloading knows where it is."""
    if not weight.is_meta:
        return weight.detach()
    parent, _, leaf = name.partition(" ")[0].rpartition(".")
    hook = _offloading(hf.get_submodule(parent))
    return None if hook is None else hook.weights_map[leaf].detach().to(weight.dtype)


def rounded(hf: nn.Module) -> list[Tensor]:
    """The parameters and buffers that a dtype of loading rounds: those that a checkpoint holds.

    Other buffers are computed, such as the frequencies of rotary positions: rounded ones would
    turn later tokens by wrong angles.
    """
    return [each for each in hf.state_dict(keep_vars=True).values() if each.is_floating_point()]


@contextmanager
def in_memory(module: nn.Module) -> Iterator[None]:
    """Within a block, what a module offloads is where the module computes."""
    hooks = [(part, hook) for part in module.modules() if (hook := _offloading(part)) is not None]
    for part, hook in hooks:
        hook.pre_forward(part)
    try:
        yield
    finally:
        for part, hook in hooks:
            hook.post_forward(part, None)


def is_offloaded(module: nn.Module) -> bool:
    """Whether weights of a module are somewhere else until it runs."""
    return any(_offloading(part) is not None for part in module.modules())


def kept_otherwise(hf: nn.Module) -> str:
    """In a word, how a model's weights are kept where not in memory as they are; else empty."""
    if quantised_modules(hf):
        return "quantised"
    if any(map(adapters.is_adapted, hf.modules())):
        return "adapted"
    return "offloaded" if is_offloaded(hf) else ""


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes."""
    hook = next(filter(None, map(_offloading, module.modules())), None)
    if hook is not None:
        return torch.device(hook.execution_device)
    tensors = [*module.parameters(), *module.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def shared_with_twin(hf: nn.Module) -> dict[int, object]:
    """What a deep copy of a model shares with it, as its memo wants it: all that is large."""
    large: list[Any] = [*hf.parameters(), *named_weights(hf).values()]
    for hook in filter(None, map(_offloading, hf.modules())):
        # What was offloaded, and what of it is on a device for several modules at once.
        large += [hook.weights_map, getattr(hook, "tied_params_map", None)]
    return {id(one): one for one in large if one is not None}


def _offloading(module: Any) -> Any:
    """The hook of accelerate that brings the weights of a module, or None."""
    hook = getattr(module, "_hf_hook", None)
    hooks = getattr(hook, "hooks", [hook])  # of several, or the one
    return next((one for one in hooks if getattr(one, "weights_map", None) is not None), None)
