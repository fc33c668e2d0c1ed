"""All layers of one generated token at once: what keeps watching cheap.

While a model writes, each layer reads one token a row. To compute each layer's share there would
cost a dozen small operations a layer; gathering columns and outputs costs one, and the last layer
does the sum of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.metrics import Factors
from hlens.types import MlpTrace


@dataclass(frozen=True, eq=False)
class Part:
    """What is read of one layer.

    Attributes:
        at: Neurons, as columns of the activation.
        weights: Weight of each, float32.
        rows: Their rows of W_out.
        norms: Norms of these rows.
        gain: Gain of a norm that follows the MLP, or None.
    """

    at: Tensor
    weights: Float[Tensor, " neuron"]
    rows: Float[Tensor, "neuron d_model"]
    norms: Float[Tensor, " neuron"]
    gain: Float[Tensor, " d_model"] | None

    def trace(self, act: Tensor, out: Tensor) -> MlpTrace:
        """This layer's trace, of the chosen neurons only."""
        return MlpTrace(act, out, self.rows, row_norms=self.norms, post_gain=self.gain)


@dataclass(eq=False)
class Together:
    """Columns and outputs of one pass, until the last layer has been read.

    Attributes:
        factors: The metric, taken apart.
        parts: What is read of each layer, in their order.
    """

    factors: Factors
    parts: Sequence[Part]
    acts: list[Tensor] = field(default_factory=list)
    outs: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = self.parts[0].at.device
        self.weights = torch.block_diag(*[self._weighted(p).to(device) for p in self.parts])
        gains = [part.gain for part in self.parts]
        found = [gain.to(device) for gain in gains if gain is not None]
        self.gain = torch.stack(found)[:, None] if len(found) == len(gains) else None

    def _weighted(self, part: Part) -> Float[Tensor, "neuron one"]:
        """Weights times the metric's factor of each neuron, which no token changes."""
        if self.factors.neuron is None:
            return part.weights[:, None]
        none = part.rows.new_zeros(1, part.rows.shape[1])
        act = part.rows.new_zeros(1, len(part.at))
        return (part.weights * self.factors.neuron(part.trace(act, none)))[:, None]

    def add(self, act: Tensor, out: Tensor) -> None:
        """One layer: ``[row, neuron]`` and ``[row, d_model]``."""
        first = self.weights.device
        self.acts.append(act.to(first))
        if self.factors.pos is not None:
            # A copy: a parallel block (Falcon) adds the attention's output to this very tensor.
            self.outs.append(out.to(first, copy=True))

    def score(self) -> Float[Tensor, " row"]:
        """The sum over all layers; then nothing is held."""
        act = self.factors.act(torch.cat(self.acts, dim=-1)).float()
        share = act @ self.weights
        if self.factors.pos is not None:
            share = share * self.factors.pos(torch.stack(self.outs), self.gain).T
        self.acts, self.outs = [], []
        return share.sum(-1)
