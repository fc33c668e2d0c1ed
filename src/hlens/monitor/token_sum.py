"""All layers of one generated token at once: what keeps watching cheap.

While a model writes, each layer reads one token a row. To compute each layer's share there would
cost a dozen small operations a layer; gathering activations and outputs costs one, and the sum over
all layers is computed when the last has been read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.metrics import Factors
from hlens.types import MlpTrace


@dataclass(frozen=True, eq=False)
class LayerNeurons:
    """The neurons that are read of one layer."""

    columns: Int[Tensor, " neuron"]  # in the activation
    weights: Float[Tensor, " neuron"]
    rows: Float[Tensor, "neuron d_model"]  # of W_out
    norms: Float[Tensor, " neuron"]  # of these rows
    gain: Float[Tensor, " d_model"] | None  # of a norm that follows the MLP

    def trace(self, act: Tensor, out: Tensor) -> MlpTrace:
        return MlpTrace(act, out, self.rows, row_norms=self.norms, post_gain=self.gain)


@dataclass(eq=False)
class TokenSum:
    """Activations and outputs of one pass, until the last layer has been read."""

    factors: Factors  # of the metric
    layers: Sequence[LayerNeurons]
    acts: list[Tensor] = field(default_factory=list)
    outs: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = self.layers[0].columns.device
        # One column a layer, so that one matrix product gives the share of each.
        self.weights = torch.block_diag(*[self._weighted(n).to(self.device) for n in self.layers])
        gains = [n.gain.to(self.device) for n in self.layers if n.gain is not None]
        self.gain = torch.stack(gains)[:, None] if len(gains) == len(self.layers) else None

    def _weighted(self, neurons: LayerNeurons) -> Float[Tensor, "neuron one"]:
        """Weights times the metric's factor of each neuron, which no token changes."""
        if self.factors.neuron is None:
            return neurons.weights[:, None]
        out = neurons.rows.new_zeros(1, neurons.rows.shape[1])
        act = neurons.rows.new_zeros(1, len(neurons.columns))
        return (neurons.weights * self.factors.neuron(neurons.trace(act, out)))[:, None]

    def add(self, act: Tensor, out: Tensor) -> None:
        """One layer: ``[row, neuron]`` and ``[row, d_model]``."""
        self.acts.append(act.to(self.device))
        if self.factors.pos is not None:
            # A copy: a parallel block (Falcon) adds the attention's output to this very tensor.
            self.outs.append(out.to(self.device, copy=True))

    def score(self) -> Float[Tensor, " row"]:
        """The sum over all layers; afterwards nothing is held."""
        act = self.factors.act(torch.cat(self.acts, dim=-1)).float()
        share = act @ self.weights
        if self.factors.pos is not None:
            share = share * self.factors.pos(torch.stack(self.outs), self.gain).T
        self.acts, self.outs = [], []
        return share.sum(-1)
