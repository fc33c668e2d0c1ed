"""Down projections as rows of W_out, however their weights are kept.

Plain weights are viewed. Quantised ones (`hlens.model.quantised`) are unpacked, offloaded ones
(`hlens.model.weights`) fetched, and what an adapter adds (`hlens.model.adapters`) is added when
rows are asked for, a layer at a time; what is given then is a copy.
"""

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from hlens.model import adapters, quantised
from hlens.model.quantised import width_of as width_of
from hlens.model.weights import in_memory, is_offloaded


def has_plain_rows(module: Any) -> bool:
    """Whether the rows of a projection are a view of its weights, so that they can be written."""
    kept_whole = not adapters.is_adapted(module) and not is_offloaded(module)
    return kept_whole and quantised.is_plain(module)


def rows_of(
    module: Any, index: Int[Tensor, " neuron"] | None = None
) -> Float[Tensor, "neuron d_model"]:
    """Rows of W_out, one a neuron: all of them, or some."""
    if adapters.is_adapted(module):
        rows = _adapted_rows(module)
    elif quantised.is_plain(module):
        with in_memory(module):
            weight = module.weight.detach()
        # GPT-2's Conv1D keeps [in, out]; a Linear keeps [out, in].
        rows = weight if type(module).__name__ == "Conv1D" else weight.T
    else:
        with in_memory(module):
            rows = quantised.matrix_of(module).T
    return rows if index is None else rows[index.to(rows.device)]


def bias_of(module: Any) -> Tensor | None:
    """What a projection writes when no neuron is active, or None."""
    if adapters.is_adapted(module):
        if not (adapters.has_bias(module) and adapters.applies(module)):
            return bias_of(module.base_layer)
        return quantised.silent_output(module)
    with in_memory(module):
        bias = getattr(module, "bias", None)
        return bias.detach() if isinstance(bias, Tensor) else None


def rounding_of(module: Any) -> float:
    """How far what a projection writes may be off its rows times the neurons, relative."""
    if adapters.is_adapted(module):
        return rounding_of(module.base_layer)
    return quantised.rounding_of(module)


def tensors_of(module: Any) -> list[Tensor]:
    """The tensors that hold the rows."""
    if adapters.is_adapted(module):
        own = dict(module.named_parameters())
        added = [each for name, each in own.items() if not name.startswith("base_layer.")]
        return [*tensors_of(module.base_layer), *added]
    if quantised.is_plain(module):
        return [module.weight]
    return list(quantised.parts_of(module).values())


def _adapted_rows(module: Any) -> Float[Tensor, "neuron d_model"]:
    if not adapters.applies(module):
        return rows_of(module.base_layer)
    with in_memory(module):
        if not adapters.is_plain_lora(module):
            return quantised.columns_of(module)
        base, added = rows_of(module.base_layer), adapters.added_by(module)
        # In float32: the module adds what it rounded, and no sum of weights.
        return base if added is None else base.float() + added.to(base.device)
