"""How some formulas come apart into an activation, a position and a neuron: what makes them cheap.

A metric that is f(a) x (something of the position) x (something of the neuron) can be averaged over
positions by one small matrix product, without ever holding its value at each position. The formula
itself stays the definition; that both agree is a law in the tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hlens.metrics import formulas
from hlens.types import MlpTrace

Metric = Callable[[MlpTrace], Tensor]


@dataclass(frozen=True)
class Factors:
    """A metric as ``act(a) * pos * neuron``; None stands for one.

    Attributes:
        act: Elementwise function of the activation.
        pos: From the outputs and the gain of a norm that follows (or None), a factor of each
            position; outputs of several layers may be stacked, their gains ``[layer, 1, d_model]``.
        neuron: From a trace, a factor of each neuron.
    """

    act: Callable[[Tensor], Tensor]
    pos: Callable[[Tensor, Tensor | None], Tensor] | None = None
    neuron: Callable[[MlpTrace], Tensor] | None = None


def _itself(act: Tensor) -> Tensor:
    return act


def _per_output(out: Tensor, gain: Tensor | None) -> Tensor:
    return formulas.size(out).reciprocal()


def _per_gained_output(out: Tensor, gain: Tensor | None) -> Tensor:
    return formulas.size(out if gain is None else out.float() * gain).reciprocal()


def _written(mlp: MlpTrace) -> Tensor:
    return mlp.w_norm


def _written_gained(mlp: MlpTrace) -> Tensor:
    if mlp.post_gain is None:
        return mlp.w_norm
    return torch.linalg.vector_norm(mlp.w_out.float() * mlp.post_gain, dim=-1)


FACTORS: Mapping[Metric, Factors] = {
    formulas.cett: Factors(torch.abs, _per_output, _written),
    formulas.signed_cett: Factors(_itself, _per_output, _written),
    formulas.activation: Factors(torch.abs),
    formulas.activation_norm: Factors(torch.abs, None, _written),
    formulas.post_norm: Factors(torch.abs, _per_gained_output, _written_gained),
}

# What a metric reads that a plain forward pass does not give; any other metric needs nothing.
NEEDS: Mapping[Metric, str] = {
    formulas.direct_logit_attribution: "direction",
    formulas.gradient_x_activation: "gradient",
}
